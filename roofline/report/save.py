"""Writing a report to a file, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline.errors import InputError
from roofline.files import PICTURES, json_text, write_text
from roofline.report.interval import interval
from roofline.report.numbers import Run
from roofline.report.trace import chrome_trace

if TYPE_CHECKING:
    import pandas as pd


#: a file of this name, or of ``*.trace.json``, is a timeline
TRACE = "trace.json"
#: what a report says as JSON, beside its kernels
HEADLINE = (
    *("model", "device", "runtime", "dtype", "format", "layout", "batch", "cores", "idle_cores", "image_size", "mode"),
    *("length", "phase", "context", "decoding", "tokens", "optimizer", "recompute", "saved_bytes", "state_bytes"),
    *(
        "latency_ms",
        "throughput_per_s",
        "tokens_per_s",
        "bound",
        "bound_shares",
        "macs",
        "macs_per_example",
        "flops",
        "vector_ops",
    ),
    *("params", "traffic_bytes", "weight_bytes", "cache_bytes", "peak_memory_bytes", "memory_capacity_bytes", "fits"),
    *("intensity_flops_per_byte", "ridge_flops_per_byte", "peak_flops_per_s", "attainable_flops_per_s"),
    *("achieved_flops_per_s", "efficiency", "latency_s", "device_s", "host_s", "program_s"),
)


def save(run: Run, path: Path, *, advice: pd.DataFrame | None = None) -> Path:
    """Write a report in the format its suffix names; see `Report.save`."""
    suffix, name = path.suffix.lower(), path.name.lower()
    if suffix in PICTURES:
        from roofline.plot import plot_roofline

        plot_roofline(run, path=path)
        return path
    if suffix == ".html":
        from roofline.report.page.render import page

        text = page(run, advice)
    elif suffix == ".csv":
        text = run.kernels.to_csv(index=False)
    elif name.endswith(TRACE) and name.removesuffix(TRACE)[-1:] in ("", "."):
        text = json.dumps(chrome_trace(run), separators=(",", ":"), allow_nan=False)
    elif suffix == ".json":
        kernels = json.loads(run.kernels.to_json(orient="records"))
        text = json_text(as_dict(run) | {"kernels": kernels})
    else:
        raise InputError(f"cannot write {path.name!r}: allowed suffixes are .html, .csv, .json, {', '.join(PICTURES)}")
    write_text(path, text)
    return path


def as_dict(run: Run) -> dict[str, Any]:
    """Return a report without its kernels, ready for `json_text`; see `Report.to_dict`."""
    expected = interval(run)
    ends = {
        "low_ms": expected.low_s * 1e3,
        "high_ms": expected.high_s * 1e3,
        "coverage": expected.coverage,
        "extrapolating": expected.extrapolating,
        "reasons": list(expected.reasons),
    }
    values = {name: getattr(run, name) for name in HEADLINE}
    return values | {"interval": ends, "unverified_facts": _facts(run), "warnings": list(run.warnings)}


def _facts(run: Run) -> dict[str, Any]:
    """Return between which latencies the unverified facts of the device leave a run, and what each of them does."""
    found = run.fact_range
    effects = [
        {
            "fact": f"{effect.fact.device}: {effect.fact.record.path}",
            "low": effect.fact.record.low,
            "high": effect.fact.record.high,
            "unit": effect.fact.record.unit,
            "why": effect.fact.record.why,
            "latency_ms_at_low": run.latency_ms * effect.at_low,
            "latency_ms_at_high": run.latency_ms * effect.at_high,
        }
        for effect in found.effects
    ]
    return {"low_ms": run.latency_ms * found.low, "high_ms": run.latency_ms * found.high, "effects": effects}
