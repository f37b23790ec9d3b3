"""Reductions, running sums and sorting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import lowering
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Lowering
from roofline.graph import indexing, ops, statistics


def _dims(a: Any, rank: int) -> tuple[int, ...]:
    dims = a.get("dim")
    if dims is None or (isinstance(dims, Sequence) and not dims):
        return tuple(range(rank))
    dims = dims if isinstance(dims, Sequence) else (dims,)
    return tuple(d % rank for d in dims) if rank else ()


def _reduced(t: Lowering, a: Any, outs: list[Any], make: Any, **fields: Any) -> tuple[Value, ...]:
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
    return t.emit_many(make, [t.tensor(x)], outs, order, axes=axes, keep=keep, **fields)


_PLAIN = {"mean": "mean nanmean", "sum": "sum nansum", "max": "amax amin"}


def _register(function: str, names: str) -> None:
    @lowering(*(f"aten.{name}" for name in names.split()))
    def rule(t: Lowering, a: Any, out: Any) -> Value:
        return _reduced(t, a, [out], ops.Reduce, function=function)[0]


for _function, _names in _PLAIN.items():
    _register(_function, _names)


@lowering("aten.var", "aten.std", "aten.prod", "aten.argmax", "aten.argmin", "aten.any", "aten.all",
          "aten.logsumexp", "aten.linalg_vector_norm", "aten.norm", "aten.count_nonzero")  # fmt: skip
def _statistic(t: Lowering, a: Any, out: Any) -> Value:
    return _reduced(t, a, [out], statistics.Statistic, function=_FUNCTION[t.op_name])[0]


_FUNCTION = {
    "var": "var", "std": "var", "prod": "prod", "argmax": "max", "argmin": "max", "any": "max", "all": "max",
    "logsumexp": "logsumexp", "linalg_vector_norm": "norm", "norm": "norm", "count_nonzero": "sum",
}  # fmt: skip


@lowering("aten.var_mean", "aten.std_mean", "aten.max.dim", "aten.min.dim", "aten.aminmax", "aten.median.dim",
          "aten.mode")  # fmt: skip
def _statistics_pair(t: Lowering, a: Any, out: Any) -> tuple[Value, ...]:
    function = "var" if t.op_name.endswith("_mean") else "max"
    return _reduced(t, a, list(out), statistics.Statistic, function=function)


@lowering("aten.max", "aten.min")
def extreme(t: Lowering, a: Any, out: Any) -> Value:
    """Of the whole tensor, or element-wise of two."""
    if isinstance(a.get("other"), Value):
        return t.pointwise(t.op_name, out, a.input, a.other)
    return _reduced(t, a, [out], ops.Reduce, function="max")[0]


@lowering("aten.cumsum", "aten.cumprod", "aten.logcumsumexp", "aten.cummax", "aten.cummin")
def _scan(t: Lowering, a: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    x = views.settled(a.input)
    axis = x.stored.index(a.dim % max(x.rank, 1)) if x.rank else 0
    function = {"cumprod": "product", "cummax": "max", "cummin": "max"}.get(t.op_name, "sum")
    made = t.emit(indexing.Scan, [t.tensor(x)], first, order=x.stored, axis=axis, function=function)
    return (made, None) if isinstance(out, tuple) else made


@lowering("aten.sort", "aten.topk", "aten.argsort", "aten.kthvalue", "aten.msort")
def _sort(t: Lowering, a: Any, out: Any) -> Any:
    outs = list(out) if isinstance(out, tuple) else [out]
    x = a.input
    dim = (-1 if a.get("dim") is None else a.dim) % x.rank
    order = (*(d for d in views.settled(x).stored if d != dim), dim)
    kept = outs[0].shape[dim] if t.op_name == "topk" else None
    made = t.emit_many(indexing.Sort, [t.tensor(x, order)], outs, order, kept=kept)
    return made if isinstance(out, tuple) else made[0]
