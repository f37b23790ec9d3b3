"""A trace of PyTorch's profiler beside predictions: op by op, told by name and shapes."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from roofline.engine.setting import resolve
from roofline.errors import InputError, RooflineError
from roofline.hardware.spec import Device
from roofline.reading import parse_json, read_text
from roofline.report.run import simulate
from roofline.software.spec import Runtime

#: what a trace may hold, plain, and the end of its time [us]: the clock of some counts from 1970
MOST_BYTES, MOST_US = 2**30, 1e18
#: of a tensor
MOST_ELEMENTS = 2**53
#: what a GPU does, in the words of the trace
ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
#: formats of the profiler -> of the project: what an op computes in
DTYPES = {"float": "fp32", "double": "fp64", "c10::Half": "fp16", "c10::BFloat16": "bf16"}


@dataclass(frozen=True, kw_only=True)
class TracedOp:
    """Calls of one op with the same inputs.

    Attributes
    ----------
    dims, types, constants
        As the trace has them, as JSON text.
    time_s
        Of all calls: of the kernels they launched, or on a CPU of the calls themselves.
    """

    name: str
    dims: str
    types: str
    constants: str
    calls: int
    time_s: float


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The outermost ops of a trace.

    Attributes
    ----------
    on_device
        Whether a GPU did the work.
    unowned_s
        Device time of kernels that no op of the trace launched.
    """

    ops: tuple[TracedOp, ...]
    on_device: bool
    unowned_s: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """One op with its shapes: measured and predicted time of all its calls [s]; `why` where there is no prediction."""

    op: str
    shapes: str
    calls: int
    measured_s: float
    predicted_s: float | None
    why: str = ""

    @property
    def gap_s(self) -> float:
        """Measured minus predicted time."""
        return self.measured_s - (self.predicted_s or 0.0)


@dataclass(frozen=True, kw_only=True)
class ProfileComparison:
    """Predicted lines, largest gap first, and those that could not be predicted, longest first."""

    device: str
    runtime: str
    lines: tuple[Line, ...]
    unmatched: tuple[Line, ...]
    unowned_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return asdict(self)


def read_trace(path: str | Path) -> Trace:
    """Read what ``export_chrome_trace`` wrote, also gzipped.

    Raises
    ------
    InputError
        It cannot be read, is no such trace, or was recorded without shapes.
    """
    events = _events(Path(path))
    ops = sorted((e for e in events if e.get("cat") == "cpu_op"), key=lambda e: (e["ts"], -e["dur"]))
    if not ops:
        raise InputError(f"{Path(path).name}: no ops: not a trace of PyTorch's profiler with its CPU activity")
    if not any("Input Dims" in e.get("args", {}) for e in ops):
        raise InputError(f"{Path(path).name}: recorded without shapes: profile(record_shapes=True)")
    outermost: list[Mapping[str, Any]] = []
    ends: dict[Any, float] = {}
    owner: dict[Any, int] = {}
    current: dict[Any, int] = {}
    for event in ops:
        thread = (event.get("pid"), event.get("tid"))
        if event["ts"] >= ends.get(thread, float("-inf")):
            ends[thread] = event["ts"] + event["dur"]
            current[thread] = len(outermost)
            outermost.append(event)
        owner[event.get("args", {}).get("External id")] = current[thread]
    work = [e for e in events if e.get("cat") in ON_DEVICE]
    time_us = [0.0 if work else float(e["dur"]) for e in outermost]
    unowned_us = 0.0
    for event in work:
        place = owner.get(event.get("args", {}).get("External id"))
        if place is None:
            unowned_us += event["dur"]
        else:
            time_us[place] += event["dur"]
    return Trace(ops=_grouped(outermost, time_us), on_device=bool(work), unowned_s=unowned_us * 1e-6)


def _events(path: Path) -> list[dict[str, Any]]:
    """Return the events with a duration; they are checked here, once for all that is read of them."""
    what = f"{path.name}: not a trace in Chrome's format"
    content = parse_json(read_text(path, most=MOST_BYTES), what)
    events = content.get("traceEvents") if isinstance(content, dict) else content
    if not isinstance(events, list):
        raise InputError(f"{what}: no JSON with 'traceEvents'")
    timed = [event for event in events if isinstance(event, dict) and "dur" in event and "ts" in event]
    for event in timed:
        if event.get("cat") in ("cpu_op", *ON_DEVICE) and (wrong := _mistake(event)):
            raise InputError(f"{path.name}: an event of category {event['cat']!r} has {wrong}")
    return timed


def _mistake(event: Mapping[str, Any]) -> str | None:
    """Return what is wrong with an event of a trace."""
    for name in ("ts", "dur"):
        value = event[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_US:
            return f"{name!r} = {str(value)[:40]}, which is no time in microseconds"
    if not isinstance(event.get("name"), str):
        return f"no name but {str(event.get('name'))[:40]}"
    args = event.get("args", {})
    if not isinstance(args, dict):
        return "'args' that are no table"
    for name in ("Input type", "Concrete Inputs"):
        if not isinstance(words := args.get(name, []), list) or not all(isinstance(word, str) for word in words):
            return f"{name!r} that are no list of texts"
    if not isinstance(shapes := args.get("Input Dims", []), list) or not all(map(_is_shape, shapes)):
        return "'Input Dims' that are no list of shapes"
    for name, value in (("pid", event.get("pid")), ("tid", event.get("tid")), ("External id", args.get("External id"))):
        if isinstance(value, list | dict):
            return f"{name!r} that is no number or text"
    return None


def _is_shape(shape: Any) -> bool:
    """Return whether something is the shape of a tensor, or a list of such shapes."""
    if not isinstance(shape, list):
        return False
    if any(isinstance(size, list) for size in shape):
        return all(
            isinstance(inner, list) and not any(isinstance(x, list) for x in inner) and _is_shape(inner)
            for inner in shape
        )
    return all(type(size) is int and size >= 0 for size in shape) and math.prod(shape) <= MOST_ELEMENTS


def _grouped(events: Iterable[Mapping[str, Any]], time_us: Sequence[float]) -> tuple[TracedOp, ...]:
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for event, duration_us in zip(events, time_us, strict=True):
        args = event.get("args", {})
        fields = (json.dumps(args.get(name, [])) for name in ("Input Dims", "Input type", "Concrete Inputs"))
        found[(event["name"], *fields)].append(duration_us)
    return tuple(
        TracedOp(name=k[0], dims=k[1], types=k[2], constants=k[3], calls=len(v), time_s=sum(v) * 1e-6)
        for k, v in found.items()
    )


def compare_profile(
    path: str | Path, device: str | Path | Device, runtime: str | Path | Runtime | None = None
) -> ProfileComparison:
    """Predict every op of a trace.

    Raises
    ------
    InputError
        The trace cannot be used (see `read_trace`), or PyTorch is not installed.
    """
    trace = read_trace(path)
    setting = resolve(device, runtime=runtime)
    # an op on its own: neither the host that launches it nor the start of a program
    spec, stack = setting.device, replace(setting.runtime, host_s=0.0, program_s=0.0)
    lines = [_line(op, spec, stack) for op in trace.ops if op.time_s > 0]
    predicted = sorted((x for x in lines if x.predicted_s is not None), key=lambda x: -abs(x.gap_s))
    unmatched = sorted((x for x in lines if x.predicted_s is None), key=lambda x: -x.measured_s)
    return ProfileComparison(
        device=spec.name,
        runtime=stack.name,
        lines=tuple(predicted),
        unmatched=tuple(unmatched),
        unowned_s=trace.unowned_s,
    )


def _line(op: TracedOp, device: Device, runtime: Runtime) -> Line:
    try:
        from roofline.frontends.torch.replay import graph_of_call
    except ImportError:
        raise InputError("reading a profile needs PyTorch: pip install 'roofline[torch]'") from None
    dims, types, constants = (json.loads(text) for text in (op.dims, op.types, op.constants))
    shapes = " ".join("x".join(map(str, d)) for d in dims if d and not isinstance(d[0], list)) or str(dims)
    line = Line(op=op.name, shapes=shapes, calls=op.calls, measured_s=op.time_s, predicted_s=None)
    try:
        graph = graph_of_call(op.name, dims, types, constants)
        dtype = next((DTYPES[t] for t in types if t in DTYPES), device.default_dtype)
        views = all(o.family == "free" for o in graph.ops.values())
        time_s = 0.0 if views else simulate(graph, device, runtime=runtime, dtype=dtype, layout="nchw").latency_s
        return replace(line, predicted_s=op.calls * time_s)
    except RooflineError as error:
        return replace(line, why=" ".join(str(error).split())[:160])
