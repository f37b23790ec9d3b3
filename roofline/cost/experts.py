"""Grouped products of experts: one launch, tiles of all experts that have rows, weights of those experts only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline.cost.chip import Chip
from roofline.cost.products import RESULT_BYTES, STEP, ProductKernels, feed_bytes_per_s, joined, result_bytes_per_s
from roofline.numeric import Array, Numeric
from roofline.routing import Load

#: rows of the smallest matrix instruction: tiles of fewer rows take as long (PTX ISA, mma.m16n8k16)
INSTRUCTION_ROWS = 16
#: columns of tiles that libraries choose from
WIDTHS = (64, 128, 256)


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupedKernels:
    """How grouped products drive a chip.

    Attributes
    ----------
    fraction, bandwidth_fraction
        Share of the matrix units' rate, and of the main memory's bandwidth, in the steady state: a number, or a column.
    products
        How dense products do: tiles are fed and left alike.
    tail
        Share of a wave that begins, on average, after the last full one.
    sharpness
        Exponent of the norm that joins what runs side by side: 1 adds up, infinity takes the longest.
    near_fraction
        Share of the last cache's bandwidth.
    resident_share
        Share of the last cache that keeps weights from run to run; what is twice as large misses it altogether.
    """

    fraction: Numeric
    bandwidth_fraction: Numeric
    products: ProductKernels
    tail: float
    sharpness: float
    near_fraction: float
    resident_share: float
    heights: tuple[int, ...]


def tiles_time_s(
    load: Load,
    *,
    n: Numeric,
    k: Numeric,
    row_bytes: Numeric,
    weight_bytes: Numeric,
    chip: Chip,
    kernels: GroupedKernels,
) -> Array:
    """Time of the tiles of a grouped product [s]: waves over the processors, the best height and width of a tile.

    Parameters
    ----------
    load
        Rows of the experts.
    n, k
        Columns and rows of an expert's weights.
    row_bytes, weight_bytes
        Of one element as it is fed to the matrix units.
    """
    fed_bytes_per_s = feed_bytes_per_s(chip, kernels.products)
    left_bytes_per_s = result_bytes_per_s(chip, kernels.products)
    deep, best = STEP * np.ceil(k / STEP), np.asarray(np.inf)
    for height in kernels.heights:
        rows = max(height, INSTRUCTION_ROWS)
        tiles_high = load.tiles(height)
        for width in WIDTHS:
            waves = tiles_high * np.ceil(n / width) / chip.processors
            waves = np.maximum(1.0, waves + kernels.tail * (waves > 1.0))
            multiplied_s = deep * rows * width / (chip.macs_per_s * kernels.fraction)
            fed_s = deep * (height * row_bytes + width * weight_bytes) / fed_bytes_per_s
            left_s = height * width * RESULT_BYTES / left_bytes_per_s
            best = np.minimum(best, waves * (joined(multiplied_s, fed_s, kernels.sharpness) + left_s))
    return best


def memory_time_s(*, weight_bytes: Numeric, other_bytes: Numeric, chip: Chip, kernels: GroupedKernels) -> Array:
    """Time of moving the weights of experts that have rows, and all else [s].

    Weights that fit into the last cache are still there from the run before where nothing else ran: where
    `resident_share` is 0 nothing is.
    """
    kept_bytes = kernels.resident_share * chip.near_bytes
    missed = np.where(kept_bytes > 0.0, np.clip(weight_bytes / np.maximum(kept_bytes, 1.0) - 1.0, 0.0, 1.0), 1.0)
    far_s = 1.0 / (chip.far_bytes_per_s * kernels.bandwidth_fraction)
    near_s = np.minimum(1.0 / (chip.near_bytes_per_s * kernels.near_fraction), far_s)
    return np.asarray((weight_bytes + other_bytes) * (missed * far_s + (1.0 - missed) * near_s))
