"""Reductions, running sums and sorting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.rules.create import unwritten
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import indexing, ops
from roofline.text import pairs as by_name


def _dims(a: Any, rank: int) -> tuple[int, ...]:
    dims = a.get("dim")
    if dims is None or (isinstance(dims, Sequence) and not dims):
        return tuple(range(rank))
    dims = dims if isinstance(dims, Sequence) else (dims,)
    return tuple(d % rank for d in dims) if rank else ()


def _reduced(w: Writer, a: Any, outs: list[Any], make: Any, **fields: Any) -> tuple[Value, ...]:
    """Reduce over ``a.dim``: the axes that stay keep their order."""
    x = views.settled(a.input)
    dims = _dims(a, x.rank)
    if not x.rank:
        x, dims = views.reshape(x, (1,)), (0,)
    stored = x.stored
    axes = tuple(stored.index(d) for d in dims)
    keep = bool(a.get("keepdim", False)) and outs[0].dim() == x.rank
    left = stored if keep else tuple(d for d in stored if d not in dims)
    order = left if keep else tuple(sorted(left).index(d) for d in left)
    return w.emit_many(make, [w.tensor(x)], outs, order, axes=axes, keep=keep, **fields)


_PLAIN = {"mean": "mean nanmean", "sum": "sum nansum", "max": "amax amin"}


def _register(function: str, names: str) -> None:
    @aten(names)
    def rule(w: Writer, a: Any, out: Any) -> Value:
        return _reduced(w, a, [out], ops.Reduce, function=function)[0]


for _function, _names in _PLAIN.items():
    _register(_function, _names)


@aten("trace")
def trace(w: Writer, a: Any, out: Any) -> Value:
    """The sum of what lies on the diagonal."""
    diagonal = w.window(a.input, torch.empty((min(a.input.shape),), dtype=out.dtype, device="meta"))
    return w.emit(ops.Reduce, [w.tensor(diagonal)], out, function="sum", axes=(0,), keep=False)


@aten("dist")
def dist(w: Writer, a: Any, out: Any) -> Value:
    """The norm of a difference, which is written before."""
    shape = torch.broadcast_shapes(a.input.shape, a.other.shape)  # type: ignore[no-untyped-call]
    apart = w.pointwise("sub", torch.empty(shape, dtype=out.dtype, device="meta"), a.input, a.other)
    flat = views.reshape(apart, (apart.elements,))
    return w.emit(ops.Statistic, [w.tensor(flat)], out, function="norm", axes=(0,), keep=False)


@aten("_cdist_forward _pdist_forward")
def distances(w: Writer, a: Any, out: Any) -> Value:
    """One kernel for the distances of all pairs of rows; it reads each row for every partner."""
    rows = [v for v in (a.get("x1"), a.get("x2"), a.get("self")) if isinstance(v, Value)]
    pairs = torch.empty((*out.shape, rows[0].shape[-1]), dtype=out.dtype, device="meta")
    inputs = [w.tensor(w.window(rows[0], pairs)), *map(w.tensor, rows[1:])]
    return w.emit(ops.Statistic, inputs, out, name="distance", function="distance", axes=(out.dim(),), keep=False)


@aten("var std prod argmax argmin any all _is_all_true _is_any_true logsumexp linalg_vector_norm norm count_nonzero")
def _statistic(w: Writer, a: Any, out: Any) -> Value:
    return _reduced(w, a, [out], ops.Statistic, function=_FUNCTION[w.op_name])[0]


_FUNCTION = by_name(
    "var std=var prod argmax=max argmin=max any=max all=max is_all_true=max is_any_true=max logsumexp "
    "linalg_vector_norm=norm norm count_nonzero=sum"
)


@aten("var_mean std_mean max.dim min.dim aminmax median.dim nanmedian.dim kthvalue mode")
def _statistics_pair(w: Writer, a: Any, out: Any) -> tuple[Value, ...]:
    function = "var" if w.op_name.endswith("_mean") else "max"
    return _reduced(w, a, list(out), ops.Statistic, function=function)


@aten("max min median nanmedian")
def extreme(w: Writer, a: Any, out: Any) -> Value:
    """Of the whole tensor, or element-wise of two."""
    if isinstance(a.get("other"), Value):
        return w.pointwise(w.op_name, out, a.input, a.other)
    return _reduced(w, a, [out], ops.Reduce, function="max")[0]


@aten("cumsum cumprod logcumsumexp cummax cummin")
def _scan(w: Writer, a: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    x = views.settled(a.input)
    axis = x.stored.index(a.dim % max(x.rank, 1)) if x.rank else 0
    function = {"cumprod": "product", "cummax": "max", "cummin": "max"}.get(w.op_name, "sum")
    made = w.emit(indexing.Scan, [w.tensor(x)], first, order=x.stored, axis=axis, function=function)
    return made if first is out else (made, w.beside(made, out[1]))


@aten("sort topk argsort msort")
def _sort(w: Writer, a: Any, out: Any) -> Any:
    outs = list(out) if isinstance(out, tuple) else [out]
    x = a.input
    if not x.rank:  # one number is in order
        return [x, unwritten(outs[1])] if isinstance(out, tuple) else unwritten(out) if w.op_name == "argsort" else x
    dim = (-1 if a.get("dim") is None else a.dim) % x.rank
    order = (*(d for d in views.settled(x).stored if d != dim), dim)
    kept = outs[0].shape[dim] if w.op_name == "topk" else None
    made = w.emit_many(indexing.Sort, [w.tensor(x, order)], outs, order, kept=kept)
    return made if isinstance(out, tuple) else made[0]
