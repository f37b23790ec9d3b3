"""Some networks of one base as what pictures and pages show: members of a scaled family, or published ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline.numeric import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """M networks of one base.

    Attributes
    ----------
    scale
        Multiples of the base's depth, width and resolution, (M, 3).
    macs
        Of one example, (M,).
    latency_ms
        On one device, (M,).
    accuracy
        Predicted by the family's law, (M,) [%].
    cost
        Multiples of the base's cost in the family's objective, (M,).
    """

    names: tuple[str, ...]
    scale: Array
    macs: Array
    latency_ms: Array
    accuracy: Array
    cost: Array

    @property
    def ratio(self) -> tuple[float, float]:
        """Of ln depth and ln width over ln resolution, summed over the members; NaN where resolution stays."""
        depth, width, resolution = np.log(self.scale).sum(axis=0)
        if resolution <= 0:
            return float("nan"), float("nan")
        return float(depth / resolution), float(width / resolution)
