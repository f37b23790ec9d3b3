"""Copies: the kernels that only move bytes."""

from __future__ import annotations

from math import prod
from typing import Any

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import lowering
from roofline.frontends.torch.values import Dims, Value
from roofline.frontends.torch.writer import Lowering, dtype_of
from roofline.graph import indexing, movement, ops, resampling


def copied_order(v: Value) -> Dims:
    """Return the order in which a copy of `v` is stored: torch's own, images with channels last."""
    order = views.settled(v).stored
    r = v.rank
    if r >= 4 and order[:3] == (0, r - 2, r - 1):
        return (0, r - 2, r - 1, *range(1, r - 2))
    return tuple(range(r))


def copy(t: Lowering, v: Value, out: Any, function: str = "copy") -> Value:
    """Copy `v`, whatever its strides."""
    order = copied_order(v)
    shown = t.tensor(v)
    side_by_side = views.shared_run(views.settled(v).stored, order, v.shape)
    return t.emit(movement.Move, [shown], out, order=order, function=function, side_by_side=side_by_side)


def in_one_piece(t: Lowering, v: Value, out: Any) -> Value:
    """Return an operand as convolutions and pools take it: a part of another tensor is copied first."""
    return _contiguous(t, v, out, views.settled(v).stored) if views.cut(v) else v


def in_rows(t: Lowering, v: Value, out: Any, dim: int) -> Value:
    """Return an operand as kernels that work along rows take it: where `dim` is not the last in memory, a copy."""
    axes = views.significant(views.settled(v).stored, v.shape)
    if v.node.leaf or dim not in axes or axes[-1] == dim:
        return v
    return _contiguous(t, v, out, (*(d for d in range(v.rank) if d != dim), dim))


def _contiguous(t: Lowering, v: Value, out: Any, order: Dims) -> Value:
    run = v.shape[order[-1]] if order == v.stored else views.shared_run(v.stored, order, v.shape)
    return t.emit(
        movement.Move, [t.tensor(v)], out, order=order, torch_shape=v.shape, name="contiguous", function="contiguous",
        side_by_side=run,
    )  # fmt: skip


@lowering("aten.clone", "aten.contiguous")
def _clone(t: Lowering, a: Any, out: Any) -> Value:
    return copy(t, a.input, out)


@lowering("aten._to_copy", "aten.to")
def _to_copy(t: Lowering, a: Any, out: Any) -> Value:
    if dtype_of(out) is a.input.dtype:
        return a.input if a.get("memory_format") is None else copy(t, a.input, out)
    order = views.settled(a.input).stored
    return t.emit(ops.Cast, [t.tensor(a.input)], out, order=order, name="to")


@lowering("aten.copy")
def copy_(t: Lowering, a: Any, out: Any) -> Any:
    """Into a part of a tensor: the update that follows is the kernel. Into a whole one: a copy."""
    if not isinstance(a.src, Value):
        return t.emit(indexing.Fill, [], out, function="full")
    src = views.expand(a.src, tuple(out.shape))
    if t.partial:
        return src
    if src.dtype is not dtype_of(out):
        return t.emit(ops.Cast, [t.tensor(src)], out, order=views.settled(src).stored)
    return copy(t, src, out)


@lowering("aten.cat", "aten.concat", "aten.concatenate")
def _cat(t: Lowering, a: Any, out: Any) -> Value:
    parts = [v for v in a.tensors if v.elements]
    if len(parts) == 1:
        return copy(t, parts[0], out)
    return _concat(t, parts, a.dim, out)


def _concat(t: Lowering, parts: list[Value], dim: int, out: Any) -> Value:
    main = next((v for v in parts if not v.node.leaf), parts[0])
    order = views.settled(main).stored
    axis = order.index(dim % out.dim())
    return t.emit(movement.Concat, [t.tensor(v, order) for v in parts], out, order=order, axis=axis)


@lowering("aten.stack")
def _stack(t: Lowering, a: Any, out: Any) -> Value:
    dim = a.dim % out.dim()
    shape = (*out.shape[:dim], 1, *out.shape[dim + 1 :])
    parts = [views.reshape(v, shape) for v in a.tensors]
    return copy(t, parts[0], out) if len(parts) == 1 else _concat(t, parts, dim, out)


@lowering("aten.split_copy", "aten.split_with_sizes_copy", "aten.unbind_copy")
def _split_copy(t: Lowering, a: Any, out: Any) -> list[Value]:
    if "split_sizes" not in a and "split_size" not in a:
        parts = [views.select(a.input, a.dim, i) for i in range(len(out))]
    else:
        parts, start = [], 0
        for x in out:
            parts.append(views.part(a.input, a.dim, start, x.shape[a.dim]))
            start += x.shape[a.dim]
    return [copy(t, v, x) for v, x in zip(parts, out, strict=True)]


@lowering("aten.repeat", "aten.tile")
def repeat(t: Lowering, a: Any, out: Any) -> Value:
    """Every dimension d becomes (times, d), expanded and copied."""
    v = views.reshape(a.input, (1,) * (out.dim() - a.input.rank) + a.input.shape)
    split = tuple(size for d in v.shape for size in (1, d))
    times = tuple(size for d, o in zip(v.shape, out.shape, strict=True) for size in (o // d, d))
    v = views.expand(views.reshape(v, split), times)
    made = t.emit(movement.Move, [t.tensor(v, range(v.rank))], out, torch_shape=times, function="repeat")
    return views.reshape(made, tuple(out.shape))


@lowering("aten.roll", "aten.flip", "aten.rot90", "aten.fliplr")
def _roll(t: Lowering, a: Any, out: Any) -> Value:
    if out.shape != a.input.shape:
        return t.emit(movement.Move, [t.tensor(a.input)], out, function=t.op_name)
    moved = views.settled(a.input)
    for dim in a.get("dims") or (0,):  # a kernel for each
        behind = moved.stored[moved.stored.index(dim % moved.rank) + 1 :]
        run = prod(moved.shape[d] for d in behind)
        moved = t.emit(movement.Move, [t.tensor(moved)], out, order=moved.stored, function=t.op_name, side_by_side=run)
    return moved


@lowering("aten.pixel_shuffle", "aten.pixel_unshuffle", "aten.channel_shuffle", "aten.native_channel_shuffle")
def _shuffle(t: Lowering, a: Any, out: Any) -> Value:
    r = out.dim()
    order = (*range(r - 3), r - 2, r - 1, r - 3)
    return t.emit(movement.Move, [t.tensor(a.input, order)], out, order=order, function=t.op_name)


@lowering("aten.constant_pad_nd", "aten.reflection_pad1d", "aten.reflection_pad2d", "aten.reflection_pad3d",
          "aten.replication_pad1d", "aten.replication_pad2d", "aten.replication_pad3d", "aten._pad_circular",
          "aten._pad_enum")  # fmt: skip
def _pad(t: Lowering, a: Any, out: Any) -> Value:
    pads = a.get("pad") or a["padding"]
    order = views.settled(a.input).stored
    before, after = [0] * out.dim(), [0] * out.dim()
    for i in range(len(pads) // 2):
        before[-1 - i], after[-1 - i] = pads[2 * i], pads[2 * i + 1]
    return t.emit(
        resampling.Pad, [t.tensor(a.input)], out, order=order, name="pad",
        before=tuple(before[d] for d in order), after=tuple(after[d] for d in order),
    )  # fmt: skip


@lowering("aten.tril", "aten.triu")
def _triangle(t: Lowering, a: Any, out: Any) -> Value:
    return t.pointwise("select", out, a.input)


@lowering("aten.repeat_interleave.Tensor")
def _repeat_interleave(t: Lowering, a: Any, out: Any) -> Value:
    inputs = [t.tensor(v) for v in (a.get("self"), a.repeats) if isinstance(v, Value)]
    return t.emit(indexing.Gather, inputs, out)


@lowering("aten.unfold_copy", "aten.as_strided_copy", "aten.im2col")
def _windows_copied(t: Lowering, a: Any, out: Any) -> Value:
    return t.emit(indexing.Gather, [t.tensor(a.input)], out, name="unfold")


@lowering("aten.col2im")
def fold(t: Lowering, a: Any, out: Any) -> Value:
    """Zeros, and every window's elements added to them."""
    zeros = t.emit(indexing.Fill, [], out, function="zeros", name="zeros")
    rows = tuple(a.input.shape)
    assert prod(rows) == a.input.elements
    return t.emit(indexing.Update, [t.tensor(zeros), t.tensor(a.input)], out, name="fold", accumulate=True)
