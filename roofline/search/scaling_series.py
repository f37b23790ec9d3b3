"""The members of a scaled family, and published ones beside them, as what pictures and pages show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roofline.arch.load import model, multiples
from roofline.errors import InputError
from roofline.numeric import Array
from roofline.search.scaling import ScaledFamily
from roofline.search.scaling_targets import run


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


def own(family: ScaledFamily, device: int = 0) -> Series:
    """Return the members of a family."""
    grid, rows = family.grid, np.array([p.row for p in family.answer.picks])
    return Series(
        names=family.names, scale=grid.scale[rows], macs=grid.macs[rows], latency_ms=grid.latency_s[rows, device] * 1e3,
        accuracy=family.answer.prediction.mean[rows], cost=_cost(family, grid.latency_s[rows], grid.macs[rows]),
    )  # fmt: skip


def published(family: ScaledFamily, names: Sequence[str], device: int = 0) -> Series:
    """Return shipped networks of the base's family: simulated, their accuracy by the law.

    As everywhere, a depth counts as the one of the grid to which it rounds: one network has one accuracy.

    Raises
    ------
    InputError
        One is of another family: the law knows nothing of what sets it apart.
    """
    grid = family.grid
    archs = [model(name) for name in names]
    for arch in archs:
        if arch.family != grid.base.family:
            raise InputError(f"{arch.name!r} is of family {arch.family!r}, not of the base's, {grid.base.family!r}")
    depth, width = np.array([multiples(arch.name) for arch in archs]).T
    pixels = np.array([arch.image_size for arch in archs], dtype=np.float64)
    reports = [[run(arch, target) for target in grid.oracle.targets] for arch in archs]
    latency_s = np.array([[report.latency_s for report in row] for row in reports])
    macs = np.array([row[0].macs_per_example for row in reports])
    return Series(
        names=tuple(arch.name for arch in archs),
        scale=np.stack([depth, width, pixels / grid.base.image_size], axis=1),
        macs=macs, latency_ms=latency_s[:, device] * 1e3,
        accuracy=family.answer.accuracy.predict(grid, grid.named(depth), width, pixels).mean,
        cost=_cost(family, latency_s, macs),
    )  # fmt: skip


def _cost(family: ScaledFamily, latency_s: Array, macs: Array) -> Array:
    """Return multiples of the base's cost: the geometric mean over devices of its latency, or MACs."""
    grid, base = family.grid, family.grid.base_row
    if family.objective == "flops":
        return np.asarray(macs / grid.macs[base])
    return np.asarray(np.exp(np.log(latency_s / grid.latency_s[base]).mean(axis=1)))
