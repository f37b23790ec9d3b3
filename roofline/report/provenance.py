"""Where the numbers of a report come from: every number of its device and runtime, the data behind its interval."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from roofline.plugins import plugin_files, plugins
from roofline.quantity import Quantity
from roofline.report.interval import interval, known_intervals
from roofline.report.numbers import Run
from roofline.software.file import runtime_of
from roofline.software.formats import CLASSES, Format, format_file, formats
from roofline.software.formats import format as load_format
from roofline.software.load import runtime_file, runtimes
from roofline.software.spec import Runtime
from roofline.specfile import quantities
from roofline.text import percent
from roofline.version import __version__

if TYPE_CHECKING:
    from roofline.hardware.silicon import QuantityRecord

Rows = list[tuple[str, str, str]]


def provenance(run: Run) -> dict[str, Rows]:
    """Return title -> rows of name, value with unit, and source."""
    device, runtime = run.device_spec, run.runtime_spec
    return {
        "Versions": _versions(),
        "Interval": _interval(run),
        f"Numbers of the device {device.name}": [_row(q.path, q, device.sources) for q in device.quantities],
        f"Numbers of the runtime {runtime.name}": _runtime(runtime),
        **_numbers(run.numbers),
        f"Sources of the network {run.model}": [(key, "", text) for key, text in run.lowered.sources]
        or [(run.model, "", "a program that was handed in")],
    }


def _versions() -> Rows:
    import numpy as np
    import pandas as pd

    python = (platform.python_version(), platform.python_implementation())
    return [
        ("roofline", __version__, "analytical; no hardware took part"),
        ("Python", *python),
        ("numpy", np.__version__, "all arithmetic is 64 bit"),
        ("pandas", pd.__version__, ""),
        *(("plugin", name, plugin_files().get(name, "")) for name in plugins()),
    ]


def _interval(run: Run) -> Rows:
    found, known = interval(run), known_intervals().get(run.runtime)
    rows = [
        ("Low", f"{found.low_s * 1e3:.4g} ms", ""),
        ("High", f"{found.high_s * 1e3:.4g} ms", ""),
        ("Coverage", percent(found.coverage), "share of measurements that should lie inside"),
        ("Extrapolating", "yes" if found.extrapolating else "no", "; ".join(found.reasons)),
    ]
    if known is not None:
        rows.append(("Calibration", f"{known.rows} rows", known.source))
        for name in ("families", "devices", "dtypes", "kinds"):
            rows.append((f"Seen {name}", str(len(getattr(known, name))), ", ".join(getattr(known, name))))
    return rows


def _runtime(runtime: Runtime) -> Rows:
    """Return the numbers of the file behind a runtime; of one made in Python, its values."""
    if runtime.name in runtimes():
        file = runtime_file(runtime.name)
        if runtime_of(file) == runtime:
            return [_row(path, quantity, file.sources) for path, quantity in quantities(file)]
    values = {name: getattr(runtime, name) for name in Runtime.__dataclass_fields__}
    given = {name: value for name, value in values.items() if isinstance(value, float)}
    return [(name, f"{value:.12g}", "given by the caller") for name, value in given.items()]


def _numbers(chosen: Format | None) -> dict[str, Rows]:
    """Return what a number format says of each class of tensors, and who says so."""
    if chosen is None:
        return {}
    classes = [(kind, number) for kind in CLASSES if (number := getattr(chosen, kind)) is not None]
    rows = [(kind, f"{number.dtype.name}, {number.bits:g} bits with scales", "") for kind, number in classes]
    shipped = chosen.name in formats() and _as_shipped(chosen)
    sources = format_file(chosen.name).sources if shipped else {}
    limits = [("on this device", "", why) for why in chosen.limits]
    return {f"Number format {chosen.name}": [*rows, *limits, *((key, "", text) for key, text in sources.items())]}


def _as_shipped(chosen: Format) -> bool:
    """Whether a format is that of the data folder, but for what a device leaves wide."""
    shipped = load_format(chosen.name)
    return replace(chosen, limits=(), activations=shipped.activations, queries=shipped.queries) == shipped


def _row(path: str, fact: Quantity | QuantityRecord, sources: Mapping[str, Any]) -> tuple[str, str, str]:
    between = None if fact.low is None else f"between {fact.low:,.12g} and {fact.high:,.12g}: {fact.why}"
    marks = (
        "recalled" if fact.recalled else None,
        f"estimate: {fact.estimate}" if fact.estimate else None,
        fact.note,
        between,
    )
    cited = sources.get(fact.source or "")
    return path, f"{fact.value:,.12g} {fact.unit or ''}".rstrip(), "; ".join(filter(None, (cited, *marks)))
