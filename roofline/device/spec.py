"""What the silicon can do: the public `Device` in SI units, and the schema of the TOML file that it is read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from roofline import quantity
from roofline.dtypes import DTYPES, dtype
from roofline.errors import InputError, nearest
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

Style = Literal["systolic", "tensorcore"]
Role = Literal["main", "shared", "local"]
Scope = Literal["chip", "core", "unit"]
Engine = Literal["matrix", "vector"]
Kind = Literal["tpu", "gpu", "cpu"]


@dataclass(frozen=True, kw_only=True)
class MatrixRate:
    """How fast matrices of one dtype are multiplied: per unit and clock [MAC], and by the whole chip [FLOP/s].

    `runs_on` is ``"vector"`` where the dtype has no matrix unit and the vector lanes do the work (fp32 on NVIDIA GPUs).
    `stored_only` formats are converted by software, element by element, whenever they are read or written.
    """

    macs_per_clock: float | None
    peak_flops_per_s: float
    runs_on: Engine = "matrix"
    stored_only: bool = False


@dataclass(frozen=True, kw_only=True)
class MatrixUnit:
    """Matrix units: `units` per core, systolic arrays of `rows` x `cols` or tensor cores (one unit = one SM or CU)."""

    style: Style
    units: int
    rows: int | None
    cols: int | None
    clock_hz: float | None
    peak_reason: str | None
    rates: dict[str, MatrixRate] = field(hash=False)


@dataclass(frozen=True, kw_only=True)
class VectorUnit:
    """Vector units: `units` per core, each with its lane operations per clock; the peak [FLOP/s] is the chip's."""

    units: int
    flops_per_op: int
    simple_per_clock: float
    transcendental_per_clock: float
    clock_hz: float | None
    peak_flops_per_s: float


@dataclass(frozen=True, kw_only=True)
class MemoryLevel:
    """One level of memory, in chip totals.

    `role` is main, shared (keeps tensors between kernels) or local (inside a kernel only); `scope` is what has its own.
    """

    name: str
    role: Role
    scope: Scope
    capacity_bytes: float
    bandwidth_bytes_per_s: float


@dataclass(frozen=True, kw_only=True)
class QuantityRecord:
    """A number as the file states it: dotted path, value in `unit`; `source` is a key of ``Device.sources``."""

    path: str
    value: float
    unit: str | None
    source: str | None
    recalled: bool
    estimate: str | None
    note: str | None


@dataclass(frozen=True, kw_only=True)
class Device:
    """A chip or card: physical facts in SI units, each with a record of where it comes from.

    `cores` are program instances (TensorCores that each run a program of their own); unit counts are per core, peaks,
    capacities and bandwidths are totals of the chip. `memory` goes from far to near.
    """

    name: str
    title: str
    vendor: str
    kind: Kind
    year: int
    aliases: tuple[str, ...]
    default_runtime: str
    default_dtype: str
    cores: int
    clock_hz: float | None
    tdp_w: float | None
    price_usd_per_hour: float | None
    matrix: MatrixUnit
    vector: VectorUnit
    memory: tuple[MemoryLevel, ...]
    overrides: dict[str, dict[str, float]] = field(hash=False)
    sources: dict[str, str] = field(hash=False)
    quantities: tuple[QuantityRecord, ...] = field(hash=False, repr=False)

    @property
    def vector_simple_ops_per_s(self) -> float:
        """Lane operations (add, multiply, compare, fused multiply-add) per second of the chip, fp32."""
        return self.vector.peak_flops_per_s / self.vector.flops_per_op

    @property
    def vector_transcendental_ops_per_s(self) -> float:
        """Exponentials, logarithms, reciprocals and the like per second of the chip."""
        return self.vector_simple_ops_per_s * self.vector.transcendental_per_clock / self.vector.simple_per_clock

    @property
    def main_memory(self) -> MemoryLevel:
        """The memory that holds the model: HBM or GDDR."""
        return self.memory[0]

    @property
    def shared_memory(self) -> tuple[MemoryLevel, ...]:
        """The on-chip levels that keep tensors between kernels, far to near."""
        return tuple(level for level in self.memory if level.role == "shared")

    def peak_flops_per_s(self, dtype_name: str) -> float:
        """Return the dense matrix peak of the chip in a dtype [FLOP/s].

        Raises
        ------
        UnknownNameError
            No such dtype.
        InputError
            The device cannot multiply matrices of that dtype; the message names those it can.
        """
        name = dtype(dtype_name).name
        if name not in self.matrix.rates:
            allowed = ", ".join(map(repr, self.matrix.rates))
            raise InputError(f"device {self.name!r} has no dtype {name!r}; it has {allowed}")
        return self.matrix.rates[name].peak_flops_per_s


class _Table(SpecFile):
    model_config = ConfigDict(strict=True)


class ChipTable(_Table):
    """``[chip]``."""

    cores: Count
    clock: Frequency | None = None
    tdp: Power | None = None
    price: Price | None = None


class RateTable(_Table):
    """One dtype of ``[matrix.rates]``, written flat: source, estimate, recalled and note belong to `peak`."""

    macs_per_clock: Annotated[float, Field(gt=0)] | None = None
    macs_source: str | None = None
    macs_recalled: bool = False
    peak: float
    unit: str
    source: str | None = None
    estimate: str | None = None
    recalled: bool = False
    note: str | None = None
    peak_reason: str | None = None
    runs_on: Engine = "matrix"
    stored_only: bool = False

    @model_validator(mode="after")
    def _check(self) -> RateTable:
        quantity.check(self.peak, self.unit, self.source, self.estimate, self.recalled, self.note)
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
    """``[vector]``."""

    units: Count
    flops_per_op: Literal[1, 2]
    simple_per_clock: Count
    transcendental_per_clock: Count
    clock: Frequency | None = None
    peak_reason: str | None = None
    peak: Rate


class MemoryTable(_Table):
    """One ``[[memory]]``."""

    name: str
    role: Role
    scope: Scope
    capacity: Bytes
    bandwidth: BandwidthOrPerClock


class OverrideTable(_Table):
    """``[runtime.NAME]``: what was measured on this very device."""

    matrix_fraction: Fraction | None = None
    bandwidth_fraction: Fraction | None = None


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
