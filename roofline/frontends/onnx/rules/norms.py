"""Normalisation, softmax and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from roofline.dtypes import DTYPES
from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering
from roofline.frontends.onnx.values import Value
from roofline.frontends.onnx.views import axis_of, channels_last, identity, last
from roofline.frontends.onnx.writer import Context
from roofline.graph import ops


def _vector(context: Context, value: Value | None) -> Value | None:
    return None if value is None else context.reshaped(value, (value.elements,))


@lowering("BatchNormalization")
def batch_norm(context: Context, node: Node) -> Value:
    """Batch norm with stored statistics: they are buffers, scale and shift parameters."""
    x = node[0]
    order = channels_last(x.rank)
    roles: tuple[Literal["parameter", "buffer"], ...] = ("parameter", "parameter", "buffer", "buffer")
    parts = []
    for position, role in enumerate(roles, 1):
        part = context.reshaped(node[position], (node[position].elements,))
        parts.append(context.read(part, role=role if part.known else None))
    return context.value(context.add(ops.BatchNorm, context.read(x, order), *parts), order)


def normalised(
    context: Context, x: Value, axis: int, affine: Sequence[Value | None], form: Literal["layer", "rms"] = "layer"
) -> Value:
    """Normalise over all axes from `axis` on, then scale and shift."""
    axis = axis_of(axis, x.rank)
    rows, size = x.shape[:axis], 1
    for dim in x.shape[axis:]:
        size *= dim
    flat = context.reshaped(x, (*rows, size))
    tensor = context.read(flat)
    given = [_vector(context, v) for v in affine if v is not None]
    if any(v is not None and v.elements not in (1, size) for v in given):
        raise ShapeError(f"scale and shift do not fit {size} normalised elements")
    parts = [
        context.read(v, role="parameter" if v.known else None) for v in given if v is not None and v.elements == size
    ]
    return context.reshaped(context.value(context.add(ops.Norm, tensor, *parts, form=form)), x.shape)


@lowering("LayerNormalization")
@lowering("LayerNormalization", domain=MICROSOFT)
def layer_norm(context: Context, node: Node) -> Value:
    """Layer norm."""
    return normalised(context, node[0], node.integer("axis", -1), (node[1], node.get(2)))


@lowering("RMSNormalization", "SimplifiedLayerNormalization")
@lowering("RMSNormalization", "SimplifiedLayerNormalization", domain=MICROSOFT)
def rms_norm(context: Context, node: Node) -> Value:
    """Root-mean-square norm."""
    return normalised(context, node[0], node.integer("axis", -1), (node.get(1),), "rms")


@lowering("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_norm(context: Context, node: Node) -> list[Value]:
    """Sum of the input, the residual and a bias; its norm; the sum is the last output."""
    simple = node.op.startswith("SkipSimplified")
    total = context.pointwise("add", node[0], node[1])
    bias = node.get(3 if simple else 4)
    if bias is not None:
        total = context.pointwise("add", total, bias)
    affine = (node[2],) if simple else (node[2], node.get(3))
    out = normalised(context, total, -1, affine, "rms" if simple else "layer")
    return [out, out, out, total][: max(node.outputs, 1)]


@lowering("GroupNormalization")
@lowering("InstanceNormalization")
@lowering("GroupNorm", domain=MICROSOFT)
def group_norm(context: Context, node: Node) -> Value:
    """Group norm, and instance norm with a group for each channel."""
    x, scale, shift = node[0], node[1], node[2]
    nhwc = node.domain == MICROSOFT and node.integer("channels_last", 1)
    x = context.transposed(x, (0, x.rank - 1, *range(1, x.rank - 1))) if nhwc else x
    if x.rank < 2:
        raise ShapeError(f"a norm of shape {x.shape!r}; allowed: (N, C, ...)")
    order = channels_last(x.rank)
    parts = [v for v in (scale, shift) if v.elements == x.shape[1]]
    tensors = [context.read(context.reshaped(v, (v.elements,)), role="parameter" if v.known else None) for v in parts]
    out = context.value(context.add(ops.Norm, context.read(x, order), *tensors, form="group"), order)
    if len(parts) < 2:  # one scale and shift for each group, in operator set 18
        out = context.pointwise("add", context.pointwise("scale", out))
    if node.domain == MICROSOFT and node.integer("activation", 0):
        out = context.pointwise("swish", out)
    return context.transposed(out, (0, *range(2, x.rank), 1)) if nhwc else out


@lowering("LpNormalization", "MeanVarianceNormalization")
def plain_norm(context: Context, node: Node) -> Value:
    """A norm without scale and shift."""
    x = node[0]
    axes = node.integers("axes", (0, 2, 3)) if node.op.startswith("Mean") else (node.integer("axis", -1),)
    order = last(x.rank, axis_of(axes[-1], x.rank))
    return context.value(context.add(ops.Norm, context.read(x, order)), order)


@lowering("Softmax", "LogSoftmax", "Hardmax")
def softmax(context: Context, node: Node) -> Value:
    """Softmax over an axis; before operator set 13 over all axes from it on."""
    x = node[0]
    if node.version >= 13:
        order = last(x.rank, axis_of(node.integer("axis", -1), x.rank))
        return context.value(context.add(ops.Softmax, context.read(x, order)), order)
    axis = axis_of(node.integer("axis", 1), x.rank) if x.rank > 1 else 0
    inner = 1
    for size in x.shape[axis:]:
        inner *= size
    flat = context.reshaped(x, (x.elements // inner, inner))
    return context.reshaped(context.value(context.add(ops.Softmax, context.read(flat))), x.shape)


#: operator -> (function before, reduction, function after)
REDUCTIONS: dict[str, tuple[str, Literal["mean", "sum", "max"], str]] = {
    "ReduceMean": ("", "mean", ""), "ReduceSum": ("", "sum", ""), "ReduceMax": ("", "max", ""),
    "ReduceMin": ("", "max", ""), "ReduceProd": ("", "sum", ""), "ReduceL1": ("abs", "sum", ""),
    "ReduceL2": ("square", "sum", "sqrt"), "ReduceSumSquare": ("square", "sum", ""),
    "ReduceLogSum": ("", "sum", "log"), "ReduceLogSumExp": ("exp", "sum", "log"),
}  # fmt: skip


@lowering(*REDUCTIONS)
def reduction(context: Context, node: Node) -> Value:
    """Reduce over some axes; over all where none are named."""
    x = node[0]
    axes = node.list_or("axes", 1) or ()
    if not axes and node.integer("noop_with_empty_axes", 0):
        return x
    before, function, after = REDUCTIONS[node.op]
    x = context.pointwise(before, x) if before else x
    out = reduced(context, x, axes or identity(x.rank), function, keep=bool(node.integer("keepdims", 1)))
    return context.pointwise(after, out) if after else out


def reduced(
    context: Context, x: Value, axes: tuple[int, ...], function: Literal["mean", "sum", "max"], *, keep: bool
) -> Value:
    """Reduce over `axes`, wherever they are stored."""
    found = {axis_of(axis, x.rank) for axis in axes}
    order = x.order or identity(x.rank)
    if not found:
        return x
    places = tuple(i for i, axis in enumerate(order) if axis in found)
    tensor = context.read(x, order)
    out = context.add(ops.Reduce, tensor, axes=places, function=function, keep=keep)
    if keep:
        return context.value(out, order)
    left = [axis for axis in range(x.rank) if axis not in found]
    return context.value(out, tuple(left.index(axis) for axis in order if axis not in found))


@lowering("ArgMax", "ArgMin")
def arg(context: Context, node: Node) -> Value:
    """Find the place of the largest or smallest element: a reduction."""
    x = node[0]
    out = reduced(context, x, (node.integer("axis", 0),), "max", keep=bool(node.integer("keepdims", 1)))
    tensor = out.tensor
    if tensor is None:
        raise ShapeError("a reduction of a constant")
    context.tensors[tensor.id] = made = tensor.cast(DTYPES["int64"])
    return context.value(made, out.order)
