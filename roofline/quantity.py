"""A number in a TOML file: value, unit and source -> SI float."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: unit -> (dimension, factor to SI)
UNITS: dict[str, tuple[str, float]] = {
    "Hz": ("frequency", 1.0),
    "kHz": ("frequency", 1e3),
    "MHz": ("frequency", 1e6),
    "GHz": ("frequency", 1e9),
    "B": ("bytes", 1.0),
    "KiB": ("bytes", 2.0**10),
    "MiB": ("bytes", 2.0**20),
    "GiB": ("bytes", 2.0**30),
    "kB": ("bytes", 1e3),
    "MB": ("bytes", 1e6),
    "GB": ("bytes", 1e9),
    "TB": ("bytes", 1e12),
    "B/s": ("bandwidth", 1.0),
    "GB/s": ("bandwidth", 1e9),
    "TB/s": ("bandwidth", 1e12),
    "GiB/s": ("bandwidth", 2.0**30),
    "B/clk": ("bytes per clock", 1.0),
    "FLOP/s": ("rate", 1.0),
    "GFLOP/s": ("rate", 1e9),
    "TFLOP/s": ("rate", 1e12),
    "TOP/s": ("rate", 1e12),
    "W": ("power", 1.0),
    "s": ("time", 1.0),
    "ms": ("time", 1e-3),
    "us": ("time", 1e-6),
    "ns": ("time", 1e-9),
    "USD/h": ("price", 1.0),
    "fraction": ("fraction", 1.0),
    "cycles": ("cycles", 1.0),
}


def _near_units(unit: str) -> str:
    folded = {known.lower(): known for known in UNITS}  # "Mhz" is a slip for "MHz"
    close = [folded[u] for u in difflib.get_close_matches(unit.lower(), folded, n=3)]
    return ("nearest: " if close else "allowed: ") + ", ".join(map(repr, close or UNITS))


def check(
    value: float, unit: str | None, source: str | None, estimate: str | None, recalled: bool, note: str | None = None
) -> None:
    """Raise ValueError unless the parts make one sourced number."""
    if unit is not None and unit not in UNITS:
        raise ValueError(f"unknown unit {unit!r}; {_near_units(unit)}")
    if (source is None) == (estimate is None):
        raise ValueError("give either source (a key of [sources]) or estimate (the reasoning)")
    for key, text in (("estimate", estimate), ("note", note)):
        if text is not None and not text.strip():
            raise ValueError(f"{key} may not be empty")
    if recalled and source is None:
        raise ValueError("recalled goes with a source, not with an estimate")
    if not value >= 0 or value == float("inf"):
        raise ValueError(f"value must be finite and not negative, got {value!r}")
    if unit == "fraction" and value > 1:
        raise ValueError(f"a fraction may not exceed 1, got {value!r}")


def check_range(value: float, low: float | None, high: float | None, why: str | None) -> None:
    """Raise ValueError unless a number without a range has none, or its range has both ends, holds it and says why."""
    if low is None and high is None:
        if why is not None:
            raise ValueError("why belongs to a range: give low and high")
        return
    if low is None or high is None:
        raise ValueError(f"a range has two ends: give {'low' if low is None else 'high'} too")
    if why is None or not why.strip():
        raise ValueError("a range needs why: who says what, or what bounds it")
    if not 0 < low <= value <= high < float("inf") or low == high:
        raise ValueError(f"a range goes from low over the value to high, got {low:g}, {value:g}, {high:g}")


class Quantity(BaseModel):
    """One sourced number as it stands in a file; `si` is the number the program computes with.

    Exactly one of `source` (a key of the file's ``[sources]``) and `estimate` (the reasoning of a guess) is given;
    `recalled` marks a source that was remembered, not read. A fact of a device that nobody has verified may say between
    which ends it lies, in its unit, and why.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    value: float
    unit: str | None = None
    source: str | None = None
    estimate: str | None = None
    recalled: bool = False
    note: str | None = None
    low: float | None = None
    high: float | None = None
    why: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Quantity:
        check(self.value, self.unit, self.source, self.estimate, self.recalled, self.note)
        check_range(self.value, self.low, self.high, self.why)
        return self

    @property
    def dimension(self) -> str:
        """The physical dimension, ``"count"`` without a unit."""
        return "count" if self.unit is None else UNITS[self.unit][0]

    @property
    def si(self) -> float:
        """The value in SI units."""
        return self.value if self.unit is None else self.value * UNITS[self.unit][1]


def check_dimension(unit: str | None, *allowed: str) -> None:
    """Raise ValueError unless `unit` has one of the `allowed` dimensions; a count has no unit."""
    found = "count" if unit is None else UNITS[unit][0]
    if found not in allowed:
        units = ", ".join(u for u, (dimension, _) in UNITS.items() if dimension in allowed) or "no unit (it is a count)"
        raise ValueError(f"{allowed[0]} needs {units}; found " + ("no unit" if unit is None else f"unit {unit!r}"))


@dataclass(frozen=True)
class _Dimension:
    """A pydantic annotation that refuses a quantity of another dimension, and a range where none has a meaning."""

    names: tuple[str, ...]
    ranged: bool = True

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        def checked(quantity: Quantity) -> Quantity:
            check_dimension(quantity.unit, *self.names)
            if quantity.low is not None and not self.ranged:
                raise ValueError("a range belongs to a fact of a device, not to a fitted constant")
            return quantity

        return core_schema.no_info_after_validator_function(checked, handler(source))


def quantity_in(unit: str | None) -> Any:
    """Return the type of a fitted constant of the dimension that `unit` has; None: a count."""
    return Annotated[Quantity, _Dimension(("count" if unit is None else UNITS[unit][0],), ranged=False)]


Count = Annotated[Quantity, _Dimension(("count",))]
Frequency = Annotated[Quantity, _Dimension(("frequency",))]
Bytes = Annotated[Quantity, _Dimension(("bytes",))]
BandwidthOrPerClock = Annotated[Quantity, _Dimension(("bandwidth", "bytes per clock"))]
Power = Annotated[Quantity, _Dimension(("power",))]
Price = Annotated[Quantity, _Dimension(("price",))]
Fraction = Annotated[Quantity, _Dimension(("fraction",))]
Rate = Annotated[Quantity, _Dimension(("rate",))]


class SpecFile(BaseModel):
    """Base of every table in a data file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def short_quantities(self) -> Mapping[str, Quantity]:
        """Return the quantities that this table writes in a short form, by key; none unless a subclass has some."""
        return {}


Sources = Annotated[dict[str, Annotated[str, Field(min_length=1)]], Field(min_length=1)]
