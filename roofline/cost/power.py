"""Power limits: a chip slows its clock down until it draws what it may."""

from __future__ import annotations

import numpy as np

from roofline.cost.chip import Chip
from roofline.numeric import Array, Numeric

#: draw of a processor whose matrix units are full, at 1 GHz [W]: for each multiply-accumulate of a clock, and beside
#: them; and what a chip draws besides, as a share of its limit. Fitted to products on A100, H100 and L40S (ai-dynamo's
#: tables): full load is 0.65 of what an A100 may draw, 1.4 of an H100's and 2.8 of an L40S'
MAC_W, PROCESSOR_W, BESIDE = 0.0005, 0.64, 0.2
#: bytes of the operands that it is stated for
WIDE_BYTES = 2.0
#: exponent of power over clock: voltage falls with it
CLOCK_POWER = 2.2
#: no kernel is shorter: keeps the load of nothing finite
SHORTEST_S = 1e-12


def full_load(
    chip: Chip, *, mac_w: float = MAC_W, processor_w: float = PROCESSOR_W, operand_bytes: Numeric = WIDE_BYTES
) -> Array:
    """Return what full matrix units draw, as a share of the chip's limit; 0 where nobody says one.

    Multiply-accumulates of narrow operands draw less, as their multipliers and wires are narrower.
    """
    macs_per_clock = chip.macs_per_s / chip.clock_hz * operand_bytes / WIDE_BYTES
    drawn_w = chip.processors * (mac_w * macs_per_clock + processor_w) * (chip.clock_hz / 1e9) ** CLOCK_POWER
    return np.asarray(drawn_w / chip.budget_w)


def throttled_s(time_s: Numeric, matrix_s: Numeric, *, load: Numeric) -> Array:
    """Return the time [s] of kernels that take `time_s` at full clock, where their busy matrix units draw `load`."""
    drawn = BESIDE + load * matrix_s / np.maximum(time_s, SHORTEST_S)
    return np.asarray(time_s * np.maximum(drawn, 1.0) ** (1.0 / CLOCK_POWER))
