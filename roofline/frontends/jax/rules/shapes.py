"""Primitives that move or view: axes are renamed where memory allows it, copied where the program's order is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from roofline.dtypes import DType
from roofline.frontends.jax.registry import lowering
from roofline.frontends.jax.values import Constant, Operand, Value, dtype_of, result_of
from roofline.frontends.jax.writer import Writer
from roofline.graph.movement import Concat, Expand, Move, Part
from roofline.graph.resampling import Pad
from roofline.graph.tensor import Tensor
from roofline.graph.views import carried, significant


@lowering("transpose")
def transpose(w: Writer, equation: Any, x: Operand) -> Operand:
    """Rename the axes; whoever needs them in order copies."""
    permutation = tuple(int(p) for p in equation.params["permutation"])
    if isinstance(x, Value):
        return x.transposed(permutation)
    core = tuple(x.core[p] for p in permutation) if len(x.core) == len(permutation) else x.core
    return replace(x, shape=tuple(x.shape[p] for p in permutation), core=core)


@lowering("broadcast_in_dim")
def broadcast(w: Writer, equation: Any, x: Operand, *dynamic: Operand) -> Operand:
    """Repeat along new axes: memory stays as it is."""
    shape = tuple(int(d) for d in equation.params["shape"])
    places = [int(d) for d in equation.params["broadcast_dimensions"]]
    if isinstance(x, Constant):
        core = [1] * len(shape)
        for i, place in enumerate(places):
            core[place] = x.core[i] if i < len(x.core) else 1
        return replace(x, shape=shape, core=() if x.uniform else tuple(core))
    axes: list[int | None] = [None] * len(shape)
    for i, place in enumerate(places):
        axes[place] = x.axes[i] if x.shape[i] == shape[place] else None
    return Value(tensor=x.tensor, shape=shape, axes=tuple(axes))


@lowering("squeeze")
def squeeze(w: Writer, equation: Any, x: Operand) -> Operand:
    """Drop axes of size 1."""
    return reshaped(w, x, tuple(equation.outvars[0].aval.shape))


@lowering("reshape")
def reshape(w: Writer, equation: Any, x: Operand, *dynamic: Operand) -> Operand:
    """View the elements in another shape."""
    return reshaped(w, x, tuple(equation.outvars[0].aval.shape))


def reshaped(w: Writer, x: Operand, shape: tuple[int, ...]) -> Operand:
    """Return an operand in another shape: a view where the axes that merge or split lie together in memory."""
    if isinstance(x, Constant):
        same_order = [d for d in x.shape if d != 1] == [d for d in shape if d != 1]
        if x.uniform or not same_order or len(x.core) != len(x.shape):
            return replace(x, shape=shape, core=() if x.uniform else shape)
        kept = iter([c for c, d in zip(x.core, x.shape, strict=True) if d != 1])
        return replace(x, shape=shape, core=tuple(next(kept) if d != 1 else 1 for d in shape))
    if 0 in x.shape:
        return Value.plain(w.reshape(x.tensor, shape))
    old, new = (significant(range(len(sizes)), sizes) for sizes in (x.shape, shape))
    if [x.shape[i] for i in old] == [shape[i] for i in new]:  # only axes of size 1 come or go
        axes: list[int | None] = [None] * len(shape)
        for i, j in zip(old, new, strict=True):
            axes[j] = x.axes[i]
        return Value(tensor=x.tensor, shape=shape, axes=tuple(axes))
    order = None if x.repeated else carried(x.shape, x.order, shape)
    if order is None:
        return Value.plain(w.reshape(w.canonical(x), shape))
    if order == sorted(order):
        return Value.plain(w.reshape(x.tensor, shape))
    order = [*(i for i in range(len(shape)) if i not in order), *order]
    return _seen(w.reshape(x.tensor, [shape[i] for i in order]), shape, order)


@lowering("slice")
def slice_rule(w: Writer, equation: Any, x: Operand) -> Operand:
    """View a part: compilers read it where it lies."""
    return part(w, x, tuple(equation.outvars[0].aval.shape), tuple(equation.params["start_indices"]))


@lowering("dynamic_slice")
def dynamic_slice(w: Writer, equation: Any, x: Operand, *starts: Operand) -> Operand:
    """View a part whose start is known when it runs."""
    return part(w, x, tuple(equation.outvars[0].aval.shape), (0,) * len(x.shape))


def part(w: Writer, x: Operand, shape: tuple[int, ...], starts: tuple[int, ...]) -> Operand:
    """Return a view of `shape` from `starts` on."""
    if isinstance(x, Constant):
        core = tuple(min(c, d) for c, d in zip(x.core, shape, strict=True)) if len(x.core) == len(shape) else shape
        return replace(x, shape=shape, core=() if x.uniform else core)
    tensor = x.tensor
    for i, axis in enumerate(x.axes):
        if shape[i] != x.shape[i] and axis is not None:
            tensor = w.emit("part", Part, tensor, axis=axis, size=shape[i], start=int(starts[i]))
    return Value(tensor=tensor, shape=shape, axes=x.axes)


@lowering("concatenate")
def concatenate(w: Writer, equation: Any, *parts: Operand) -> Operand:
    """Copy arrays behind each other, in the memory order of the largest."""
    shape, dtype = result_of(equation)
    return _joined(w, list(parts), shape, int(equation.params["dimension"]), dtype)


def _joined(w: Writer, parts: list[Operand], shape: tuple[int, ...], axis: int, dtype: DType) -> Operand:
    if all(isinstance(p, Constant) for p in parts):
        return Constant(shape=shape, dtype=dtype, core=shape)
    order = _order_of([p for p in parts if isinstance(p, Value)])
    tensors = [ordered(w, p, order) for p in parts if 0 not in p.shape]
    if len(tensors) == 1:
        return _seen(tensors[0], shape, order)
    return _seen(w.emit("concat", Concat, *tensors, axis=order.index(axis)), shape, order)


def _order_of(values: list[Value]) -> list[int]:
    """Return all logical axes as the largest value has them in memory."""
    largest = max(values, key=lambda v: (not v.tensor.stored, prod(v.shape)))
    return list(largest.memory)


def ordered(w: Writer, operand: Operand, order: Sequence[int]) -> Tensor:
    """Return an operand with all its logical axes in `order`; copied where memory has another."""
    if isinstance(operand, Constant):
        return w.fill(operand, [operand.shape[i] for i in order])
    return w.ordered(operand, order)


def _seen(tensor: Tensor, shape: tuple[int, ...], order: Sequence[int]) -> Value:
    return Value(tensor=tensor, shape=shape, axes=tuple(order.index(i) for i in range(len(shape))))


@lowering("stack")
def stack(w: Writer, equation: Any, *parts: Operand) -> Operand:
    """Copy arrays behind each other, along a new axis."""
    axis, shape = int(equation.params["axis"]), tuple(equation.outvars[0].aval.shape)
    inner = tuple(1 if i == axis else d for i, d in enumerate(shape))
    return _joined(w, [reshaped(w, p, inner) for p in parts], shape, axis, dtype_of(equation.outvars[0].aval))


@lowering("unstack")
def unstack(w: Writer, equation: Any, x: Operand) -> list[Operand]:
    """View the slices along an axis."""
    axis = int(equation.params["axis"])
    size = tuple(1 if i == axis else d for i, d in enumerate(x.shape))
    starts = [tuple(n if i == axis else 0 for i in range(len(size))) for n in range(x.shape[axis])]
    views = (part(w, x, size, start) for start in starts)
    return [reshaped(w, v, (*size[:axis], *size[axis + 1 :])) for v in views]


@lowering("tile")
def tile(w: Writer, equation: Any, x: Operand) -> Operand:
    """Repeat the whole array along its axes."""
    shape = tuple(equation.outvars[0].aval.shape)
    if isinstance(x, Constant):
        return replace(x, shape=shape, core=() if x.uniform else shape)
    if all(d == 1 or d == s for d, s in zip(x.shape, shape, strict=True)):
        axes = tuple(a if d == s else None for a, d, s in zip(x.axes, x.shape, shape, strict=True))
        return Value(tensor=x.tensor, shape=shape, axes=axes)
    apart = tuple(n for d, s in zip(x.shape, shape, strict=True) for n in (s // d, d))
    small = w.reshape(w.canonical(x), [n if i % 2 else 1 for i, n in enumerate(apart)])
    return Value.plain(w.reshape(w.emit("expand", Expand, small, shape=apart), shape))


@lowering("pad")
def pad(w: Writer, equation: Any, x: Operand, filler: Operand) -> Operand:
    """Copy into a larger frame; a negative border cuts off, an inner one spreads the elements."""
    shape = tuple(equation.outvars[0].aval.shape)
    if isinstance(x, Constant):
        return replace(x, shape=shape, core=shape)
    if shape == x.shape:
        return x
    order = _order_of([x])
    borders = [equation.params["padding_config"][i] for i in order]
    before = tuple(int(low) for low, _, _ in borders)
    after = tuple(int(high) + int(inner) * (x.shape[i] - 1) for i, (_, high, inner) in zip(order, borders, strict=True))
    return _seen(w.emit("pad", Pad, w.ordered(x, order), before=before, after=after), shape, order)


@lowering("rev")
def reverse(w: Writer, equation: Any, x: Operand) -> Operand:
    """Copy backwards."""
    if isinstance(x, Constant):
        return replace(x, causal=False)
    moved = w.emit("reverse", Move, w.spread(x).tensor, function="reverse", shape=w.spread(x).tensor.shape)
    return replace(w.spread(x), tensor=moved)


@lowering("split")
def split(w: Writer, equation: Any, x: Operand) -> list[Operand]:
    """View consecutive parts."""
    axis, start, made = int(equation.params["axis"]), 0, []
    for variable in equation.outvars:
        starts = tuple(start if i == axis else 0 for i in range(len(x.shape)))
        made.append(part(w, x, tuple(variable.aval.shape), starts))
        start += int(variable.aval.shape[axis])
    return made


@lowering("bitcast_convert_type")
def bitcast(w: Writer, equation: Any, x: Operand) -> Operand:
    """Copy, in another format (a view would do, where the sizes agree)."""
    shape, dtype = result_of(equation)
    if isinstance(x, Constant):
        return Constant(shape=shape, dtype=dtype, core=shape)
    return x if shape == x.shape else Value.plain(w.emit_fill(shape, dtype, "bits"))
