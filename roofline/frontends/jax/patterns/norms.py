"""Norms that a program spells out: statistics of an array, and the array shifted and scaled by them."""

from __future__ import annotations

from dataclasses import dataclass, field

from roofline.frontends.jax.patterns.sketch import Sketch
from roofline.graph.movement import Expand, Reshape
from roofline.graph.op import Op
from roofline.graph.ops import BatchNorm, Elementwise, Norm, Reduce

#: functions between a reduction and the reciprocal root
_STATISTICS = ("add", "sub", "mul", "max", "scale", "square", "abs", "relu")
#: functions that apply statistics to an array
_APPLY = ("sub", "add", "mul")


@dataclass
class _Region:
    """Ops around one reciprocal root; `body` are the tensors on the way from the array to the normalised one."""

    ops: set[str]
    stored: list[str] = field(default_factory=list)
    reductions: list[Reduce] = field(default_factory=list)
    x: str | None = None
    body: list[str] = field(default_factory=list)
    statistics: set[str] = field(default_factory=set)
    applied: dict[str, list[str]] = field(default_factory=lambda: {"sub": [], "mul": [], "add": []})


def fold_norms(sketch: Sketch) -> None:
    """(x - mean) * rsqrt(variance + epsilon) * scale + shift is one norm."""
    for op_id, op in list(sketch.ops.items()):
        if op_id in sketch.ops and isinstance(op, Elementwise) and op.function == "rsqrt":
            region = _statistics(sketch, op_id, op)
            if region is not None:
                _apply(sketch, region)
                _replace(sketch, region)


def _statistics(sketch: Sketch, op_id: str, root: Elementwise) -> _Region | None:
    """Return what the reciprocal root is computed from: reductions of one array, or stored vectors."""
    region = _Region(ops={op_id}, statistics=set(root.outputs))
    stack = list(root.inputs)
    while stack:
        tensor = stack.pop()
        op, writer = sketch.producer(tensor), sketch.writer.get(tensor)
        if op is None and sketch.tensors[tensor].stored:
            region.stored.append(tensor)
        elif isinstance(op, Reduce) and op.function in ("sum", "mean"):
            region.ops.add(str(writer))
            region.statistics.update(op.outputs)
            if op not in region.reductions:
                region.reductions.append(op)
        elif isinstance(op, (Reshape, Expand)) or (isinstance(op, Elementwise) and op.function in _STATISTICS):
            region.ops.add(str(writer))
            region.statistics.update(op.outputs)
            stack.extend(op.inputs)
        else:
            return None
    reduced = [_reduced(sketch, region, r) for r in region.reductions]
    if reduced:
        region.x = reduced[0]
        if any(x != region.x for x in reduced) or region.stored:
            return None
    return region if reduced or len(region.stored) == 1 else None


def _reduced(sketch: Sketch, region: _Region, op: Reduce) -> str:
    """Return the array that a reduction is a statistic of: its input without the square and the shift."""
    tensor = sketch.source(op.inputs[0])
    square = sketch.producer(tensor)
    if isinstance(square, Elementwise) and (
        square.function == "square" or (square.function == "mul" and len(set(square.inputs)) == 1)
    ):
        region.ops.add(sketch.writer[tensor])
        tensor = sketch.source(square.inputs[0])
        shift = sketch.producer(tensor)
        mean = sketch.producer(sketch.source(shift.inputs[-1])) if isinstance(shift, Elementwise) else None
        if isinstance(shift, Elementwise) and shift.function == "sub" and isinstance(mean, Reduce):
            region.ops.update((sketch.writer[tensor], sketch.writer[sketch.source(shift.inputs[-1])]))
            region.body.append(tensor)
            region.statistics.update(mean.outputs)
            tensor = sketch.source(shift.inputs[0])
    return tensor


def _apply(sketch: Sketch, region: _Region) -> None:
    """Grow the region over the ops that use the statistics: shift, scale, and their parameters."""
    for op_id, op in sketch.ops.items():
        inside = [t for t in op.inputs if t in region.statistics or t in region.body]
        if not inside and not (region.x is not None and _reads_x(sketch, region, op)):
            continue
        if isinstance(op, (Reshape, Expand)) and inside:
            region.ops.add(op_id)
            if inside[0] in region.body:
                region.body.append(op.outputs[0])
            else:
                region.statistics.add(op.outputs[0])
        elif isinstance(op, Elementwise) and op.function in _APPLY and len(op.inputs) == 2:
            _step(sketch, region, op_id, op)


def _reads_x(sketch: Sketch, region: _Region, op: Op) -> bool:
    return any(sketch.source(t) == region.x for t in op.inputs)


def _step(sketch: Sketch, region: _Region, op_id: str, op: Elementwise) -> None:
    arrays, vectors = [], []
    for t in op.inputs:
        source = sketch.source(t)
        if sketch.tensors[source].stored:
            vectors.append(source)
        elif t in region.statistics or source in region.statistics:
            continue
        else:
            arrays.append(t)
    known = [t for t in arrays if t in region.body or sketch.source(t) == region.x or sketch.source(t) in region.body]
    if len(arrays) > 1 or len(vectors) > 1 or (arrays and not known and region.x is not None):
        return
    if vectors and (region.applied[op.function] or (op.function == "sub" and region.reductions)):
        return  # a second scale or shift belongs to what follows
    if arrays and not known:
        if region.reductions:
            return
        _enter(sketch, region, sketch.source(arrays[0]))
    statistic = any(t in region.statistics for t in op.inputs)
    if arrays and not statistic and not vectors:
        return
    if arrays and vectors and not statistic and arrays[0] not in region.body and op.function != "sub":
        return
    region.ops.add(op_id)
    region.applied[op.function] += vectors
    if arrays:
        region.body.append(op.outputs[0])
    else:
        region.statistics.add(op.outputs[0])


def _enter(sketch: Sketch, region: _Region, x: str) -> None:
    """Take `x` as the array that stored statistics apply to; it may have been shifted by the mean already."""
    region.x = x
    shift = sketch.producer(x)
    if isinstance(shift, Elementwise) and shift.function == "sub" and shift.broadcast == (False, True):
        mean = sketch.source(shift.inputs[1])
        if sketch.tensors[mean].stored:
            region.ops.add(sketch.writer[x])
            region.body.append(x)
            region.applied["sub"].append(mean)
            region.x = sketch.source(shift.inputs[0])


def _replace(sketch: Sketch, region: _Region) -> None:
    outside = [t for t in (*region.body, *region.statistics) if _escapes(sketch, region, t)]
    if region.x is None or len(outside) != 1 or outside[0] not in region.body:
        return
    out = outside[0]
    writer = sketch.writer[out]
    old = sketch.ops[writer]
    shape = sketch.tensors[out].shape
    x = region.x
    if sketch.tensors[x].shape != shape:
        x = sketch.view(x, shape, f"{writer}/x", old.times)
    scale, shift, mean = (region.applied[name] for name in ("mul", "add", "sub"))
    channels = shape[-1]
    if any(sketch.tensors[t].elements != channels for t in (*scale, *shift, *mean, *region.stored)):
        return
    if region.reductions:
        last = all(r.axes == (len(sketch.tensors[r.inputs[0]].shape) - 1,) for r in region.reductions)
        centred = len(region.reductions) > 1 or len(region.body) > 1 + len(scale) + len(shift)
        form = "group" if not last else "layer" if centred else "rms"
        sketch.put(writer, Norm(inputs=(x, *scale, *shift), outputs=(out,), form=form, times=old.times))  # type: ignore[arg-type]
    elif len(scale) == len(shift) == len(mean) == len(region.stored) == 1:
        vectors = [
            sketch.view(t, (int(channels),), f"{writer}/v", old.times) for t in (*scale, *shift, *mean, *region.stored)
        ]
        sketch.put(writer, BatchNorm(inputs=(x, *vectors), outputs=(out,), times=old.times))


def _escapes(sketch: Sketch, region: _Region, tensor: str) -> bool:
    return tensor in sketch.outputs or any(reader not in region.ops for reader in sketch.readers.get(tensor, ()))
