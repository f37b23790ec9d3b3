"""Devices that do not exist: one that does, with some of its numbers changed and the others following."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from roofline.errors import InputError
from roofline.hardware.derive import SLOTS, label_of, set_field
from roofline.hardware.order import instances, memory_mistakes
from roofline.hardware.silicon import QuantityRecord, Silicon
from roofline.names import lookup

D = TypeVar("D", bound=Silicon)
#: what a number may be at all, by the end of its name: wider than anything built or planned, so that only slips of a
#: unit and sweeps gone astray fall outside
RANGES = {
    "_hz": (1e6, 1e12),
    "bytes_per_s": (1e6, 1e19),
    "flops_per_s": (1e6, 1e21),
    "_bytes": (1.0, 1e17),
    "_per_clock": (1e-3, 1e9),
    "_w": (1e-3, 1e7),
    "_usd_per_hour": (1e-6, 1e6),
}
#: of what there can only be whole ones
COUNTS = ("cores", "matrix.units", "matrix.rows", "matrix.cols", "vector.units")
MOST_OF_A_COUNT = 1_000_000


def device_fields(device: Silicon) -> dict[str, float]:
    """Return every number of a device that can be changed, by dotted name, in SI units and totals of the chip.

    Memories go by their own names, in lower case: ``hbm.bandwidth_bytes_per_s``.

    Examples
    --------
    >>> from roofline.hardware.load import device
    >>> device_fields(device("tpu-v3"))["hbm.bandwidth_bytes_per_s"]
    900000000000.0
    """
    matrix, vector = device.matrix, device.vector
    found = {
        "cores": device.cores,
        "clock_hz": device.clock_hz,
        "tdp_w": device.tdp_w,
        "price_usd_per_hour": device.price_usd_per_hour,
        "matrix.units": matrix.units,
        "matrix.rows": matrix.rows,
        "matrix.cols": matrix.cols,
        "matrix.clock_hz": matrix.clock_hz,
        "vector.units": vector.units,
        "vector.clock_hz": vector.clock_hz,
        "vector.simple_per_clock": vector.simple_per_clock,
        **{f"vector.{rate}": getattr(vector, rate) for rate in SLOTS},
    }
    found |= {f"matrix.rates.{name}.peak_flops_per_s": rate.peak_flops_per_s for name, rate in matrix.rates.items()}
    for level in device.memory:
        found[f"{label_of(level)}.capacity_bytes"] = level.capacity_bytes
        found[f"{label_of(level)}.bandwidth_bytes_per_s"] = level.bandwidth_bytes_per_s
    return {name: float(value) for name, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a text like ``hbm.bandwidth_bytes_per_s*=2`` says; `device` is None where it is meant for all of them."""

    device: str | None
    field: str
    operator: str
    value: float


CHANGE = re.compile(r"(?:(?P<device>[^:=]+):)?(?P<field>[\w.\- ]+?)\s*(?P<operator>[*/]?=)\s*(?P<value>[^=]+)")


def parse_change(text: str) -> Change:
    """Return the change that ``[DEVICE:]FIELD=VALUE`` describes; ``*=`` and ``/=`` multiply and divide.

    Raises
    ------
    InputError
        The text is of another form, or its value is no number.

    Examples
    --------
    >>> parse_change("tpu-v4i:cmem.capacity_bytes/=2")
    Change(device='tpu-v4i', field='cmem.capacity_bytes', operator='/=', value=2.0)
    """
    match = CHANGE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"a change is [DEVICE:]FIELD=VALUE, FIELD*=VALUE or FIELD/=VALUE, got {text!r}")
    try:
        value = float(match["value"])
    except ValueError:
        raise InputError(f"{match['field']} takes a number in SI units, got {match['value']!r}") from None
    return Change(device=match["device"], field=match["field"], operator=match["operator"], value=value)


def changed(device: D, changes: Iterable[Change]) -> D:
    """Return the device with changes applied; those of one field build on each other."""
    fields, wanted = device_fields(device), dict[str, float]()
    for change in changes:
        name = _field(device, change.field)
        before = wanted.get(name, fields[name])
        if change.operator == "/=" and change.value == 0:
            raise InputError(f"{name} cannot be divided by 0")
        wanted[name] = {"=": change.value, "*=": before * change.value, "/=": before / (change.value or 1.0)}[
            change.operator
        ]
    return with_overrides(device, wanted)


def with_overrides(device: D, overrides: Mapping[str, float]) -> D:
    """Return a hypothetical device: some numbers as given, derived ones following, provenance saying so.

    A peak follows from units, array and clock; a cache of each core or unit from their number; what is stated per
    clock from the clock. A peak that is set itself changes what a unit does per clock. Fields are applied from the
    general to the special, whatever their order here. A capacity of 0 takes an on-chip memory away.

    Parameters
    ----------
    overrides
        Field, as in `device_fields` -> value in SI units, total of the chip.

    Raises
    ------
    UnknownNameError
        The device has no such field; the message shows the nearest.
    InputError
        A value is outside any physical range, a count is not whole, or a nearer memory would be slower or larger.
    """
    if not isinstance(overrides, Mapping):
        raise InputError(f"overrides map the name of a field to its value, got {overrides!r}")
    wanted = {_field(device, name): _checked(_field(device, name), value) for name, value in overrides.items()}
    result, applied = device, {}
    for name in device_fields(device):
        if name not in wanted:
            continue
        before = device_fields(result).get(name)
        if before is None:
            part = name.rpartition(".")[0]
            raise InputError(f"{name} cannot be changed: {part}.capacity_bytes=0 takes that memory away")
        if wanted[name] != before:
            result = set_field(result, name, wanted[name], wanted[name] / before)
            applied[name] = wanted[name]
    if not applied:
        return device
    base = device.variant_of or device.name
    changes = dict(device.changes) | applied
    label = ", ".join(f"{name}={value:.6g}" for name, value in changes.items())
    title = f"{device.title.removesuffix(MARK)}{MARK}"
    result = replace(result, name=f"{base} [{label}]", title=title, aliases=(), variant_of=base)
    result = replace(result, changes=tuple(changes.items()))
    for where, text in memory_mistakes(result):
        raise InputError(f"{result.name}: {where}: {text}")
    return replace(result, quantities=_provenance(device, result))


MARK = ", hypothetical variant"


def _field(device: Silicon, name: str) -> str:
    known = {field: field for field in device_fields(device)}
    return lookup(name.removeprefix("memory."), known, f"field of {device.name!r}:")


def _checked(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{name} takes a finite number, got {value!r}")
    if name in COUNTS:
        if value != int(value) or not 1 <= value <= MOST_OF_A_COUNT:
            raise InputError(f"{name} must be a whole number in 1..{MOST_OF_A_COUNT:,}, got {value!r}")
        return float(value)
    low, high = next(limits for ending, limits in RANGES.items() if name.endswith(ending))
    if not low <= value <= high and not (value == 0 and name.endswith("capacity_bytes")):
        raise InputError(f"{name} must be in {low:g} to {high:g}, got {value!r}")
    return float(value)


def _provenance(old: Silicon, new: Silicon) -> tuple[QuantityRecord, ...]:
    """Return the records of a variant, as its file would state them: what changed says what it was, and why."""
    before, after, chosen = _stated(old), _stated(new), {stated_path(new, name) for name, _ in new.changes}
    records = []
    for record in old.quantities:
        ratio = after.get(record.path, 0.0) / before.get(record.path, 1.0) if record.path in before else 1.0
        if record.unit == "B/clk" and old.clock_hz and new.clock_hz:
            ratio *= old.clock_hz / new.clock_hz
        if ratio and not math.isclose(ratio, 1.0, rel_tol=1e-12):
            reason = "chosen" if record.path in chosen else "follows from what is chosen"
            text = f"hypothetical: {reason}; {old.name} has {record.value:g} {record.unit or ''}".rstrip()
            record = replace(record, value=record.value * ratio, source=None, recalled=False, note=None, estimate=text)
            record = replace(record, **_scaled_range(record, 0.0 if record.path in chosen else ratio))
        if ratio:  # 0: its memory was taken away
            records.append(record)
    return tuple(records)


def _scaled_range(record: QuantityRecord, ratio: float) -> dict[str, Any]:
    """Return the range of a number that follows from another; what is chosen (0) has none any more."""
    if record.low is None or record.high is None or not ratio:
        return {"low": None, "high": None, "why": None}
    return {"low": record.low * ratio, "high": record.high * ratio}


def _stated(device: Silicon) -> dict[str, float]:
    """Return the numbers of a device by their path in a file; those of a memory are of a single one."""
    found = {stated_path(device, name): value for name, value in device_fields(device).items()}
    found["vector.peak"] = device.vector.peak_flops_per_s
    for level in device.memory:
        for kind in ("capacity", "bandwidth"):
            found[f"memory.{level.name}.{kind}"] /= instances(device, level)
    return found


def stated_path(device: Silicon, name: str) -> str:
    """Return the dotted path at which a file states a field of `device_fields`."""
    part, _, attribute = name.rpartition(".")
    levels = {label_of(level): f"memory.{level.name}" for level in device.memory}
    stem = next(
        (s for s in ("capacity", "bandwidth", "clock", "peak", "tdp", "price") if attribute.startswith(f"{s}_")),
        attribute,
    )
    return f"{levels.get(part, part) or 'chip'}.{stem}"
