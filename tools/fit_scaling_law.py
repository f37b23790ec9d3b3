"""Fit the scaling law again: ``python tools/fit_scaling_law.py GRIDS.csv [FILE.json]`` (needs SciPy).

GRIDS has columns ``family, width, depth, res, top1, recipe, note``: trained networks that differ from their base in
width, depth and resolution. Coefficients are written, never rows.

Rows of one family and recipe belong together; the row of width and depth 1 at `BASES` pixels is their base, whose
accuracy is taken as known. Networks that were only quantised (note ``QAT int8``) are no families of their own. Every
family weighs the same, however many rows it has. A weak prior pulls exponents to 1 and shares to a third: depth and
resolution hardly vary apart in some families, and without it e0 runs to where nothing was measured.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError, RooflineError
from roofline.files import atomic
from roofline.numeric import Array
from roofline.search.accuracy.scaling_law import LAWS, error
from roofline.stats import conformal_quantile

COLUMNS = ("family", "width", "depth", "res", "top1", "recipe", "note")
SOURCE = "scaling_grids.csv: MnasNet, MobileNetV1 and V2, EfficientNet and ResNet-RS as their authors report them"
#: pixels of the base of a family that does not start at 224
BASES = {"resnet_rs": 160}
PIXELS = 224
QUANTISED = "QAT int8"
#: calibration -> whether a family belongs to it
CALIBRATIONS: dict[str, Callable[[str], bool]] = {
    "all-families": lambda family: True,
    "efficientnet": lambda family: family.startswith("efficientnet"),
}
#: weight of the prior; of 0, 0.3, 0.6 and 1 the one with the least error for families left out, EfficientNet only
PRIOR = 0.6
#: starts of the least squares: e0 [%], and logarithms of the exponents
STARTS = tuple((floor, exponent) for floor in (3.0, 10.0) for exponent in (0.0, 0.7))
#: e0 may not pass the best error that anybody reports, less a little [%]
HIGHEST_FLOOR = 14.0
COVERAGE = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Scaled networks as columns: multiples (3, N) of the base, errors [%] of base and network."""

    family: NDArray[np.str_]
    multiples: Array
    base_error: Array
    error: Array

    def take(self, mask: NDArray[np.bool_]) -> Rows:
        """Return some of the rows."""
        return Rows(
            family=self.family[mask], multiples=self.multiples[:, mask], base_error=self.base_error[mask],
            error=self.error[mask],
        )  # fmt: skip


def read_grids(path: str | Path) -> Rows:
    """Return the scaled networks of a file, bases left out: they are known.

    Raises
    ------
    InputError
        The file cannot be read, lacks a column, or a group has no base.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            table = [row for row in csv.DictReader(file) if row.get("note") != QUANTISED]
    except (OSError, UnicodeDecodeError) as reason:
        raise InputError(f"cannot read {str(path)!r}: {reason}") from None
    if not table or (missing := [name for name in COLUMNS if name not in table[0]]):
        raise InputError(f"{Path(path).name} has no {'rows' if not table else f'column {missing[0]!r}'}")
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in table:
        groups.setdefault((row["family"], row["recipe"]), []).append(row)
    found: list[tuple[str, float, float, float, float, float]] = []
    for (family, recipe), rows in groups.items():
        pixels = BASES.get(family, PIXELS)
        try:
            points = [tuple(float(row[name]) for name in ("depth", "width", "res", "top1")) for row in rows]
        except ValueError as reason:
            raise InputError(f"{Path(path).name}, {family}: {reason}") from None
        bases = [top1 for depth, width, size, top1 in points if (depth, width, size) == (1, 1, pixels)]
        if not bases:
            raise InputError(f"{Path(path).name}: {family!r} of recipe {recipe!r} has no base of {pixels} px")
        found += [
            (family, depth, width, size / pixels, 100 - bases[0], 100 - top1)
            for depth, width, size, top1 in points
            if (depth, width, size) != (1, 1, pixels)
        ]
    numbers = np.array([row[1:] for row in found], dtype=np.float64).T
    names = np.array([row[0] for row in found])
    return Rows(family=names, multiples=numbers[:3], base_error=numbers[3], error=numbers[4])


def predict(parameters: Array, rows: Rows) -> Array:
    """Return errors [%] for e0, three logarithms of exponents, and logarithms of shares over the last one."""
    floor, exponents, shares = _named(parameters)
    found = error(rows.base_error, *rows.multiples, floor=floor, shares=shares, exponents=exponents)
    return np.asarray(found, dtype=np.float64)


def _named(parameters: Array) -> tuple[float, Array, Array]:
    weights = np.exp(np.append(parameters[4:6], 0.0))
    return float(parameters[0]), np.exp(parameters[1:4]), weights / weights.sum()


def fit(rows: Rows) -> Array:
    """Return the parameters with the least squared error, every family weighing the same."""
    from scipy.optimize import least_squares  # type: ignore[import-untyped, unused-ignore]

    _, member, size = np.unique(rows.family, return_inverse=True, return_counts=True)
    weight = 1.0 / np.sqrt(size[member])

    def residuals(parameters: Array) -> Array:
        _, exponents, shares = _named(parameters)
        prior = PRIOR * np.concatenate([np.log(exponents), np.log(3.0 * shares)])
        return np.concatenate([(predict(parameters, rows) - rows.error) * weight, prior])

    low, high = [0.0, *[-3.0] * 3, *[-6.0] * 2], [HIGHEST_FLOOR, *[2.5] * 3, *[6.0] * 2]
    starts = [[floor, exponent, exponent, exponent, 0.0, 0.0] for floor, exponent in STARTS]
    fits = [least_squares(residuals, start, bounds=(low, high)) for start in starts]
    return np.asarray(min(fits, key=lambda found: found.cost).x, dtype=np.float64)


def left_out(rows: Rows) -> Array:
    """Return for every row the error [%] that a fit without its family predicts."""
    found = np.empty(len(rows.error))
    for family in np.unique(rows.family):
        mine = rows.family == family
        found[mine] = predict(fit(rows.take(~mine)), rows.take(mine))
    return found


def calibration(rows: Rows) -> dict[str, Any]:
    """Return all that is shipped of one calibration; see `ScalingLaw`."""
    floor, exponents, shares = _named(fit(rows))
    off = left_out(rows) - rows.error
    return {
        "floor": round(floor, 4),
        "shares": _short(shares, 6),
        "exponents": _short(exponents),
        "half_width": round(conformal_quantile(np.abs(off), COVERAGE), 3),
        "left_out_rmse": round(_rms(off), 3),
        "left_out": {str(f): round(_rms(off[rows.family == f]), 3) for f in np.unique(rows.family)},
        "lowest": _short(rows.multiples.min(axis=1)),
        "highest": _short(rows.multiples.max(axis=1)),
        "rows": len(off),
        "source": SOURCE,
    }


def _short(values: Array, digits: int = 4) -> list[float]:
    return [round(float(value), digits) for value in values]


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def main(arguments: Sequence[str]) -> int:
    """Fit every calibration and write them."""
    if not 1 <= len(arguments) <= 2:
        print((__doc__ or "").splitlines()[0], file=sys.stderr)
        return 2
    try:
        rows = read_grids(arguments[0])
        laws = {
            name: calibration(rows.take(np.array([member(str(f)) for f in rows.family])))
            for name, member in CALIBRATIONS.items()
        }
        with atomic(Path(arguments[1]) if len(arguments) == 2 else LAWS) as temporary:
            temporary.write_text(json.dumps(laws, indent=1) + "\n", encoding="utf-8")
    except RooflineError as reason:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    for name, law in laws.items():
        print(
            f"{name}: {law['rows']} rows, e0 {law['floor']:.1f}, exponents {law['exponents']}, shares {law['shares']},"
            f" family left out {law['left_out_rmse']:.2f} pp, half-width {law['half_width']:.2f} pp"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
