"""Primitives that combine elements: reductions, windows, running sums, sorting."""

from __future__ import annotations

from math import prod
from typing import Any

from roofline.errors import UnknownOpError
from roofline.frontends.jax.registry import lowering
from roofline.frontends.jax.rules.elementwise import elementwise
from roofline.frontends.jax.rules.products import centred
from roofline.frontends.jax.values import Constant, Operand, Value, dtype_of, result_of
from roofline.frontends.jax.writer import Writer
from roofline.graph.indexing import Scan, Sort
from roofline.graph.ops import Pool, Reduce
from roofline.text import pairs

_REDUCTIONS = pairs(
    "reduce_sum=sum reduce_max=max reduce_min=max reduce_prod=sum reduce_and=max reduce_or=max reduce_xor=sum "
    "argmax=max argmin=max reduce=sum"
)


@lowering(*_REDUCTIONS)
def reduce(w: Writer, equation: Any, x: Operand, *start: Operand) -> Operand:
    """Combine whole axes, in the order of memory."""
    if len(equation.outvars) > 1:
        raise UnknownOpError("a reduction of several arrays at once has no rule")
    shape, dtype = result_of(equation)
    if isinstance(x, Constant):
        return Constant(shape=shape, dtype=dtype, core=() if x.uniform else shape)
    dropped = {int(a) for a in equation.params.get("axes", equation.params.get("dimensions", ()))}
    x = w.spread(x)
    gone = sorted(a for i, a in enumerate(x.axes) if i in dropped and a is not None and x.shape[i] != 1)
    kept = [x.axes[i] for i in range(len(x.shape)) if i not in dropped]
    if not gone:
        return Value(tensor=x.tensor, shape=shape, axes=tuple(kept))
    function = _REDUCTIONS[equation.primitive.name]
    out = w.emit("reduce", Reduce, x.tensor, dtype=dtype, axes=tuple(gone), function=function, keep=False)
    axes = tuple(None if a is None else a - sum(g < a for g in gone) for a in kept)
    return Value(tensor=out, shape=shape, axes=axes)


@lowering("reduce_window_sum", "reduce_window_max", "reduce_window_min", "reduce_window")
def window(w: Writer, equation: Any, x: Operand, *start: Operand) -> Operand:
    """Combine a sliding window: pooling."""
    p, variable = equation.params, equation.outvars[0]
    shape = tuple(variable.aval.shape)
    if isinstance(x, Constant):
        return Constant(shape=shape, dtype=x.dtype, core=shape)
    if len(equation.outvars) > 1:
        raise UnknownOpError("a window over several arrays at once has no rule")
    if any(int(d) != 1 for d in p.get("base_dilation") or ()):
        raise UnknownOpError("a window over a dilated array has no rule")
    rank = len(shape)
    sizes, strides = p["window_dimensions"], p.get("window_strides") or (1,) * rank
    borders, dilations = p.get("padding") or ((0, 0),) * rank, p.get("window_dilation") or (1,) * rank
    order = list(x.memory)
    moving = [n for n, i in enumerate(order) if sizes[i] != 1 or strides[i] != 1 or tuple(borders[i]) != (0, 0)]
    if not moving:
        return x
    spatial = order[moving[0] : moving[-1] + 1]
    outer, inner = order[: moving[0]], order[moving[-1] + 1 :]
    tensor = w.reshape(
        w.ordered(x, order),
        [prod(x.shape[i] for i in outer), *(x.shape[i] for i in spatial), prod(x.shape[i] for i in inner)],
    )
    made = w.emit(
        "pool",
        Pool,
        tensor,
        dtype=dtype_of(variable.aval),
        kernel=tuple(int(sizes[i]) for i in spatial),
        stride=tuple(int(strides[i]) for i in spatial),
        padding=tuple(centred(int(sum(borders[i])), int(sizes[i]), int(dilations[i])) for i in spatial),
        function="mean" if equation.primitive.name == "reduce_window_sum" else "max",
    )
    seen = w.reshape(made, [shape[i] for i in order])
    return Value(tensor=seen, shape=shape, axes=tuple(order.index(i) for i in range(rank)))


@lowering("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def running(w: Writer, equation: Any, x: Operand) -> Operand:
    """Combine each element with all before it."""
    if isinstance(x, Constant):
        return Constant(shape=x.shape, dtype=x.dtype, core=x.shape)
    x = w.spread(x)
    axis = x.axes[int(equation.params["axis"])]
    if axis is None:
        return x
    function = {"cumsum": "sum", "cumprod": "product"}.get(equation.primitive.name, "max")
    out = w.emit("scan", Scan, x.tensor, axis=axis, function=function)
    result: Operand = Value(tensor=out, shape=x.shape, axes=x.axes)
    if equation.primitive.name == "cumlogsumexp":
        result = elementwise(w, "exp", x.shape, x.tensor.dtype, result)
    return result


@lowering("sort")
def sort(w: Writer, equation: Any, *operands: Operand) -> list[Operand]:
    """Sort along an axis; arrays that follow the keys are outputs of the same op."""
    return _sorted(w, equation, list(operands), int(equation.params["dimension"]), None)


@lowering("top_k", "approx_top_k")
def top_k(w: Writer, equation: Any, x: Operand) -> list[Operand]:
    """Keep the largest and where they were."""
    p = equation.params
    axis = int(p.get("axis", p.get("reduction_dimension", -1))) % len(x.shape)
    return _sorted(w, equation, [x], axis, int(p["k"]))


def _sorted(w: Writer, equation: Any, operands: list[Operand], axis: int, kept: int | None) -> list[Operand]:
    rank = len(operands[0].shape)
    order = [*(i for i in range(rank) if i != axis), axis]
    tensors = [w.ordered(w.value(o), order) for o in operands]
    dtypes = [dtype_of(v.aval) for v in equation.outvars]
    outs = w.write("sort", Sort, tensors, dtypes, kept=kept)
    axes = tuple(order.index(i) for i in range(rank))
    return [
        Value(tensor=out, shape=tuple(v.aval.shape), axes=axes) for out, v in zip(outs, equation.outvars, strict=True)
    ]
