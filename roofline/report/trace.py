"""A run as a timeline in the trace-event format of Chrome, which Perfetto opens.

Format: "Trace Event Format", Google, 2016 (JSON object form, complete events). Times are microseconds in the file,
rounded here to whole nanoseconds so that neighbours share their boundary exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from roofline.cost.combine import ENGINES
from roofline.report.numbers import Run
from roofline.version import __version__

LANES = ("host", "kernels", *ENGINES)
#: columns of a kernel that its event carries; `count` stands as ``runs``
TOLD = ("kind", "bound", "ops", "stage", "count", "share", "flops", "traffic_bytes", "efficiency")
PROCESS = 1


def chrome_trace(run: Run) -> dict[str, Any]:
    """Return the timeline of one core: what the host, each kernel and each engine does when.

    Engines start together once the floor of a kernel has passed, each for as long as it alone needs; how they overlap
    is known as a sum only. Where the host is slower than the device, the wait is spread over the kernels by their share
    of the host time: the model adds queues up, it does not schedule launches.
    """
    about = {name: getattr(run, name) for name in ("model", "device", "runtime", "dtype", "batch", "latency_ms")}
    return {
        "traceEvents": [*_names(run), *_events(run)],
        "displayTimeUnit": "ms",
        "otherData": {"roofline_version": __version__, **about},
    }


def _names(run: Run) -> Iterator[dict[str, Any]]:
    head = {"ph": "M", "pid": PROCESS, "tid": 0, "ts": 0}
    yield head | {"name": "process_name", "args": {"name": f"{run.model} on {run.device}"}}
    for lane, name in enumerate(LANES):
        yield head | {"tid": lane, "name": "thread_name", "args": {"name": name}}
        yield head | {"tid": lane, "name": "thread_sort_index", "args": {"sort_index": lane}}


def _events(run: Run) -> Iterator[dict[str, Any]]:
    kernels = run.kernels
    time_s, host_s = kernels["time_s"].to_numpy(), kernels["host_s"].to_numpy()
    wait_s = max(0.0, run.latency_s - run.program_s - run.device_s)
    dispatched_s = np.cumsum(host_s)
    waited_s = wait_s * dispatched_s / dispatched_s[-1] if dispatched_s[-1] else np.zeros(len(kernels))
    end_s = run.program_s + np.cumsum(time_s) + waited_s
    yield from _event("host", "program", 0, _ns(run.program_s))
    for row, (before, after) in zip(kernels["kernel"], pairwise([0.0, *dispatched_s]), strict=True):
        yield from _event("host", f"dispatch {row}", _ns(run.program_s + before), _ns(run.program_s + after))
    for row, last_s in zip(kernels.to_dict("records"), end_s, strict=True):
        start, end = _ns(last_s - row["time_s"]), _ns(last_s)
        about = {{"count": "runs"}.get(column, column): row[column] for column in TOLD}
        yield from _event("kernels", row["kernel"], start, end, about)
        begin = min(_ns(last_s - row["time_s"] + row["floor_s"]), end)
        for engine in ENGINES:
            busy_s = row[f"{engine}_time_s"]
            yield from _event(engine, row["kernel"], begin, min(begin + _ns(busy_s), end), {"busy_us": busy_s * 1e6})


def _event(lane: str, name: str, start_ns: int, end_ns: int, args: Any = None) -> Iterator[dict[str, Any]]:
    """Yield a complete event, or nothing where it would be shorter than a nanosecond."""
    if end_ns > start_ns:
        tid = LANES.index(lane)
        times = {"ts": start_ns / 1e3, "dur": (end_ns - start_ns) / 1e3}
        yield {"ph": "X", "name": name, "cat": lane, "pid": PROCESS, "tid": tid, **times, "args": args or {}}


def _ns(time_s: float) -> int:
    return round(time_s * 1e9)
