"""Primitives that pick or overwrite by index. What is overwritten is taken to be given away (donated): no copy."""

from __future__ import annotations

from typing import Any

from roofline.frontends.jax.registry import lowering
from roofline.frontends.jax.values import Constant, Operand, Value, result_of
from roofline.frontends.jax.writer import Writer
from roofline.graph.indexing import Gather, Update
from roofline.graph.movement import Embedding
from roofline.graph.tensor import Tensor


def _indices(w: Writer, operands: tuple[Operand, ...]) -> list[Tensor]:
    return [o.tensor for o in operands if isinstance(o, Value)]


@lowering("gather")
def gather(w: Writer, equation: Any, source: Operand, indices: Operand) -> Operand:
    """Pick slices; whole rows of a table are an embedding."""
    numbers, (shape, dtype) = equation.params["dimension_numbers"], result_of(equation)
    if isinstance(source, Constant):
        return Constant(shape=shape, dtype=dtype, core=() if source.uniform else shape)
    sizes = tuple(equation.params["slice_sizes"])
    rows = (
        len(source.shape) == 2
        and tuple(numbers.collapsed_slice_dims) == (0,)
        and tuple(numbers.start_index_map) == (0,)
        and sizes == (1, source.shape[1])
        and tuple(numbers.offset_dims) == (len(shape) - 1,)
    )
    table = w.canonical(source)
    if rows and isinstance(indices, Value):
        ids = w.reshape(w.canonical(indices), shape[:-1])
        return Value.plain(w.emit("embedding", Embedding, ids, table, dtype=table.dtype))
    return Value.plain(w.emit("gather", Gather, table, *_indices(w, (indices,)), dtype=dtype, shape=shape))


@lowering("dynamic_update_slice")
def update_slice(w: Writer, equation: Any, target: Operand, update: Operand, *starts: Operand) -> Operand:
    """Overwrite a part in place."""
    return _update(w, target, update, starts, accumulate=False)


@lowering("scatter", "scatter-add", "scatter-mul", "scatter-min", "scatter-max", "scatter-sub")
def scatter(w: Writer, equation: Any, target: Operand, indices: Operand, updates: Operand) -> Operand:
    """Overwrite or add to elements in place."""
    return _update(w, target, updates, (indices,), accumulate=equation.primitive.name != "scatter")


def _update(w: Writer, target: Operand, values: Operand, indices: tuple[Operand, ...], *, accumulate: bool) -> Operand:
    held = w.spread(w.value(target))
    new = w.spread(w.value(values)).tensor
    out = w.emit("update", Update, held.tensor, new, *_indices(w, indices), accumulate=accumulate)
    return Value(tensor=out, shape=held.shape, axes=held.axes)
