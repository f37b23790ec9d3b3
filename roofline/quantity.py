"""A number in a TOML file: value, unit and source -> SI float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from roofline.errors import nearest

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


class Quantity(BaseModel):
    """One sourced number as it stands in a file; `si` is the number the program computes with.

    Exactly one of `source` (a key of the file's ``[sources]``) and `estimate` (the reasoning of a guess) is given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    unit: str | None = None
    source: str | None = None
    estimate: str | None = None
    recalled: bool = False
    note: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Quantity:
        if self.unit is not None and self.unit not in UNITS:
            raise ValueError(f"unknown unit {self.unit!r}{nearest(self.unit, UNITS)}")
        if (self.source is None) == (self.estimate is None):
            raise ValueError("give either source (a key of [sources]) or estimate (the reasoning)")
        if not self.value >= 0 or self.value == float("inf"):
            raise ValueError(f"value must be finite and not negative, got {self.value!r}")
        if self.unit == "fraction" and self.value > 1:
            raise ValueError(f"a fraction may not exceed 1, got {self.value!r}")
        return self

    @property
    def dimension(self) -> str:
        """The physical dimension, ``"count"`` without a unit."""
        return "count" if self.unit is None else UNITS[self.unit][0]

    @property
    def si(self) -> float:
        """The value in SI units."""
        return self.value if self.unit is None else self.value * UNITS[self.unit][1]


@dataclass(frozen=True)
class _Dimension:
    """A pydantic annotation that refuses a quantity of another dimension."""

    name: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        def check(quantity: Quantity) -> Quantity:
            if quantity.dimension != self.name:
                allowed = ", ".join(u for u, (d, _) in UNITS.items() if d == self.name) or "no unit (a count)"
                found = "no unit" if quantity.unit is None else f"unit {quantity.unit!r}"
                raise ValueError(f"{self.name} needs {allowed}; found {found}")
            return quantity

        return core_schema.no_info_after_validator_function(check, handler(source))


Count = Annotated[Quantity, _Dimension("count")]
Frequency = Annotated[Quantity, _Dimension("frequency")]
Bytes = Annotated[Quantity, _Dimension("bytes")]
Bandwidth = Annotated[Quantity, _Dimension("bandwidth")]
Power = Annotated[Quantity, _Dimension("power")]
Price = Annotated[Quantity, _Dimension("price")]
Time = Annotated[Quantity, _Dimension("time")]
Fraction = Annotated[Quantity, _Dimension("fraction")]
Cycles = Annotated[Quantity, _Dimension("cycles")]
Rate = Annotated[Quantity, _Dimension("rate")]


class SpecFile(BaseModel):
    """Base of every table in a data file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Sources = Annotated[dict[str, str], Field(min_length=1)]
