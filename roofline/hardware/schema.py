"""What a file of ``hardware_specs/`` may say: its tables, and what a single table can check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from roofline import quantity
from roofline.dtypes import DTYPES
from roofline.errors import nearest
from roofline.hardware.silicon import Engine, Kind, Role, Scope, Style
from roofline.quantity import (
    BandwidthOrPerClock,
    Bytes,
    Count,
    Fraction,
    Frequency,
    Power,
    Price,
    Quantity,
    Rate,
    SpecFile,
)


class _Table(SpecFile):
    model_config = ConfigDict(strict=True)


class ChipTable(_Table):
    """``[chip]``."""

    cores: Count
    clock: Frequency | None = None
    tdp: Power | None = None
    price: Price | None = None
    capability: Count | None = None


class RateTable(_Table):
    """One dtype of ``[matrix.rates]``, written flat: source, estimate, recalled, note and a range belong to `peak`."""

    macs_per_clock: Annotated[float, Field(gt=0)] | None = None
    macs_source: str | None = None
    macs_recalled: bool = False
    peak: float
    unit: str
    source: str | None = None
    estimate: str | None = None
    recalled: bool = False
    note: str | None = None
    low: float | None = None
    high: float | None = None
    why: str | None = None
    peak_reason: str | None = None
    runs_on: Engine = "matrix"
    stored_only: bool = False

    @model_validator(mode="after")
    def _check(self) -> RateTable:
        quantity.check(self.peak, self.unit, self.source, self.estimate, self.recalled, self.note)
        quantity.check_range(self.peak, self.low, self.high, self.why)
        quantity.check_dimension(self.unit, "rate")
        if self.macs_source is not None and self.macs_per_clock is None:
            raise ValueError("macs_source without macs_per_clock")
        if self.macs_recalled and self.macs_source is None:
            raise ValueError("macs_recalled without macs_source")
        return self

    def short_quantities(self) -> Mapping[str, Quantity]:
        """Return the peak and, where it has a source of its own, the rate per clock."""
        found = {
            "peak": Quantity(
                value=self.peak,
                unit=self.unit,
                source=self.source,
                estimate=self.estimate,
                recalled=self.recalled,
                note=self.note,
                low=self.low,
                high=self.high,
                why=self.why,
            )
        }
        if self.macs_per_clock is not None and self.macs_source is not None:
            found["macs_per_clock"] = Quantity(
                value=self.macs_per_clock, source=self.macs_source, recalled=self.macs_recalled
            )
        return found


class MatrixTable(_Table):
    """``[matrix]``."""

    style: Style
    units: Count
    rows: Count | None = None
    cols: Count | None = None
    batched_lane_tile: Count | None = None
    operand_sharing: Count | None = None
    clock: Frequency | None = None
    peak_reason: str | None = None
    rates: Annotated[dict[str, RateTable], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> MatrixTable:
        if self.style == "systolic" and (self.rows is None or self.cols is None):
            raise ValueError("style 'systolic' needs rows and cols")
        if self.style == "tensorcore" and (self.rows is not None or self.cols is not None):
            raise ValueError("style 'tensorcore' has no rows and cols")
        for name in self.rates:
            if name not in DTYPES:
                raise ValueError(f"unknown dtype {name!r} in rates{nearest(name, DTYPES)}")
        return self


class VectorTable(_Table):
    """``[vector]``; `lanes` and `sublanes` of a register where tensors lie in memory in tiles of that shape."""

    units: Count
    lanes: Count | None = None
    sublanes: Count | None = None
    flops_per_op: Literal[1, 2]
    simple_per_clock: Count
    transcendental_per_clock: Count
    loads_per_clock: Count | None = None
    stores_per_clock: Count | None = None
    transposes_per_clock: Count | None = None
    clock: Frequency | None = None
    peak_reason: str | None = None
    peak: Rate

    @model_validator(mode="after")
    def _check(self) -> VectorTable:
        slots = (self.loads_per_clock, self.stores_per_clock, self.transposes_per_clock)
        if None in slots and any(slots):
            raise ValueError("loads, stores and transposes_per_clock are stated together, or none without bundles")
        if (self.lanes is None) != (self.sublanes is None):
            raise ValueError("lanes and sublanes are stated together, or neither where memory is linear")
        return self


class MemoryTable(_Table):
    """One ``[[memory]]``."""

    name: str
    role: Role
    scope: Scope
    capacity: Bytes
    bandwidth: BandwidthOrPerClock


class OverrideTable(_Table):
    """``[runtime.NAME]``: what was measured on this very device.

    `clock_ratio` is the clock under load over the one that the rates are stated at: graphics cards exceed it.
    """

    clock_ratio: Count | None = None
    matrix_fraction: Fraction | None = None
    lane_fraction: Fraction | None = None
    convolution_fraction: Fraction | None = None
    bandwidth_fraction: Fraction | None = None
    window_ops: Count | None = None


class DeviceFile(_Table):
    """A whole file of ``hardware_specs/``."""

    name: str
    title: str
    vendor: str
    kind: Kind
    year: Annotated[int, Field(ge=1990, le=2100)]
    aliases: list[str] = Field(default_factory=list)
    default_runtime: str
    default_dtype: str
    sources: quantity.Sources
    chip: ChipTable
    matrix: MatrixTable
    vector: VectorTable
    memory: Annotated[list[MemoryTable], Field(min_length=1)]
    runtime: dict[str, OverrideTable] = Field(default_factory=dict)
