"""The public `Device`: the facts of a chip, and the chip it would be with other ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from roofline.hardware.silicon import Silicon
from roofline.hardware.variant import with_overrides


@dataclass(frozen=True, kw_only=True)
class Device(Silicon):
    """A chip or card: physical facts in SI units, each with a record of where it comes from.

    `cores` are program instances (TensorCores that each run a program of their own); unit counts are per core, peaks,
    capacities and bandwidths are totals of the chip. `memory` goes from far to near. A hypothetical variant names the
    device it is a `variant_of` and its `changes` (field, value).
    """

    def with_overrides(self, overrides: Mapping[str, float]) -> Device:
        """Return a hypothetical device with some fields changed, derived ones following; see `hardware.variant`."""
        return with_overrides(self, overrides)
