"""What follows from one changed number of a device: peaks from units, array and clock, caches from their number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from roofline.errors import InputError
from roofline.hardware.silicon import MatrixRate, MemoryLevel, Silicon

D = TypeVar("D", bound=Silicon)


def set_field(device: D, name: str, value: float, factor: float) -> D:
    """Return the device with one field of `device_fields` set, `factor` times what it was, and all that follows.

    Raises
    ------
    InputError
        The main memory is taken away.
    """
    part, _, attribute = name.rpartition(".")
    if part.startswith("matrix.rates."):
        return _rates(device, factor, factor, only=part.removeprefix("matrix.rates."))
    if name in STEPS:
        stepped: D = STEPS[name](device, value, factor)
        return stepped
    if not part:
        return replace(device, **{attribute: value})  # type: ignore[arg-type]
    return _memory(device, part, attribute, value)


def label_of(level: MemoryLevel) -> str:
    """Return the name of a memory as fields write it.

    Examples
    --------
    >>> from roofline.hardware.load import device
    >>> [label_of(level) for level in device("v100").memory]
    ['hbm', 'l2', 'shared-memory']
    """
    return level.name.lower().replace(" ", "-")


def _rates(device: D, peak: float, macs: float, *, engine: str | None = None, only: str | None = None) -> D:
    """Scale the rates of one engine, or of one dtype."""

    def scaled(rate: MatrixRate) -> MatrixRate:
        per_clock = None if rate.macs_per_clock is None else rate.macs_per_clock * macs
        return replace(rate, macs_per_clock=per_clock, peak_flops_per_s=rate.peak_flops_per_s * peak)

    rates = {
        name: scaled(rate) if (name == only if only else engine in (None, rate.runs_on)) else rate
        for name, rate in device.matrix.rates.items()
    }
    return replace(device, matrix=replace(device.matrix, rates=rates))


def _matrix(field: str, device: D, value: float, factor: float, *, macs: bool = False) -> D:
    """Set a field of the matrix units and the peak in proportion; with `macs` also what a unit does per clock."""
    kept: float = value if field == "clock_hz" else int(value)
    device = replace(device, matrix=replace(device.matrix, **{field: kept}))  # type: ignore[arg-type]
    return _rates(device, factor, factor if macs else 1.0, engine="matrix")


def _vector(field: str, device: D, value: float, factor: float, *, macs: bool = False) -> D:
    """Set a field of the vector units and the peak in proportion; with `macs` also what a unit does per clock."""
    kept: float = int(value) if field == "units" else value
    peak = device.vector.peak_flops_per_s * factor
    device = replace(device, vector=replace(device.vector, peak_flops_per_s=peak, **{field: kept}))  # type: ignore[arg-type]
    return _rates(device, factor, factor if macs else 1.0, engine="vector")


def _levels(device: D, factor: float, *scopes: str) -> D:
    """Scale what each core or unit has of its own."""
    memory = tuple(
        replace(
            level,
            capacity_bytes=level.capacity_bytes * factor,
            bandwidth_bytes_per_s=level.bandwidth_bytes_per_s * factor,
        )
        if level.scope in scopes
        else level
        for level in device.memory
    )
    return replace(device, memory=memory)


def _cores(device: D, value: float, factor: float) -> D:
    vector = replace(device.vector, peak_flops_per_s=device.vector.peak_flops_per_s * factor)
    return _levels(_rates(replace(device, cores=int(value), vector=vector), factor, 1.0), factor, "core", "unit")


def _clock(device: D, value: float, factor: float) -> D:
    """Set the clock of the chip, and of the engines and memories that run on it."""
    shared = [e for e in ("matrix", "vector") if getattr(device, e).clock_hz == device.clock_hz]
    per_clock = {q.path.split(".")[1] for q in device.quantities if q.unit == "B/clk"}
    device = replace(device, clock_hz=value)
    for engine in shared:
        device = STEPS[f"{engine}.clock_hz"](device, value, factor)
    memory = tuple(
        replace(level, bandwidth_bytes_per_s=level.bandwidth_bytes_per_s * factor) if level.name in per_clock else level
        for level in device.memory
    )
    return replace(device, memory=memory)


def _processors(device: D, value: float, factor: float, *, engine: str) -> D:
    """Set the number of units of an engine: on a GPU or CPU the same processors hold both."""
    both = device.kind != "tpu" and device.matrix.units == device.vector.units
    if both or engine == "vector":
        device = _levels(_vector("units", device, value, factor), factor, "unit")
    return _matrix("units", device, value, factor) if both or engine == "matrix" else device


def _slot(field: str, device: D, value: float, factor: float) -> D:
    """Set what a vector unit does per clock beside its arithmetic."""
    return replace(device, vector=replace(device.vector, **{field: value}))  # type: ignore[arg-type]


#: fields of a vector unit that say so; those that a device has none of cannot be set
SLOTS = ("transcendental_per_clock", "loads_per_clock", "stores_per_clock", "transposes_per_clock")
STEPS: dict[str, Callable[[Any, float, float], Any]] = {
    "cores": _cores,
    "clock_hz": _clock,
    "matrix.units": partial(_processors, engine="matrix"),
    "matrix.rows": partial(_matrix, "rows", macs=True),
    "matrix.cols": partial(_matrix, "cols", macs=True),
    "matrix.clock_hz": partial(_matrix, "clock_hz"),
    "vector.units": partial(_processors, engine="vector"),
    "vector.clock_hz": partial(_vector, "clock_hz"),
    "vector.simple_per_clock": partial(_vector, "simple_per_clock", macs=True),
    **{f"vector.{field}": partial(_slot, field) for field in SLOTS},
}


def _memory(device: D, label: str, attribute: str, value: float) -> D:
    level = next(level for level in device.memory if label_of(level) == label)
    if value == 0:
        if level.role == "main":
            raise InputError(f"{label}.capacity_bytes: a device needs its main memory")
        return replace(device, memory=tuple(other for other in device.memory if other is not level))
    new = replace(level, **{attribute: value})  # type: ignore[arg-type]
    return replace(device, memory=tuple(new if other is level else other for other in device.memory))
