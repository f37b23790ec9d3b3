"""Fitting the constants that libraries of one kind share: all devices at once, one left out, one effect left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.calibration.constants import MOST_FITTED, Fitted, fitted_on
from roofline.calibration.predict import Prepared
from roofline.errors import InputError
from roofline.names import lookup
from roofline.numeric import Array
from roofline.software.constant import CHIPS, Without, constants_of
from roofline.software.libraries.library import KINDS
from roofline.software.spec import Runtime
from roofline.stats import Agreement, agreement

#: fields of a runtime that hold its libraries, by kind
FIELDS = {
    "products": "products",
    "attention": "fused_attention",
    "experts": "experts",
    "paged_attention": "paged_attention",
}
#: log error from which a row counts less: the scatter between two frameworks that call one library
SOFT = 0.05
MOST_EVALUATIONS = 30
STEP = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class LibraryFit:
    """Values of constants by field, in SI units, and what they predict for the rows they were fitted to [s]."""

    kind: str
    values: dict[str, float]
    predicted_s: Array

    def predict(self, prepared: Prepared) -> Array:
        """Return predictions [s] of other rows with the fitted constants."""
        return prepared.predict(with_constants(self.kind, self.values))


def with_constants(kind: str, values: dict[str, Any]) -> Callable[[Runtime], Runtime]:
    """Return what gives a runtime whose libraries of a kind have other constants."""
    field = lookup(kind, FIELDS, "kind of library")

    def adapt(runtime: Runtime) -> Runtime:
        libraries = tuple(replace(library, **values) for library in getattr(runtime, field))
        changed: dict[str, Any] = {field: libraries}
        return replace(runtime, **changed)

    return adapt


def library_constants(kind: str, names: Sequence[str] | None = None) -> dict[str, Fitted]:
    """Return the constants of a kind of library that are fitted, by field: all that have a range, or those named.

    Raises
    ------
    InputError
        More than ten.
    UnknownNameError
        No such constant.
    """
    known = {name: c for on in CHIPS for name, c in fitted_on(on, constants_of(KINDS[kind])).items()}
    chosen = (
        {name: known[name] for name in known} if names is None else {n: lookup(n, known, "constant") for n in names}
    )
    if len(chosen) > MOST_FITTED:
        raise InputError(f"{len(chosen)} constants are too many to fit: at most {MOST_FITTED}")
    return chosen


def fit_library(
    prepared: Prepared, kind: str, constants: dict[str, Fitted], fixed: dict[str, Any] | None = None
) -> LibraryFit:
    """Return the values of constants under which rows are predicted best: soft-L1 of log(predicted / measured).

    Each condition counts equally; `fixed` constants keep a value of their own. The start is what the files say.

    Raises
    ------
    InputError
        SciPy is not installed.
    """
    try:
        from scipy.optimize import least_squares  # type: ignore[import-untyped]
    except ImportError:
        raise InputError("fitting needs SciPy: pip install 'roofline[calibrate]'") from None
    fixed = fixed or {}
    free = {name: c for name, c in constants.items() if name not in fixed}
    library = next(one for g in prepared.groups for one in getattr(g.runtime, FIELDS[kind]))
    measured_s = prepared.measured_s
    conditions = np.unique([m.condition + m.runtime for m in prepared.measurements], return_inverse=True)[1]
    weight = 1.0 / np.sqrt(np.bincount(conditions)[conditions])

    def predict(position: Array) -> Array:
        values = {name: c.value_si(float(p)) for (name, c), p in zip(free.items(), position, strict=True)}
        return prepared.predict(with_constants(kind, fixed | values))

    def residuals(position: Array) -> Array:
        return np.asarray(weight * np.log(predict(position) / measured_s) / SOFT)

    start = np.clip([c.position(getattr(library, name)) for name, c in free.items()], 0.01, 0.99)
    found = least_squares(
        residuals, start, bounds=(0.0, 1.0), loss=_soft(weight), diff_step=STEP, max_nfev=MOST_EVALUATIONS, xtol=1e-3
    )
    values = {name: c.value_si(float(p)) for (name, c), p in zip(free.items(), found.x, strict=True)}
    return LibraryFit(kind=kind, values=fixed | values, predicted_s=predict(found.x))


def _soft(weight: Array) -> Callable[[Array], Array]:
    """Return the soft-L1 loss of SciPy for residuals that carry weights: the bend lies at the same error for all."""
    share = weight**2

    def loss(squared: Array) -> Array:
        z = squared / share
        root = np.sqrt(1.0 + z)
        return np.stack([share * 2.0 * (root - 1.0), 1.0 / root, -0.5 / root**3 / share])

    return loss


def sampled(prepared: Prepared, rows: int, seed: int = 0) -> Prepared:
    """Return at most `rows` rows of each condition and runtime, drawn at random."""
    names = np.array([f"{m.condition} {m.runtime} {m.family}" for m in prepared.measurements])
    order = np.random.default_rng(seed).permutation(len(names))
    keep = np.zeros(len(names), dtype=bool)
    for name in np.unique(names):
        keep[order[names[order] == name][:rows]] = True
    return prepared.subset(keep)


def by_library(prepared: Prepared, predicted_s: Array) -> dict[str, Agreement]:
    """Return the statistics of each device, runtime and family of rows, and of all together."""
    names = np.array([f"{m.device} {m.runtime} {m.family}" for m in prepared.measurements])
    measured_s = prepared.measured_s
    found = {name: agreement(predicted_s[names == name], measured_s[names == name]) for name in dict.fromkeys(names)}
    return found | {"all": agreement(predicted_s, measured_s)}


def left_out_s(
    prepared: Prepared, kind: str, constants: dict[str, Fitted], seen: NDArray[np.bool_] | None = None
) -> Array:
    """Return predictions [s] of each device's rows under constants that were fitted to all others; NaN without any.

    `seen` says which rows a fit may see at all; by default every one.
    """
    devices = np.array([m.device for m in prepared.measurements])
    found = np.full(len(devices), np.nan)
    for name in np.unique(devices):
        own = devices == name
        others = ~own if seen is None else ~own & seen
        if others.any():
            fit = fit_library(prepared.subset(others), kind, constants)
            found[own] = fit.predict(prepared.subset(own))
    return found


def left_out(prepared: Prepared, kind: str, constants: dict[str, Fitted]) -> dict[str, Agreement]:
    """Return the statistics of each device's rows under constants that were fitted to all others."""
    predicted_s = left_out_s(prepared, kind, constants)
    devices = np.array([m.device for m in prepared.measurements])
    found: dict[str, Agreement] = {}
    for name in dict.fromkeys(devices[np.isfinite(predicted_s)].tolist()):
        own = prepared.subset(devices == name)
        of_device = by_library(own, predicted_s[devices == name])
        found[name] = of_device.pop("all")
        found |= of_device
    return found


def effects(kind: str) -> dict[str, tuple[Without, dict[str, Any]]]:
    """Return what each effect of a kind of library is, and the constants without it."""
    declared = [c for c in constants_of(KINDS[kind]) if c.without is not None]
    found: dict[str, tuple[Without, dict[str, Any]]] = {}
    for c in declared:
        without = c.without
        if without is not None and without.effect is not None:
            found[without.effect] = (without, {c.field: without.value})
    for c in declared:
        without = c.without
        if without is not None and without.part_of in found:
            found[without.part_of][1][c.field] = without.value
    return found
