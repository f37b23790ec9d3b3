"""What the silicon can do, in SI units: units, rates, memories, and the numbers behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from roofline.dtypes import dtype
from roofline.errors import InputError

Style = Literal["systolic", "tensorcore"]
Role = Literal["main", "shared", "local"]
Scope = Literal["chip", "core", "unit"]
Engine = Literal["matrix", "vector"]
Kind = Literal["tpu", "gpu", "cpu"]
#: bytes per clock of a processor's shared memory where nothing states it: 32 banks of 4 bytes (CUDA compute-capability
#: table; AMD CDNA3 ISA for the LDS)
LOCAL_BYTES_PER_CLOCK = 128


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
    """Matrix units: `units` per core, systolic arrays of `rows` x `cols` or tensor cores (one unit = one SM or CU).

    `batched_lane_tile` is the side of the only output tile that the libraries have for batches of products on vector
    lanes; None where they choose. `operand_sharing` units multiply one tile together, and fetch its operands once.
    """

    style: Style
    units: int
    rows: int | None
    cols: int | None
    clock_hz: float | None
    peak_reason: str | None
    batched_lane_tile: int | None
    operand_sharing: int
    rates: dict[str, MatrixRate] = field(hash=False)

    @property
    def systolic(self) -> bool:
        """Whether operands stream through an array that holds the others; else processors fetch both from memory."""
        return self.style == "systolic"


@dataclass(frozen=True, kw_only=True)
class VectorUnit:
    """Vector units: `units` per core, each with its lane operations per clock; the peak [FLOP/s] is the chip's.

    Tensors lie in memory in tiles of `lanes` x `sublanes` elements, a register of the unit; linear memory has 1 x 1.
    `loads_per_clock`, `stores_per_clock` and `transposes_per_clock` (words that change their lane) are of units that
    issue bundles (VLIW), with slots for them beside those for arithmetic; None where instructions follow one another.
    """

    units: int
    lanes: int
    sublanes: int
    flops_per_op: int
    simple_per_clock: float
    transcendental_per_clock: float
    loads_per_clock: float | None
    stores_per_clock: float | None
    transposes_per_clock: float | None
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
    """A number as the file states it: dotted path, value in `unit`; `source` is a key of ``Device.sources``.

    A number that nobody has verified has a range, from `low` to `high`, and `why`; None where it has none.
    """

    path: str
    value: float
    unit: str | None
    source: str | None
    recalled: bool
    estimate: str | None
    note: str | None
    low: float | None = None
    high: float | None = None
    why: str | None = None


@dataclass(frozen=True, kw_only=True)
class Silicon:
    """The facts and what follows from them; see `roofline.hardware.spec.Device`, which can also be changed."""

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
    capability: float | None
    matrix: MatrixUnit
    vector: VectorUnit
    memory: tuple[MemoryLevel, ...]
    overrides: dict[str, dict[str, float]] = field(hash=False)
    sources: dict[str, str] = field(hash=False)
    quantities: tuple[QuantityRecord, ...] = field(hash=False, repr=False)
    variant_of: str | None = None
    changes: tuple[tuple[str, float], ...] = ()

    @property
    def vector_simple_ops_per_s(self) -> float:
        """Lane operations (add, multiply, compare, fused multiply-add) per second of the chip, fp32."""
        return self.vector.peak_flops_per_s / self.vector.flops_per_op

    @property
    def vector_transcendental_ops_per_s(self) -> float:
        """Exponentials, logarithms, reciprocals and the like per second of the chip."""
        return self.per_second(self.vector.transcendental_per_clock)

    def joined(self) -> Self:
        """Return the chip as one core with the units of all: what each of them has of its own is one piece then."""
        matrix = replace(self.matrix, units=self.matrix.units * self.cores)
        return replace(self, cores=1, matrix=matrix, vector=replace(self.vector, units=self.vector.units * self.cores))

    def per_second(self, per_clock: float | None) -> float:
        """Return a rate of one vector unit [per clock] as that of the chip [per second]; infinite where none is."""
        return (
            math.inf if per_clock is None else self.vector_simple_ops_per_s * per_clock / self.vector.simple_per_clock
        )

    @property
    def main_memory(self) -> MemoryLevel:
        """The memory that holds the model: HBM or GDDR."""
        return self.memory[0]

    @property
    def shared_memory(self) -> tuple[MemoryLevel, ...]:
        """The on-chip levels that keep tensors between kernels, far to near."""
        return tuple(level for level in self.memory if level.role == "shared")

    @property
    def moves_tiles(self) -> bool:
        """Whether memory is moved in whole tiles, by copies that the program orders, and not line by line."""
        return self.vector.lanes * self.vector.sublanes > 1

    @property
    def local_bytes_per_s(self) -> float:
        """Shared-memory bandwidth of one matrix unit, of the usual width where the file states none.

        Infinite, so that operands are free, where no clock is known either.
        """
        for level in self.memory:
            if level.role == "local":
                return level.bandwidth_bytes_per_s / (self.cores * self.matrix.units)
        return LOCAL_BYTES_PER_CLOCK * (self.matrix.clock_hz or self.clock_hz or math.inf)

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
