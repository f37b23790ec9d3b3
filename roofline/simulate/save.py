"""Writing a report to a file, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline.errors import InputError
from roofline.files import PICTURES, atomic, json_text
from roofline.simulate.trace import chrome_trace

if TYPE_CHECKING:
    import pandas as pd

    from roofline.simulate.report import Report

#: a file of this name, or of ``*.trace.json``, is a timeline
TRACE = "trace.json"
#: what a report says as JSON, beside its kernels
HEADLINE = (
    *("model", "device", "runtime", "dtype", "layout", "batch", "cores", "idle_cores", "image_size", "mode"),
    *("optimizer", "recompute", "saved_bytes", "state_bytes"),
    *("latency_ms", "throughput_per_s", "bound", "bound_shares", "macs", "macs_per_example", "flops", "vector_ops"),
    *("params", "traffic_bytes", "weight_bytes", "peak_memory_bytes", "memory_capacity_bytes", "fits"),
    *("intensity_flops_per_byte", "ridge_flops_per_byte", "peak_flops_per_s", "attainable_flops_per_s"),
    *("achieved_flops_per_s", "efficiency", "latency_s", "device_s", "host_s", "program_s"),
)


def save(report: Report, path: Path, *, advice: pd.DataFrame | None = None) -> Path:
    """Write a report in the format its suffix names; see `Report.save`."""
    suffix, name = path.suffix.lower(), path.name.lower()
    if suffix in PICTURES:
        report.plot_roofline(path)
        return path
    if suffix == ".html":
        from roofline.simulate.webpage import page

        text = page(report, advice)
    elif suffix == ".csv":
        text = report.kernels.to_csv(index=False)
    elif name.endswith(TRACE) and name.removesuffix(TRACE)[-1:] in ("", "."):
        text = json.dumps(chrome_trace(report), separators=(",", ":"), allow_nan=False)
    elif suffix == ".json":
        kernels = json.loads(report.kernels.to_json(orient="records"))
        text = json_text(as_dict(report) | {"kernels": kernels})
    else:
        raise InputError(f"cannot write {path.name!r}: allowed suffixes are .html, .csv, .json, {', '.join(PICTURES)}")
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def as_dict(report: Report) -> dict[str, Any]:
    """Return a report without its kernels, ready for `json_text`; see `Report.to_dict`."""
    expected = report.interval
    interval = {
        "low_ms": expected.low_s * 1e3,
        "high_ms": expected.high_s * 1e3,
        "coverage": expected.coverage,
        "extrapolating": expected.extrapolating,
        "reasons": list(expected.reasons),
    }
    values = {name: getattr(report, name) for name in HEADLINE}
    return values | {"interval": interval, "warnings": list(report.warnings)}
