"""Looking up and updating elements by index."""

from __future__ import annotations

from typing import Any

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import lowering
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Lowering
from roofline.graph import indexing, movement


@lowering("aten.embedding")
def _embedding(t: Lowering, a: Any, out: Any) -> Value:
    ids = t.tensor(a.indices, range(a.indices.rank))
    return t.emit(movement.Embedding, [ids, t.tensor(a.weight, (0, 1))], out)


@lowering("aten._embedding_bag", "aten._embedding_bag_forward_only")
def _embedding_bag(t: Lowering, a: Any, out: Any) -> Any:
    return (t.emit(indexing.Gather, [t.tensor(a.weight), t.tensor(a.indices)], out[0]), None, None, None)


@lowering("aten.nonzero", "aten.masked_select")
def picked(t: Lowering, a: Any, out: Any) -> Value:
    """Of a mask whose values are known."""
    inputs = [t.tensor(v) for v in (a.input, a.get("mask")) if isinstance(v, Value)]
    return t.emit(indexing.Gather, inputs, out)


@lowering("aten.index", "aten.gather", "aten.index_select", "aten.take", "aten.take_along_dim", "aten._unsafe_index")
def _gather(t: Lowering, a: Any, out: Any) -> Value:
    picked = a.get("indices") if "indices" in a else a.get("index")
    picked = picked if isinstance(picked, list) else [picked]
    inputs = [t.tensor(views.settled(a.input)), *(t.tensor(v) for v in picked if isinstance(v, Value))]
    return t.emit(indexing.Gather, inputs, out, name="gather")


def updated(t: Lowering, target: Value, values: Any, out: Any, indices: list[Any], *, accumulate: bool) -> Value:
    """Write `values` into `target`; unless in place, into a copy of it."""
    target = views.settled(target)
    order = target.stored
    base = t.tensor(target)
    if not t.in_place:
        copied = t.emit(movement.Move, [base], out, order=order, function="copy", name="copy")
        base = t.tensor(copied)
    if not isinstance(values, Value):
        amount = next((v for v in indices if isinstance(v, Value)), target)
        values = amount
    inputs = [base, t.tensor(values), *(t.tensor(v) for v in indices if isinstance(v, Value))]
    return t.emit(indexing.Update, inputs, out, order=order, name="update", accumulate=accumulate)


@lowering(
    "aten.index_put", "aten._index_put_impl", "aten._unsafe_index_put", "aten._unsafe_masked_index_put_accumulate"
)
def _index_put(t: Lowering, a: Any, out: Any) -> Value:
    return updated(t, a.input, a["values"], out, a.indices, accumulate=bool(a.get("accumulate")))


@lowering("aten.scatter", "aten.scatter_add", "aten.scatter_reduce", "aten.index_add", "aten.index_copy",
          "aten.index_fill", "aten.masked_scatter", "aten.put")  # fmt: skip
def _scatter(t: Lowering, a: Any, out: Any) -> Value:
    values = next((a[key] for key in ("src", "source") if key in a), None)
    index = [a[key] for key in ("index", "mask") if key in a]
    adds = t.op_name in ("scatter_add", "scatter_reduce", "index_add")
    return updated(t, a.input, values, out, index, accumulate=adds)


@lowering("aten.slice_scatter", "aten.select_scatter", "aten.diagonal_scatter", "aten.as_strided_scatter")
def _view_scatter(t: Lowering, a: Any, out: Any) -> Value:
    return updated(t, a.input, a.src, out, [], accumulate=False)


@lowering("aten.one_hot")
def _one_hot(t: Lowering, a: Any, out: Any) -> Value:
    return t.pointwise("compare", out, views.reshape(a.input, (*a.input.shape, 1)))


@lowering("aten.searchsorted", "aten.bucketize")
def search(t: Lowering, a: Any, out: Any) -> Value:
    """A binary search for each element: a look-up."""
    x = a.get("self")
    table = a.get("sorted_sequence") or a.get("boundaries")
    inputs = [t.tensor(v) for v in (table, x) if isinstance(v, Value)]
    return t.emit(indexing.Gather, inputs, out)
