"""Operators that move or view data: reshape, transpose, slice, split, concat, pad."""

from __future__ import annotations

import math

import numpy as np

from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import Node, lowering, numbers
from roofline.frontends.onnx.values import Value, check_shape, known
from roofline.frontends.onnx.views import axis_of, identity, reshape_target, stored
from roofline.frontends.onnx.writer import Writer
from roofline.graph import movement, resampling
from roofline.graph.views import channels_last


@lowering("Reshape")
def reshape(w: Writer, node: Node) -> Value:
    """View the same elements in another shape; a copy where their order in memory does not allow it."""
    x = node[0]
    target = node.list_or("shape", 1) or ()
    return w.reshaped(x, reshape_target(x.shape, target, zero_is_zero=bool(node.integer("allowzero", 0))))


@lowering("Flatten")
def flatten(w: Writer, node: Node) -> Value:
    """View as a matrix."""
    x = node[0]
    axis = node.integer("axis", 1)
    axis = x.rank if axis == x.rank else axis_of(axis, x.rank)
    return w.reshaped(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@lowering("Squeeze")
def squeeze(w: Writer, node: Node) -> Value:
    """Drop axes of size 1."""
    x = node[0]
    axes = node.list_or("axes", 1)
    chosen = [i for i, d in enumerate(x.shape) if d == 1] if axes is None else [axis_of(a, x.rank) for a in axes]
    if any(x.shape[a] != 1 for a in chosen):
        raise ShapeError(f"axes {chosen!r} of {x.shape!r} are not all of size 1")
    return w.reshaped(x, tuple(d for i, d in enumerate(x.shape) if i not in chosen))


@lowering("Unsqueeze")
def unsqueeze(w: Writer, node: Node) -> Value:
    """Add axes of size 1."""
    x = node[0]
    axes = node.list_or("axes", 1) or ()
    rank = x.rank + len(axes)
    chosen = {axis_of(a, rank) for a in axes}
    if len(chosen) != len(axes):
        raise ShapeError(f"axes {axes!r} are not distinct")
    rest = iter(x.shape)
    return w.reshaped(x, tuple(1 if i in chosen else next(rest) for i in range(rank)))


@lowering("Transpose")
def transpose(w: Writer, node: Node) -> Value:
    """Permute the axes: the bytes stay, readers find them with strides."""
    x = node[0]
    axes = node.integers("perm", tuple(reversed(range(x.rank))))
    if sorted(axes) != list(range(x.rank)):
        raise ShapeError(f"perm {axes!r} is no permutation of {x.rank} axes")
    return w.transposed(x, axes)


@lowering("Expand")
def expand(w: Writer, node: Node) -> Value:
    """Repeat axes of size 1, as a view."""
    return w.expanded(node[0], tuple(map(int, numbers(node[1], "the shape"))))


@lowering("Tile")
def tile(w: Writer, node: Node) -> Value:
    """Repeat along every axis, as a copy."""
    x = node[0]
    repeats = [int(r) for r in numbers(node[1], "the repeats")]
    if len(repeats) != x.rank or min(repeats, default=1) < 1:
        raise ShapeError(f"repeats {repeats!r} do not fit shape {x.shape!r}")
    for axis, count in enumerate(repeats):
        if count > 1:
            x = _repeated(w, x, axis, count)
    return x


def _repeated(w: Writer, x: Value, axis: int, count: int) -> Value:
    apart = w.reshaped(x, (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
    wide = w.expanded(apart, (*x.shape[: axis + 1], count, *x.shape[axis + 1 :]))
    moved = w.transposed(wide, (*range(axis), axis + 1, axis, *range(axis + 2, wide.rank)))
    return w.reshaped(w.copied(moved), (*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :]))


def part(w: Writer, x: Value, axis: int, start: int, size: int, step: int = 1) -> Value:
    """View `size` elements along an axis."""
    if x.data is not None:
        stop = start + size * step
        index = [slice(None)] * x.rank
        index[axis] = slice(start, stop if stop >= 0 else None, step)
        return known(x.data[tuple(index)], x.dtype, w.unique(w.place))
    if size == x.shape[axis] and step > 0:
        return x
    order = x.order or identity(x.rank)
    if size == x.shape[axis]:
        shape = stored(x.shape, order)
        return w.value(w.add(movement.Move, w.read(x, order), function="flip", shape=shape), order)
    begin = min(start, start + (size - 1) * step)
    place = order.index(axis)
    begin = min(begin, x.shape[axis] - size)
    if x.quantized is not None:
        inner = part(w, x.quantized, axis, start, size, step)
        return Value(shape=inner.shape, dtype=x.dtype, quantized=inner)
    check_shape((size,), "slice")
    return w.value(w.add(movement.Part, w.read(x, order), axis=place, size=size, start=begin), order)


@lowering("Slice")
def slice_(w: Writer, node: Node) -> Value:
    """View a range of every named axis."""
    x = node[0]
    starts, ends = node.list_or("starts", 1) or (), node.list_or("ends", 2) or ()
    axes, steps = node.list_or("axes", 3) or identity(len(starts)), node.list_or("steps", 4) or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ShapeError(f"starts {starts!r}, ends {ends!r}, axes {axes!r}, steps {steps!r} do not fit each other")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis_of(axis, x.rank)
        taken = range(*slice(start, None if step < 0 and end < -x.shape[axis] else end, step).indices(x.shape[axis]))
        x = part(w, x, axis, taken.start, len(taken), step)
    return x


@lowering("Split")
def split(w: Writer, node: Node) -> list[Value]:
    """View consecutive parts along an axis."""
    x = node[0]
    axis = axis_of(node.integer("axis", 0), x.rank)
    sizes = node.list_or("split", 1)
    if sizes is None:
        each = -(-x.shape[axis] // max(node.outputs, 1))
        sizes = tuple(max(0, min(each, x.shape[axis] - i * each)) for i in range(node.outputs))
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        raise ShapeError(f"parts of {sizes!r} do not make up {x.shape[axis]}")
    starts = np.cumsum((0, *sizes))
    return [part(w, x, axis, int(start), size) for start, size in zip(starts, sizes, strict=False)]


@lowering("Concat")
def concat(w: Writer, node: Node) -> Value:
    """Copy the operands behind each other."""
    return concatenated(w, list(node.given), node.integer("axis"))


def concatenated(w: Writer, parts: list[Value], axis: int) -> Value:
    """Copy `parts` behind each other along an axis; empty ones are left out."""
    parts = [v for v in parts if v.elements] or parts[:1]
    if len(parts) == 1:
        return parts[0]
    axis = axis_of(axis, parts[0].rank)
    if len({v.rank for v in parts}) > 1:
        raise ShapeError(f"shapes {', '.join(str(v.shape) for v in parts)} do not concatenate")
    order = next((v.order for v in parts if v.order), identity(parts[0].rank))
    integers = [v.quantized for v in parts if v.quantized is not None]
    if len(integers) == len(parts):
        inner = concatenated(w, integers, axis)
        return Value(shape=inner.shape, dtype=parts[0].dtype, quantized=inner)
    tensors = [w.read(v, order) for v in parts]
    dtype = next((v.dtype for v in parts if not v.known), parts[0].dtype)
    return w.value(w.add(movement.Concat, *tensors, axis=order.index(axis), dtype=dtype), order)


@lowering("Pad")
def pad(w: Writer, node: Node) -> Value:
    """Copy with a border."""
    x = node[0]
    pads = node.list_or("pads", 1) or ()
    given = node.get(3)
    axes = identity(x.rank) if given is None else [axis_of(int(a), x.rank) for a in numbers(given, "the axes")]
    if len(pads) != 2 * len(axes):
        raise ShapeError(f"{len(pads)} pads for {len(axes)} axes")
    before, after = dict.fromkeys(range(x.rank), 0), dict.fromkeys(range(x.rank), 0)
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[len(axes) + i]
    if not any(pads):
        return x
    order = x.order or identity(x.rank)
    first, second = (tuple(side[a] for a in order) for side in (before, after))
    return w.value(w.add(resampling.Pad, w.read(x, order), before=first, after=second), order)


@lowering("DepthToSpace", "SpaceToDepth")
def regrid(w: Writer, node: Node) -> Value:
    """Move blocks of pixels into channels, or back: one copy."""
    x, block = node[0], node.integer("blocksize")
    if x.rank != 4 or block < 1:
        raise ShapeError(f"blocks of {block} in shape {x.shape!r}; allowed: (N, C, H, W)")
    n, c, height, width = x.shape
    deep = node.op == "SpaceToDepth"
    if (deep and (height % block or width % block)) or (not deep and c % block**2):
        raise ShapeError(f"blocks of {block} do not divide {x.shape!r}")
    shape = (
        (n, c * block**2, height // block, width // block)
        if deep
        else (n, c // block**2, height * block, width * block)
    )
    order = channels_last(4)
    name = "space_to_depth" if deep else "depth_to_space"
    return w.value(w.add(movement.Move, w.read(x, order), function=name, shape=stored(shape, order)), order)


@lowering("Trilu", "ReverseSequence")
def masked(w: Writer, node: Node) -> Value:
    """Copy with some elements zeroed or turned around."""
    return w.pointwise("select", node[0])
