"""Copies: the kernels that only move bytes."""

from __future__ import annotations

from math import prod
from typing import Any

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import RULES, aten
from roofline.frontends.torch.rules.index import accumulated
from roofline.frontends.torch.values import Dims, Value
from roofline.frontends.torch.writer import Writer, dtype_of
from roofline.graph import indexing, movement, ops, resampling
from roofline.graph.views import significant


def copied_order(v: Value) -> Dims:
    """Return the order in which a copy of `v` is stored: torch's own, images with channels last."""
    order = views.settled(v).stored
    r = v.rank
    if r >= 4 and order[:3] == (0, r - 2, r - 1):
        return (0, r - 2, r - 1, *range(1, r - 2))
    return tuple(range(r))


def copy(w: Writer, v: Value, out: Any, function: str = "copy") -> Value:
    """Copy `v`, whatever its strides."""
    order = copied_order(v)
    shown = w.tensor(v)
    side_by_side = views.shared_run(views.settled(v).stored, order, v.shape)
    return w.emit(movement.Move, [shown], out, order=order, function=function, side_by_side=side_by_side)


def in_one_piece(w: Writer, v: Value, out: Any) -> Value:
    """Return an operand as convolutions and pools take it: a part of another tensor is copied first."""
    return _contiguous(w, v, out, views.settled(v).stored) if views.cut(v) else v


def in_rows(w: Writer, v: Value, out: Any, dim: int) -> Value:
    """Return an operand as kernels that work along rows take it: where `dim` is not the last in memory, a copy."""
    axes = significant(views.settled(v).stored, v.shape)
    if v.node.leaf or dim not in axes or axes[-1] == dim:
        return v
    return _contiguous(w, v, out, (*(d for d in range(v.rank) if d != dim), dim))


def _contiguous(w: Writer, v: Value, out: Any, order: Dims) -> Value:
    run = v.shape[order[-1]] if order == v.stored else views.shared_run(v.stored, order, v.shape)
    return w.emit(
        movement.Move,
        [w.tensor(v)],
        out,
        order=order,
        torch_shape=v.shape,
        name="contiguous",
        function="contiguous",
        side_by_side=run,
    )


@aten("clone contiguous")
def _clone(w: Writer, a: Any, out: Any) -> Value:
    return copy(w, a.input, out)


@aten("_to_copy to")
def _to_copy(w: Writer, a: Any, out: Any) -> Value:
    if dtype_of(out) is a.input.dtype:
        return a.input if a.get("memory_format") is None else copy(w, a.input, out)
    order = views.settled(a.input).stored
    return w.emit(ops.Cast, [w.tensor(a.input)], out, order=order, name="to")


@aten("copy")
def copy_(w: Writer, a: Any, out: Any) -> Any:
    """Into a part of a tensor: the update that follows is the kernel. Into a whole one: a copy."""
    if not isinstance(a.src, Value):
        return w.emit(indexing.Fill, [], out, function="full")
    src = views.expand(a.src, tuple(out.shape))
    if w.partial:
        return src
    if src.dtype is not dtype_of(out):
        return w.emit(ops.Cast, [w.tensor(src)], out, order=views.settled(src).stored)
    return copy(w, src, out)


@aten("cat concat concatenate")
def _cat(w: Writer, a: Any, out: Any) -> Value:
    parts = [v for v in a.tensors if v.elements]
    if len(parts) == 1:
        return copy(w, parts[0], out)
    return _concat(w, parts, a.dim, out)


def _concat(w: Writer, parts: list[Value], dim: int, out: Any) -> Value:
    main = next((v for v in parts if not v.node.leaf), parts[0])
    order = views.settled(main).stored
    axis = order.index(dim % out.dim())
    return w.emit(movement.Concat, [w.tensor(v, order) for v in parts], out, order=order, axis=axis)


@aten("stack")
def _stack(w: Writer, a: Any, out: Any) -> Value:
    dim = a.dim % out.dim()
    shape = (*out.shape[:dim], 1, *out.shape[dim + 1 :])
    parts = [views.reshape(v, shape) for v in a.tensors]
    return copy(w, parts[0], out) if len(parts) == 1 else _concat(w, parts, dim, out)


@aten(
    "alias_copy detach_copy diagonal_copy expand_copy narrow_copy permute_copy select_copy slice_copy squeeze_copy "
    "t_copy transpose_copy unsqueeze_copy view_copy"
)
def viewed_copy(w: Writer, a: Any, out: Any) -> Value:
    """A copy of a view."""
    return copy(w, RULES[f"aten.{w.op_name.removesuffix('_copy')}"](w, a, out), out)


@aten("diag_embed")
def diagonal(w: Writer, a: Any, out: Any) -> Value:
    """Zeros, and the elements put on the diagonal."""
    return accumulated(w, a.input, out, [], adds=False)


@aten("block_diag")
def block_diagonal(w: Writer, a: Any, out: Any) -> Value:
    """Zeros, and a copy of each block."""
    made = w.emit(indexing.Fill, [], out, function="zeros", name="zeros")
    for block in a.tensors:
        made = w.emit(indexing.Update, [w.tensor(made), w.tensor(block)], out, name="block_diag")
    return made


@aten("split_copy split_with_sizes_copy unbind_copy")
def _split_copy(w: Writer, a: Any, out: Any) -> list[Value]:
    if "split_sizes" not in a and "split_size" not in a:
        parts = [views.select(a.input, a.dim, i) for i in range(len(out))]
    else:
        parts, start = [], 0
        for x in out:
            parts.append(views.part(a.input, a.dim, start, x.shape[a.dim]))
            start += x.shape[a.dim]
    return [copy(w, v, x) for v, x in zip(parts, out, strict=True)]


@aten("repeat tile")
def repeat(w: Writer, a: Any, out: Any) -> Value:
    """Every dimension d becomes (times, d), expanded and copied."""
    v = views.reshape(a.input, (1,) * (out.dim() - a.input.rank) + a.input.shape)
    split = tuple(size for d in v.shape for size in (1, d))
    times = tuple(size for d, o in zip(v.shape, out.shape, strict=True) for size in (o // d, d))
    v = views.expand(views.reshape(v, split), times)
    made = w.emit(movement.Move, [w.tensor(v, range(v.rank))], out, torch_shape=times, function="repeat")
    return views.reshape(made, tuple(out.shape))


@aten("roll flip rot90 fliplr")
def _roll(w: Writer, a: Any, out: Any) -> Value:
    if out.shape != a.input.shape:
        return w.emit(movement.Move, [w.tensor(a.input)], out, function=w.op_name)
    moved = views.settled(a.input)
    for dim in a.get("dims") or (0,):  # a kernel for each
        behind = moved.stored[moved.stored.index(dim % moved.rank) + 1 :]
        run = prod(moved.shape[d] for d in behind)
        moved = w.emit(movement.Move, [w.tensor(moved)], out, order=moved.stored, function=w.op_name, side_by_side=run)
    return moved


@aten("pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle")
def _shuffle(w: Writer, a: Any, out: Any) -> Value:
    r = out.dim()
    order = (*range(r - 3), r - 2, r - 1, r - 3)
    return w.emit(movement.Move, [w.tensor(a.input, order)], out, order=order, function=w.op_name)


@aten(
    "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
    "replication_pad3d _pad_circular _pad_enum"
)
def _pad(w: Writer, a: Any, out: Any) -> Value:
    pads = a.get("pad") or a["padding"]
    order = views.settled(a.input).stored
    before, after = [0] * out.dim(), [0] * out.dim()
    for i in range(len(pads) // 2):
        before[-1 - i], after[-1 - i] = pads[2 * i], pads[2 * i + 1]
    return w.emit(
        resampling.Pad,
        [w.tensor(a.input)],
        out,
        order=order,
        name="pad",
        before=tuple(before[d] for d in order),
        after=tuple(after[d] for d in order),
    )


@aten("tril triu")
def _triangle(w: Writer, a: Any, out: Any) -> Value:
    return w.pointwise("select", out, a.input)


@aten("repeat_interleave.Tensor")
def _repeat_interleave(w: Writer, a: Any, out: Any) -> Value:
    inputs = [w.tensor(v) for v in (a.get("self"), a.repeats) if isinstance(v, Value)]
    return w.emit(indexing.Gather, inputs, out)


@aten("unfold_copy as_strided_copy im2col")
def _windows_copied(w: Writer, a: Any, out: Any) -> Value:
    return w.emit(indexing.Gather, [w.tensor(a.input)], out, name="unfold")


@aten("col2im")
def fold(w: Writer, a: Any, out: Any) -> Value:
    """Zeros, and every window's elements added to them."""
    return accumulated(w, a.input, out, [], name="fold")
