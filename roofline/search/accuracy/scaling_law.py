"""What depth, width and resolution do to accuracy: an additive saturating law, fitted to networks that others trained.

    error = e0 + (e_base - e0) x (s_d d^-a + s_w w^-b + s_r r^-c),   s_d + s_w + s_r = 1

d, w and r are multiples of the base network's depth, width and resolution, errors are top-1 errors in percent, and e0
is what no scaling takes away. A product of powers would not do: at a fixed cost its optimum lies in a corner.

Some coefficients per calibration lie in ``data/scaling_laws.json``; ``tools/fit_scaling_law.py`` fits them.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from roofline.arch.spec import Arch
from roofline.errors import InputError
from roofline.names import lookup
from roofline.numeric import Array, Numeric
from roofline.search.accuracy.protocol import Prediction

DATA = Path(__file__).resolve().parent / "data"
LAWS = DATA / "scaling_laws.json"
DIMENSIONS = ("depth", "width", "resolution")
#: top-1 of a base that nobody knows [%]; it moves all predictions together and no order
ASSUMED_TOP1 = 77.0


@dataclass(frozen=True, kw_only=True)
class ScalingLaw:
    """The law in one calibration.

    Attributes
    ----------
    name
        What it was fitted to.
    floor
        e0, the error that no scaling takes away [%].
    shares, exponents
        Of depth, width and resolution.
    half_width
        The truth is within +- half_width of the prediction for 90 % of networks of families that a fit has not seen
        [percentage points]. The accuracy of the base is taken as known.
    left_out_rmse
        Root mean square error for families that the fit has not seen [percentage points], all rows together.
    left_out
        The same, family by family.
    lowest, highest
        Multiples of depth, width and resolution that it has seen.
    rows
        Trained networks that it was fitted to.
    source
        Where they are from.
    """

    name: str
    floor: float
    shares: tuple[float, float, float]
    exponents: tuple[float, float, float]
    half_width: float
    left_out_rmse: float
    left_out: Mapping[str, float]
    lowest: tuple[float, float, float]
    highest: tuple[float, float, float]
    rows: int
    source: str

    def top1(self, base_top1: Numeric, depth: Numeric, width: Numeric, resolution: Numeric) -> Numeric:
        """Return top-1 accuracy [%] at multiples of a base's depth, width and resolution."""
        return 100.0 - error(
            100.0 - base_top1, depth, width, resolution, floor=self.floor, shares=self.shares, exponents=self.exponents
        )

    def knows(self, base: Base) -> bool:
        """Return whether a base leaves any error that scaling could take away."""
        return 100.0 - base.top1 > self.floor

    def predict(self, base: Base, depth: Array, width: Array, resolution: Array) -> Prediction:
        """Return top-1 accuracy [%] of N scaled networks; in domain are multiples that it has seen, of known families.

        Parameters
        ----------
        base
            The network that is scaled.
        depth, width, resolution
            Multiples, each (N,).
        """
        inside = np.full(np.shape(depth), base.family in self.left_out)
        for values, low, high in zip((depth, width, resolution), self.lowest, self.highest, strict=True):
            inside = inside & (values >= low) & (values <= high)
        mean = np.asarray(self.top1(base.top1, depth, width, resolution), dtype=np.float64)
        return Prediction(mean=mean, half_width=np.full(mean.shape, self.half_width), in_domain=inside)


def error(
    base_error: Numeric,
    depth: Numeric,
    width: Numeric,
    resolution: Numeric,
    *,
    floor: Numeric,
    shares: Any,
    exponents: Any,
) -> Numeric:
    """Return the top-1 error [%] of a scaled network, e0 + (e_base - e0) x the shares that scaling leaves."""
    left: Numeric = 0.0
    for multiple, share, exponent in zip((depth, width, resolution), shares, exponents, strict=True):
        left = left + share * np.power(multiple, -exponent)
    return floor + (base_error - floor) * left


@lru_cache(maxsize=1)
def scaling_laws() -> dict[str, ScalingLaw]:
    """Return the shipped calibrations by name."""
    content: dict[str, dict[str, Any]] = json.loads(LAWS.read_text(encoding="utf-8"))
    laws = {}
    for name, table in content.items():
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
        laws[name] = ScalingLaw(name=name, **values)
    return laws


def scaling_law(name: str) -> ScalingLaw:
    """Return a shipped calibration: ``all-families`` or ``efficientnet``.

    Raises
    ------
    UnknownNameError
        There is none of that name.

    Examples
    --------
    >>> law = scaling_law("all-families")
    >>> [round(float(law.top1(77.1, depth, 1.0, 1.0)), 2) > 77.1 for depth in (1.0, 2.0)]
    [False, True]
    """
    return lookup(name, scaling_laws(), "calibration")


@dataclass(frozen=True, kw_only=True)
class Base:
    """Top-1 [%] of the network that is scaled, the recipe it was trained with, and its family in the calibrations."""

    top1: float
    recipe: str
    family: str = ""


@lru_cache(maxsize=1)
def _bases() -> dict[str, dict[str, Any]]:
    return tomllib.loads((DATA / "scaling_bases.toml").read_text(encoding="utf-8"))


def base_of(arch: Arch, top1: float | None = None) -> Base:
    """Return what is known of a base network's accuracy; `top1` [%] replaces it.

    Raises
    ------
    InputError
        `top1` is no percentage.
    """
    known = _bases().get(arch.name, {})
    if known and known["image_size"] != arch.image_size:
        known = {}
    family = str(known.get("family", ""))
    if top1 is None:
        if not known:
            return Base(top1=ASSUMED_TOP1, recipe=f"base assumed at {ASSUMED_TOP1:g}")
        return Base(top1=float(known["top1"]), recipe=str(known["recipe"]), family=family)
    if isinstance(top1, bool) or not isinstance(top1, (int, float)) or not 0 < top1 < 100:
        raise InputError(f"the base's top-1 accuracy must be a percentage in 0..100, got {top1!r}")
    return Base(top1=float(top1), recipe="recipe of the base", family=family)
