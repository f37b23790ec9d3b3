"""Looking up and updating elements by index."""

from __future__ import annotations

from typing import Any

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import indexing, movement


@aten("embedding")
def _embedding(w: Writer, a: Any, out: Any) -> Value:
    ids = w.tensor(a.indices, range(a.indices.rank))
    return w.emit(movement.Embedding, [ids, w.tensor(a.weight, (0, 1))], out)


@aten("_embedding_bag _embedding_bag_forward_only")
def _embedding_bag(w: Writer, a: Any, out: Any) -> Any:
    """One kernel reads the rows of every bag and combines them."""
    ids, bags = a.indices, [a.offsets]
    source = ids.node.source
    if source is not None and ids.node.flat == ids.order and source.rank == 2:  # bags of one size: torch flattened them
        ids, bags = source, []
    weights = [v for v in (a.get("per_sample_weights"),) if isinstance(v, Value)]
    inputs = [w.tensor(a.weight, (0, 1)), *(w.tensor(v, range(v.rank)) for v in (ids, *bags, *weights))]
    return (
        w.emit(indexing.Gather, inputs, out[0], combined=a.indices.elements / max(out[0].shape[0], 1)),
        None,
        None,
        None,
    )


@aten("_unique _unique2 unique_consecutive unique_dim")
def _unique(w: Writer, a: Any, out: Any) -> Any:
    """Of numbers whose values are known: those that differ, where each is among them, and how often it comes."""
    return tuple(w.emit(indexing.Gather, [w.tensor(a.input)], x) if x.numel() else None for x in out)


@aten("nonzero masked_select")
def picked(w: Writer, a: Any, out: Any) -> Value:
    """Of a mask whose values are known."""
    inputs = [w.tensor(v) for v in (a.input, a.get("mask")) if isinstance(v, Value)]
    return w.emit(indexing.Gather, inputs, out)


@aten("index gather index_select take take_along_dim _unsafe_index _unsafe_masked_index")
def _gather(w: Writer, a: Any, out: Any) -> Value:
    picked = a.get("indices") if "indices" in a else a.get("index")
    picked = picked if isinstance(picked, list) else [picked]
    inputs = [w.tensor(views.settled(a.input)), *(w.tensor(v) for v in picked if isinstance(v, Value))]
    return w.emit(indexing.Gather, inputs, out, name="gather")


def updated(w: Writer, target: Value, values: Any, out: Any, indices: list[Any], *, accumulate: bool) -> Value:
    """Write `values` into `target`; unless in place, into a copy of it."""
    target = views.settled(views.expand(target, tuple(out.shape)))
    order = target.stored
    base = w.tensor(target)
    if not w.in_place:
        copied = w.emit(movement.Move, [base], out, order=order, function="copy", name="copy")
        base = w.tensor(copied)
    if not isinstance(values, Value):
        amount = next((v for v in indices if isinstance(v, Value)), target)
        values = amount
    inputs = [base, w.tensor(values), *(w.tensor(v) for v in indices if isinstance(v, Value))]
    return w.emit(indexing.Update, inputs, out, order=order, name="update", accumulate=accumulate)


def accumulated(
    w: Writer, values: Value, out: Any, indices: list[Value], *, adds: bool = True, name: str = ""
) -> Value:
    """Return zeros with `values` added, or put, to some of them."""
    zeros = w.emit(indexing.Fill, [], out, function="zeros", name="zeros")
    inputs = [w.tensor(zeros), w.tensor(values), *map(w.tensor, indices)]
    return w.emit(indexing.Update, inputs, out, name=name, accumulate=adds)


@aten("histc bincount")
def histogram(w: Writer, a: Any, out: Any) -> Value:
    """One addition for each value, where it belongs."""
    return accumulated(w, a.input, out, [])


@aten("index_put _index_put_impl _unsafe_index_put _unsafe_masked_index_put_accumulate")
def _index_put(w: Writer, a: Any, out: Any) -> Value:
    return updated(w, a.input, a["values"], out, a.indices, accumulate=bool(a.get("accumulate")))


@aten("scatter scatter_add scatter_reduce index_add index_reduce index_copy index_fill masked_scatter put")
def _scatter(w: Writer, a: Any, out: Any) -> Value:
    values = next((a[key] for key in ("src", "source") if key in a), None)
    index = [a[key] for key in ("index", "mask") if key in a]
    adds = w.op_name in ("scatter_add", "scatter_reduce", "index_add", "index_reduce")
    return updated(w, a.input, values, out, index, accumulate=adds)


@aten("slice_scatter select_scatter diagonal_scatter as_strided_scatter")
def _view_scatter(w: Writer, a: Any, out: Any) -> Value:
    return updated(w, a.input, a.src, out, [], accumulate=False)


@aten("one_hot")
def _one_hot(w: Writer, a: Any, out: Any) -> Value:
    return w.pointwise("compare", out, views.reshape(a.input, (*a.input.shape, 1)))


@aten("searchsorted bucketize")
def search(w: Writer, a: Any, out: Any) -> Value:
    """A binary search for each element: a look-up."""
    x = a.get("self")
    table = a.get("sorted_sequence") or a.get("boundaries")
    inputs = [w.tensor(v) for v in (table, x) if isinstance(v, Value)]
    return w.emit(indexing.Gather, inputs, out)
