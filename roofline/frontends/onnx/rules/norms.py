"""Normalisation, softmax and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

from roofline.dtypes import DTYPES
from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering
from roofline.frontends.onnx.values import Value
from roofline.frontends.onnx.views import axis_of, identity, last
from roofline.frontends.onnx.writer import Writer
from roofline.graph import ops
from roofline.graph.views import channels_last


def _vector(w: Writer, value: Value | None) -> Value | None:
    return None if value is None else w.reshaped(value, (value.elements,))


@lowering("BatchNormalization")
def batch_norm(w: Writer, node: Node) -> Value:
    """Batch norm with stored statistics: they are buffers, scale and shift parameters."""
    x = node[0]
    order = channels_last(x.rank)
    roles: tuple[Literal["parameter", "buffer"], ...] = ("parameter", "parameter", "buffer", "buffer")
    parts = []
    for position, role in enumerate(roles, 1):
        part = w.reshaped(node[position], (node[position].elements,))
        parts.append(w.read(part, role=role if part.known else None))
    return w.value(w.add(ops.BatchNorm, w.read(x, order), *parts), order)


def normalised(
    w: Writer,
    x: Value,
    axis: int,
    affine: Sequence[Value | None],
    form: Literal["layer", "rms"] = "layer",
    statistics: bool = False,
) -> list[Value]:
    """Normalise over all axes from `axis` on, then scale and shift; also return two `statistics` of every row."""
    axis = axis_of(axis, x.rank)
    rows, size = x.shape[:axis], 1
    for dim in x.shape[axis:]:
        size *= dim
    flat = w.reshaped(x, (*rows, size))
    tensor = w.read(flat)
    given = [_vector(w, v) for v in affine if v is not None]
    if any(v is not None and v.elements not in (1, size) for v in given):
        raise ShapeError(f"scale and shift do not fit {size} normalised elements")
    parts = [w.read(v, role="parameter" if v.known else None) for v in given if v is not None and v.elements == size]
    formats = [x.dtype, *(DTYPES["fp32"],) * (2 * statistics)]
    out, *found = (w.value(t) for t in w.write("", ops.Norm, [tensor, *parts], formats, form=form))
    ones = (1,) * (x.rank - axis)
    return [w.reshaped(out, x.shape), *(w.reshaped(v, (*rows, *ones)) for v in found)]


@lowering("LayerNormalization")
@lowering("LayerNormalization", domain=MICROSOFT)
def layer_norm(w: Writer, node: Node) -> list[Value]:
    """Layer norm; the mean and the reciprocal deviation of every row where they are read."""
    return normalised(w, node[0], node.integer("axis", -1), (node[1], node.get(2)), "layer", bool(node.read & {1, 2}))


@lowering("RMSNormalization", "SimplifiedLayerNormalization")
@lowering("RMSNormalization", "SimplifiedLayerNormalization", domain=MICROSOFT)
def rms_norm(w: Writer, node: Node) -> list[Value]:
    """Root-mean-square norm."""
    return normalised(w, node[0], node.integer("axis", -1), (node.get(1),), "rms")


@lowering("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_norm(w: Writer, node: Node) -> list[Value]:
    """Sum of the input, the residual and a bias; its norm; the sum is the last output, and the only other one."""
    simple = node.op.startswith("SkipSimplified")
    total = w.pointwise("add", node[0], node[1])
    bias = node.get(3 if simple else 4)
    if bias is not None:
        total = w.pointwise("add", total, bias)
    affine = (node[2],) if simple else (node[2], node.get(3))
    statistics = bool(node.read & {1, 2})
    out = normalised(w, total, -1, affine, "rms" if simple else "layer", statistics)
    return [*out, *(() if statistics else out * 2), total]


@lowering("GroupNormalization")
@lowering("InstanceNormalization")
@lowering("GroupNorm", domain=MICROSOFT)
def group_norm(w: Writer, node: Node) -> Value:
    """Group norm, and instance norm with a group for each channel."""
    x, scale, shift = node[0], node[1], node[2]
    nhwc = node.domain == MICROSOFT and node.integer("channels_last", 1)
    x = w.transposed(x, (0, x.rank - 1, *range(1, x.rank - 1))) if nhwc else x
    if x.rank < 2:
        raise ShapeError(f"a norm of shape {x.shape!r}; allowed: (N, C, ...)")
    order = channels_last(x.rank)
    parts = [v for v in (scale, shift) if v.elements == x.shape[1]]
    tensors = [w.read(w.reshaped(v, (v.elements,)), role="parameter" if v.known else None) for v in parts]
    out = w.value(w.add(ops.Norm, w.read(x, order), *tensors, form="group"), order)
    if len(parts) < 2:  # one scale and shift for each group, in operator set 18
        out = w.pointwise("add", w.pointwise("scale", out))
    if node.domain == MICROSOFT and node.integer("activation", 0):
        out = w.pointwise("swish", out)
    return w.transposed(out, (0, *range(2, x.rank), 1)) if nhwc else out


@lowering("LpNormalization", "MeanVarianceNormalization")
def plain_norm(w: Writer, node: Node) -> Value:
    """A norm without scale and shift."""
    x = node[0]
    axes = node.integers("axes", (0, 2, 3)) if node.op.startswith("Mean") else (node.integer("axis", -1),)
    order = last(x.rank, axis_of(axes[-1], x.rank))
    return w.value(w.add(ops.Norm, w.read(x, order)), order)


@lowering("Softmax", "LogSoftmax", "Hardmax")
def softmax(w: Writer, node: Node) -> Value:
    """Softmax over an axis; before operator set 13 over all axes from it on."""
    x = node[0]
    if node.version >= 13:
        order = last(x.rank, axis_of(node.integer("axis", -1), x.rank))
        return w.value(w.add(ops.Softmax, w.read(x, order)), order)
    axis = axis_of(node.integer("axis", 1), x.rank) if x.rank > 1 else 0
    inner = prod(x.shape[axis:])
    flat = w.reshaped(x, (x.elements // inner, inner))
    return w.reshaped(w.value(w.add(ops.Softmax, w.read(flat))), x.shape)


#: operator -> (function before, reduction, function after)
REDUCTIONS: dict[str, tuple[str, Literal["mean", "sum", "max"], str]] = {
    "ReduceMean": ("", "mean", ""),
    "ReduceSum": ("", "sum", ""),
    "ReduceMax": ("", "max", ""),
    "ReduceMin": ("", "max", ""),
    "ReduceProd": ("", "sum", ""),
    "ReduceL1": ("abs", "sum", ""),
    "ReduceL2": ("square", "sum", "sqrt"),
    "ReduceSumSquare": ("square", "sum", ""),
    "ReduceLogSum": ("", "sum", "log"),
    "ReduceLogSumExp": ("exp", "sum", "log"),
}


@lowering(*REDUCTIONS)
def reduction(w: Writer, node: Node) -> Value:
    """Reduce over some axes; over all where none are named."""
    x = node[0]
    axes = node.list_or("axes", 1) or ()
    if not axes and node.integer("noop_with_empty_axes", 0):
        return x
    before, function, after = REDUCTIONS[node.op]
    x = w.pointwise(before, x) if before else x
    out = reduced(w, x, axes or identity(x.rank), function, keep=bool(node.integer("keepdims", 1)))
    return w.pointwise(after, out) if after else out


def reduced(
    w: Writer, x: Value, axes: tuple[int, ...], function: Literal["mean", "sum", "max"], *, keep: bool
) -> Value:
    """Reduce over `axes`, wherever they are stored."""
    found = {axis_of(axis, x.rank) for axis in axes}
    order = x.order or identity(x.rank)
    if not found:
        return x
    places = tuple(i for i, axis in enumerate(order) if axis in found)
    tensor = w.read(x, order)
    out = w.add(ops.Reduce, tensor, axes=places, function=function, keep=keep)
    if keep:
        return w.value(out, order)
    left = [axis for axis in range(x.rank) if axis not in found]
    return w.value(out, tuple(left.index(axis) for axis in order if axis not in found))


@lowering("ArgMax", "ArgMin")
def arg(w: Writer, node: Node) -> Value:
    """Find the place of the largest or smallest element: a reduction."""
    x = node[0]
    out = reduced(w, x, (node.integer("axis", 0),), "max", keep=bool(node.integer("keepdims", 1)))
    tensor = out.tensor
    if tensor is None:
        raise ShapeError("a reduction of a constant")
    w.tensors[tensor.id] = made = tensor.cast(DTYPES["int64"])
    return w.value(made, out.order)
