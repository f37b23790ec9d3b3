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
from roofline.graph.gradients import PoolGrad
from roofline.graph.indexing import Scan, Sort
from roofline.graph.ops import Pool, Reduce
from roofline.graph.tensor import Tensor
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
    spatial = _slid_over(p, order)
    if not spatial:
        return x
    tensor = _image(w, x, order, spatial)
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


def _slid_over(p: Any, order: list[int]) -> list[int]:
    """Return the axes between the first and the last one in memory that a window moves along, both included."""
    rank = len(order)
    sizes, strides = p["window_dimensions"], p.get("window_strides") or (1,) * rank
    borders = p.get("padding") or ((0, 0),) * rank
    moving = [n for n, i in enumerate(order) if sizes[i] != 1 or strides[i] != 1 or tuple(borders[i]) != (0, 0)]
    return order[moving[0] : moving[-1] + 1] if moving else []


def _image(w: Writer, x: Value, order: list[int], spatial: list[int]) -> Tensor:
    """Return an array as (N, *spatial, C), with what lies before and behind the spatial axes in memory in N and C."""
    first, last = order.index(spatial[0]), order.index(spatial[-1])
    outer, inner = (prod(x.shape[i] for i in part) for part in (order[:first], order[last + 1 :]))
    return w.reshape(w.ordered(x, order), [outer, *(x.shape[i] for i in spatial), inner])


@lowering("select_and_scatter_add")
def pool_gradient(w: Writer, equation: Any, source: Operand, x: Operand) -> Operand:
    """Give what arrives at each window to the largest element of it: the gradient of a maximum's pooling."""
    p, (shape, dtype) = equation.params, result_of(equation)
    image = w.value(x)
    order = list(image.memory)
    spatial = _slid_over(p, order)
    if not spatial:
        return source
    tensors = [_image(w, value, order, spatial) for value in (w.value(source), image)]
    kernel = tuple(int(p["window_dimensions"][i]) for i in spatial)
    made = w.emit("pool_grad", PoolGrad, *tensors, dtype=dtype, shape=tensors[1].shape, kernel=kernel)
    seen = w.reshape(made, [shape[i] for i in order])
    return Value(tensor=seen, shape=shape, axes=tuple(order.index(i) for i in range(len(shape))))


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
