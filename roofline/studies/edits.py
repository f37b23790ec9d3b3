"""What could be changed about a run: every edit is a request like the run's own, ready to be simulated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from roofline.arch.block import Stage
from roofline.arch.blocks.mbconv import MBConvStage
from roofline.arch.build import MAX_BATCH, build_graph, instances
from roofline.arch.edit import activations, edit_stage
from roofline.arch.spec import Arch
from roofline.dtypes import DTYPES, PRECISIONS, Precision
from roofline.engine.asked import NAMES, asked, sized
from roofline.engine.setting import resolve
from roofline.errors import InputError, RooflineError
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Elementwise, Reduce
from roofline.numeric import Numeric
from roofline.report.report import Report
from roofline.report.run import Request
from roofline.software.formats import WIDE_BITS, formats
from roofline.software.formats import format as load_format
from roofline.software.load import runtime as load_runtime
from roofline.software.load import runtimes
from roofline.software.spec import Runtime
from roofline.studies.covered import covers, covers_format, is_language_model

#: what an edit does to the outputs: nothing; it rounds them differently; another function, to be trained again
FREE, PRECISION, NETWORK = "free", "precision", "network"
CHEAP = "relu"
#: activations with a cheaper one to take their place
DEAR = ("swish", "gelu", "gelu_tanh", "mish", "elu", "hard_swish", "softplus")
#: widths that may change by rounding to a multiple, at most by this share; of classes only upwards
WIDTHS, MOST_CHANGE = ("channels", "width", "hidden", "classes"), 0.25
#: granules of widths beside the runtime's own alignment: sublanes and lanes or array columns of a TPU come from the
#: device; tensor cores like whole tiles (NVIDIA DL performance guide, tile quantization)
TILE_SIDES = (64, 128)
LARGER_BATCHES = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit:
    """One change.

    Attributes
    ----------
    edit
        What is changed: batch, cores, dtype, format, runtime, layout, width, expand, activation, fuse, unfuse,
        squeeze-excite, stem.
    stage
        The stage that changes; empty for the whole run.
    description
        A line for people.
    setting
        What to write: fields of the stage in the architecture file, or an option of `simulate`.
    kind
        ``free``: the network computes the same. ``precision``: the same in another number format. ``network``: another
        function, to be trained again; its accuracy is not predicted.
    request
        The run with the change.
    """

    edit: str
    stage: str
    description: str
    setting: str
    kind: str
    request: Request


def edits(report: Report, request: Request) -> list[Edit]:
    """Return the edits that apply to a simulated run; those that make no valid network are left out.

    Parameters
    ----------
    report
        The run as it is.
    request
        What it was simulated from, its model an `Arch` or an `OpGraph`.
    """
    run = replace(request, strict=False)
    found = [*_options(report, run), *_batches(report, run)]
    if isinstance(run.model, Arch):
        for stage in run.model.stages:
            found += _stage_edits(report, run, run.model, stage)
    if isinstance(run.model, OpGraph):
        found += _function_edits(run, run.model)
    return found


# the run --------------------------------------------------------------------------------------------------------------


def _option(run: Request, name: str, value: Any, description: str, kind: str = FREE) -> Edit:
    changed = replace(run, **{name: value})
    setting = f"{name} = {value!r}"
    return Edit(edit=name, stage="", description=description, setting=setting, kind=kind, request=changed)


def _options(report: Report, run: Request) -> Iterator[Edit]:
    device = report.device_spec
    if report.cores < device.cores:
        yield _option(run, "cores", device.cores, f"cores {report.cores} -> {device.cores}")
    language = is_language_model(report)
    for name, rate in device.matrix.rates.items():
        if language and DTYPES[name].bits < WIDE_BITS:  # number formats say which of its tensors are narrow
            continue
        whole = DTYPES[name].kind == "int" and report.mode != "inference"
        if name == report.dtype or name not in PRECISIONS or rate.stored_only or whole:
            continue
        precision, runtime = PRECISIONS[name], report.runtime_spec
        if covers(runtime, report, precision) and _runs(run, runtime, precision):
            yield _option(run, "dtype", name, f"{report.dtype} -> {name}", PRECISION)
    for name in formats() if language and report.mode == "inference" else ():
        if name != report.format and covers_format(report.runtime_spec, report, load_format(name)):
            yield _option(run, "format", name, f"{report.format or report.dtype} -> {name}", PRECISION)
    for name in runtimes():
        other_runtime = load_runtime(name)
        if name == report.runtime or device.kind not in other_runtime.device_kinds:
            continue
        if _takes_over(report, other_runtime) and _runs(run, other_runtime, report.machine.precision):
            yield _option(run, "runtime", name, f"{report.runtime} -> {name}")
    if report.length is not None:  # no image, so no memory format of images
        return
    other = "nchw" if report.layout == "nhwc" else "nhwc"
    yield _option(run, "layout", other, f"{report.layout} -> {other}")


def _takes_over(report: Report, runtime: Runtime) -> bool:
    """Return whether another runtime has kernels for what a run runs, in its numbers."""
    chosen = report.numbers
    return covers(runtime, report, report.machine.precision) and (
        chosen is None or chosen.plain or covers_format(runtime, report, chosen)
    )


def _runs(run: Request, runtime: Runtime, precision: Precision) -> bool:
    """Return whether a runtime does what the run does in a precision: not all of them train."""
    try:
        resolve(
            run.device,
            runtime=runtime,
            dtype=precision,
            mode=run.mode,
            optimizer=run.optimizer,
            recompute=run.recompute,
            format=run.format,
        )
    except InputError:
        return False
    return True


def _batches(report: Report, run: Request) -> Iterator[Edit]:
    """Yield the next powers of two, above and below."""
    exponent = math.log2(report.batch)
    above = [2 ** (math.floor(exponent) + step) for step in range(1, LARGER_BATCHES + 1)]
    below = 2 ** (math.ceil(exponent) - 1)
    for batch in (int(below), *above):
        if not 1 <= batch <= MAX_BATCH or not _takes_batch(run.model, batch):
            continue
        yield _option(run, "batch", batch, f"batch {report.batch:,} -> {batch:,}")


def _takes_batch(model: Any, batch: int) -> bool:
    if not isinstance(model, OpGraph):
        return True
    try:
        model.with_batch(batch)
    except RooflineError:
        return False
    return True


# the network ----------------------------------------------------------------------------------------------------------


def _stage_edits(report: Report, run: Request, arch: Arch, stage: Stage) -> Iterator[Edit]:
    """Yield what a stage could do without, use instead, or round."""
    for edit, description, kind, fields in (*_widths(report, arch, stage), *_structure(arch, stage)):
        try:
            edited = edit_stage(arch, stage.name, **fields)
            after = _as_run(run, edited)
            instances(after, 1)
        except RooflineError:  # its blocks do not fit the stages around it
            continue
        where = f"in {stage.name}"
        if kind == FREE and _rows(after) != _rows(_as_run(run, arch)):
            kind, where = NETWORK, f"{where}, which a norm spans"
        yield Edit(
            edit=edit,
            stage=stage.name,
            description=f"{description} {where}",
            setting=", ".join(f"{name} = {_toml(value)}" for name, value in fields.items()),
            kind=kind,
            request=replace(run, model=edited),
        )


def _as_run(run: Request, arch: Arch) -> Arch:
    """Return a network at the input size and in the step that a run asks for."""
    return sized(arch, asked({name: getattr(run, name) for name in NAMES})).arch


def _rows(arch: Arch) -> dict[str, Numeric]:
    """Return how many values each norm, softmax and mean of a network takes together: zeros among them count."""
    found: dict[str, Numeric] = {}
    graph = build_graph(arch)
    for op_id, op in graph.ops.items():
        if op.family == "reduction":
            (x, *_), (y, *_) = graph.arguments(op)
            found[op_id] = x.elements / y.elements if isinstance(op, Reduce) else x.shape[-1]
    return found


#: what is edited, in words, the kind, and the fields of the stage with their new values
StageEdit = tuple[str, str, str, dict[str, Any]]


def _widths(report: Report, arch: Arch, stage: Stage) -> Iterator[StageEdit]:
    """Yield widths rounded to what the machine takes at a time."""
    machine, fields = report.machine, type(stage).model_fields
    granules = {int(machine.runtime.alignment_elements), *TILE_SIDES}
    if machine.systolic:
        granules = {int(machine.sublanes), int(machine.columns)}
    for name in WIDTHS:
        width = getattr(stage, name) if name in fields else 0
        for target in _rounded(width, granules) if width else ():
            if target > width:  # zeros in the new weights compute the same
                what = f"{name} (the first {width} count)" if name == "classes" else name
                yield "width", f"pad {width} -> {target} {what}", FREE, {name: target}
            elif name != "classes":
                yield "width", f"cut {width} -> {target} {name}", NETWORK, {name: target}
    if isinstance(stage, MBConvStage) and stage.expand > 1 and not stage.space_to_depth:
        yield from _expansions(arch, stage, max(granules))


def _expansions(arch: Arch, stage: MBConvStage, granule: int) -> Iterator[StageEdit]:
    """Yield ratios with which the blocks of a stage, if need be all but the first, are a multiple wide inside."""
    last = [instance for instance in instances(arch, 1) if instance.stage == stage.name][-1]
    channels = int(last.inputs[0].shape[-1])
    if stage.repeats == 1 and stage.in_channels is not None:
        channels = stage.in_channels
    width = int(channels * stage.expand)
    for target in _rounded(width, {granule}):
        if target < width:
            ratio = math.ceil(1e4 * target / channels) / 1e4  # rounds down to the target again
            yield "expand", f"expand {channels} to {target}, not {width},", NETWORK, {"expand": ratio}


def _rounded(width: int, granules: set[int]) -> list[int]:
    """Return the multiples next to a width, where they are near."""
    near = {granule * whole for granule in granules for whole in (width // granule, -(-width // granule))}
    return sorted(n for n in near if 0 < abs(n - width) <= MOST_CHANGE * width)


def _structure(arch: Arch, stage: Stage) -> Iterator[StageEdit]:
    """Yield cheaper activations, fusion, less squeeze-and-excite, and a stem that fills the array."""
    dear = {name: value for name, value in activations(stage).items() if value in DEAR}
    if dear:
        functions = "/".join(dict.fromkeys(dear.values()))
        yield "activation", f"{functions} -> {CHEAP}", NETWORK, dict.fromkeys(dear, CHEAP)
    fields = type(stage).model_fields
    if isinstance(stage, MBConvStage):
        name = "unfuse" if stage.fused else "fuse"
        yield name, f"{name} MBConv", NETWORK, {"fused": not stage.fused}
    ratio = getattr(stage, "se_ratio", 0.0)
    if ratio and getattr(stage, "se", "") != "none":
        off: dict[str, Any] = {"se": "none"} if "se" in fields else {"se_ratio": 0.0}
        yield "squeeze-excite", "no squeeze-and-excite", NETWORK, off
        yield "squeeze-excite", f"squeeze ratio {ratio:g} -> {ratio / 2:g}", NETWORK, {"se_ratio": ratio / 2}
    if stage is arch.stages[0] and "in_depth" in fields and not stage.in_depth:  # type: ignore[attr-defined]
        yield "stem", "space-to-depth before the first convolution", FREE, {"in_depth": True}


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else f"{value!r}"


def _function_edits(run: Request, graph: OpGraph) -> Iterator[Edit]:
    """Yield a graph with each of its dear activations replaced."""
    present = {op.function for op in graph.ops.values() if isinstance(op, Elementwise)}
    for function in (name for name in DEAR if name in present):
        ops = {
            op_id: replace(op, function=CHEAP) if isinstance(op, Elementwise) and op.function == function else op
            for op_id, op in graph.ops.items()
        }
        edited = replace(
            run, model=OpGraph(ops, graph.tensors, graph.outputs, graph.name, examples=graph.stated_examples)
        )
        words, setting = f"{function} -> {CHEAP}", f"{function} = {CHEAP!r}"
        yield Edit(edit="activation", stage="", description=words, setting=setting, kind=NETWORK, request=edited)
