"""From a name or a TOML file to a checked `Device`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import inf, isclose
from pathlib import Path

from roofline import names
from roofline.errors import InputError, SpecError, nearest
from roofline.hardware.order import memory_mistakes
from roofline.hardware.ranges import open_facts
from roofline.hardware.schema import DeviceFile, MemoryTable
from roofline.hardware.silicon import MatrixRate, MatrixUnit, MemoryLevel, QuantityRecord, VectorUnit
from roofline.hardware.spec import Device
from roofline.paths import data_files
from roofline.quantity import Quantity
from roofline.specfile import Stamp, load_spec, quantities, read_toml, stamp

PEAK_TOLERANCE = 0.01
"""A published peak is rounded: it may differ by 1 % from units x rate x clock."""


def devices() -> list[str]:
    """Return the canonical names of the shipped devices."""
    return sorted(data_files("hardware_specs"))


def device(name_or_path: str | Path | Device) -> Device:
    """Return a device by name in any spelling, by the path of a TOML file, or unchanged where it is one already.

    Raises
    ------
    UnknownNameError
        No device of that name; the message shows the nearest.
    SpecError
        The file cannot be read or states something impossible.
    InputError
        Neither name nor path.

    Examples
    --------
    >>> device("TPUv3").cores
    2
    """
    if isinstance(name_or_path, Device):
        return name_or_path
    if not isinstance(name_or_path, (str, Path)):
        raise InputError(f"device must be a name, a path or a Device, got {name_or_path!r}")
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        return _from_file(Path(name_or_path))
    files = data_files("hardware_specs")
    known = {names.key(name) for name in files}
    table = files if names.key(name_or_path) in known else {**files, **_aliases(files)}
    return _from_file(names.lookup(name_or_path, table, "device"))


def _aliases(files: dict[str, Path]) -> dict[str, Path]:
    """Return alias -> file; a file that is not TOML has none here and is reported when it is asked for."""
    found: dict[str, Path] = {}
    for path in files.values():
        found.update(dict.fromkeys(_aliases_in(path, stamp(path)), path))
    return found


@lru_cache(maxsize=256)
def _aliases_in(path: Path, version: Stamp) -> tuple[str, ...]:
    try:
        aliases = read_toml(path).get("aliases")
    except SpecError:
        return ()
    return tuple(alias for alias in aliases if isinstance(alias, str)) if isinstance(aliases, list) else ()


def _from_file(path: Path) -> Device:
    return _cached(path.absolute(), stamp(path))


@lru_cache(maxsize=256)
def _cached(path: Path, version: Stamp) -> Device:
    spec = load_spec(path, DeviceFile)
    for table, text in _mistakes(spec):
        raise SpecError(f"{path.name}: [{table}]: {text}" if table else f"{path.name}: {text}")
    if spec.default_runtime.endswith(".toml"):  # a file beside the device's own
        spec = spec.model_copy(update={"default_runtime": str(path.parent / spec.default_runtime)})
    device = _device(spec)
    for table, text in memory_mistakes(device):
        raise SpecError(f"{path.name}: [{table}]: {text}")
    try:
        open_facts(device)
    except InputError as error:
        raise SpecError(f"{path.name}: {error}") from None
    return device


def _si(quantity: Quantity | None) -> float | None:
    return None if quantity is None else quantity.si


def _clock_hz(spec: DeviceFile, engine: str) -> float | None:
    """Return the clock of the matrix or the vector units: their own, else that of the chip."""
    own = spec.matrix.clock if engine == "matrix" else spec.vector.clock
    return _si(own if own is not None else spec.chip.clock)


def _instances(spec: DeviceFile, level: MemoryTable) -> int:
    """Return how many memories of this scope the chip has; ``"unit"`` counts vector units (SMs, CUs)."""
    cores = int(spec.chip.cores.value)
    return {"chip": 1, "core": cores, "unit": cores * int(spec.vector.units.value)}[level.scope]


def _bandwidth_bytes_per_s(spec: DeviceFile, level: MemoryTable) -> float:
    """Return the bandwidth of one instance; bytes per clock are counted at the chip's clock."""
    per_second = 1.0 if level.bandwidth.unit != "B/clk" else _si(spec.chip.clock) or 0.0
    return level.bandwidth.si * per_second


def _mistakes(spec: DeviceFile) -> Iterator[tuple[str, str]]:
    """Yield (table, what is wrong with it) for everything that no single table can tell."""
    for path, quantity in quantities(spec):
        if quantity.value <= 0:
            yield path, f"must be above 0, got {quantity.value!r}"
    for path, count in (
        ("chip.cores", spec.chip.cores),
        ("matrix.units", spec.matrix.units),
        ("matrix.rows", spec.matrix.rows),
        ("matrix.cols", spec.matrix.cols),
        ("matrix.batched_lane_tile", spec.matrix.batched_lane_tile),
        ("matrix.operand_sharing", spec.matrix.operand_sharing),
        ("vector.units", spec.vector.units),
        ("vector.lanes", spec.vector.lanes),
        ("vector.sublanes", spec.vector.sublanes),
    ):
        if count is not None and count.value != int(count.value):
            yield path, f"must be a whole number, got {count.value!r}"
    for name in (spec.name, *spec.aliases):
        if not names.key(name):
            yield "", f"a name must have letters or digits, got {name!r}"
    if spec.kind == "tpu" and spec.vector.lanes is None:
        yield "vector", "kind 'tpu' needs lanes and sublanes, the tile of its memory layout (128 and 8 up to TPU v7x)"
    rates = spec.matrix.rates
    if spec.default_dtype not in rates:
        yield "", f"default_dtype {spec.default_dtype!r} has no rate{nearest(spec.default_dtype, rates)}"
    runtimes = data_files("runtimes")
    for name in spec.runtime:
        if runtimes and name not in runtimes:
            yield f"runtime.{name}", f"unknown runtime {name!r}{nearest(name, runtimes)}"
    yield from _peak_mistakes(spec)
    yield from _memory_mistakes(spec)


def _peak_mistakes(spec: DeviceFile) -> Iterator[tuple[str, str]]:
    """Yield each peak that is not cores x units x rate x clock and has no peak_reason."""
    cores, matrix, vector = spec.chip.cores.value, spec.matrix, spec.vector
    for name, rate in matrix.rates.items():
        table = f"matrix.rates.{name}"
        if rate.macs_per_clock is not None and matrix.rows is not None and matrix.cols is not None:
            multiple = rate.macs_per_clock / (matrix.rows.value * matrix.cols.value)
            if max(multiple, 1 / multiple) % 1 != 0:
                yield table, f"macs_per_clock must be a multiple or a fraction of rows x cols, got {multiple:.4g} x"
        if rate.peak_reason or (matrix.peak_reason and rate.runs_on == "matrix"):
            continue
        clock_hz = _clock_hz(spec, rate.runs_on)
        if clock_hz is None or rate.macs_per_clock is None:
            lacking = "a clock" if clock_hz is None else "macs_per_clock"
            yield table, f"the peak cannot be checked: give {lacking}, or a peak_reason"
            return
        units = (matrix if rate.runs_on == "matrix" else vector).units.value
        published = rate.short_quantities()["peak"].si
        yield from _compare(table, published, 2 * cores * units * rate.macs_per_clock * clock_hz, "macs_per_clock x 2")
    if vector.peak_reason:
        return
    clock_hz = _clock_hz(spec, "vector")
    if clock_hz is None:
        yield "vector", "the peak cannot be checked: give a clock, or a peak_reason"
        return
    derived = cores * vector.units.value * vector.simple_per_clock.value * vector.flops_per_op * clock_hz
    yield from _compare("vector.peak", vector.peak.si, derived, "simple_per_clock x flops_per_op")


def _compare(table: str, published: float, derived: float, rate: str) -> Iterator[tuple[str, str]]:
    if not isclose(published, derived, rel_tol=PEAK_TOLERANCE):
        off = 100 * (published / derived - 1) if derived else inf
        yield (
            table,
            f"peak {published / 1e12:.4g} TFLOP/s is {off:+.1f} % off cores x units x {rate} x clock = "
            f"{derived / 1e12:.4g} TFLOP/s; correct one of them (1 % is allowed) or give a peak_reason",
        )


def _memory_mistakes(spec: DeviceFile) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the list of memories, but for how they compare (`hardware.order`)."""
    roles = [level.role for level in spec.memory]
    if roles[0] != "main" or roles.count("main") != 1:
        yield "memory", f"the first level, and no other, has role 'main'; got {', '.join(map(repr, roles))}"
    if sorted(roles, key=["main", "shared", "local"].index) != roles:
        yield "memory", f"roles go from main over shared to local, got {', '.join(map(repr, roles))}"
    if spec.memory[0].scope != "chip":
        yield f"memory.{spec.memory[0].name}", f"main memory has scope 'chip', got {spec.memory[0].scope!r}"
    seen: list[str] = []
    for level in spec.memory:
        if level.name in seen:
            yield f"memory.{level.name}", f"memory {level.name!r} is listed twice"
        if level.bandwidth.unit == "B/clk" and spec.chip.clock is None:
            yield f"memory.{level.name}.bandwidth", "B/clk needs chip.clock; give the bandwidth in GB/s"
        seen.append(level.name)


def _device(spec: DeviceFile) -> Device:
    matrix, vector = spec.matrix, spec.vector
    return Device(
        name=spec.name,
        title=spec.title,
        vendor=spec.vendor,
        kind=spec.kind,
        year=spec.year,
        aliases=tuple(spec.aliases),
        default_runtime=spec.default_runtime,
        default_dtype=spec.default_dtype,
        cores=int(spec.chip.cores.value),
        clock_hz=_si(spec.chip.clock),
        tdp_w=_si(spec.chip.tdp),
        price_usd_per_hour=_si(spec.chip.price),
        capability=_si(spec.chip.capability),
        matrix=MatrixUnit(
            style=matrix.style,
            units=int(matrix.units.value),
            rows=None if matrix.rows is None else int(matrix.rows.value),
            cols=None if matrix.cols is None else int(matrix.cols.value),
            batched_lane_tile=None if matrix.batched_lane_tile is None else int(matrix.batched_lane_tile.value),
            operand_sharing=1 if matrix.operand_sharing is None else int(matrix.operand_sharing.value),
            clock_hz=_clock_hz(spec, "matrix"),
            peak_reason=matrix.peak_reason,
            rates={
                name: MatrixRate(
                    macs_per_clock=rate.macs_per_clock,
                    peak_flops_per_s=rate.short_quantities()["peak"].si,
                    runs_on=rate.runs_on,
                    stored_only=rate.stored_only,
                )
                for name, rate in matrix.rates.items()
            },
        ),
        vector=VectorUnit(
            units=int(vector.units.value),
            lanes=1 if vector.lanes is None else int(vector.lanes.value),
            sublanes=1 if vector.sublanes is None else int(vector.sublanes.value),
            flops_per_op=vector.flops_per_op,
            simple_per_clock=vector.simple_per_clock.value,
            transcendental_per_clock=vector.transcendental_per_clock.value,
            loads_per_clock=None if vector.loads_per_clock is None else vector.loads_per_clock.value,
            stores_per_clock=None if vector.stores_per_clock is None else vector.stores_per_clock.value,
            transposes_per_clock=None if vector.transposes_per_clock is None else vector.transposes_per_clock.value,
            clock_hz=_clock_hz(spec, "vector"),
            peak_flops_per_s=vector.peak.si,
        ),
        memory=tuple(
            MemoryLevel(
                name=level.name,
                role=level.role,
                scope=level.scope,
                capacity_bytes=level.capacity.si * _instances(spec, level),
                bandwidth_bytes_per_s=_bandwidth_bytes_per_s(spec, level) * _instances(spec, level),
            )
            for level in spec.memory
        ),
        overrides={
            runtime: {key: value.si for key, value in table if value is not None}
            for runtime, table in spec.runtime.items()
        },
        sources=dict(spec.sources),
        quantities=tuple(
            QuantityRecord(
                path=path,
                value=quantity.value,
                unit=quantity.unit,
                source=quantity.source,
                recalled=quantity.recalled,
                estimate=quantity.estimate,
                note=quantity.note,
                low=quantity.low,
                high=quantity.high,
                why=quantity.why,
            )
            for path, quantity in quantities(spec)
        ),
    )
