"""Complex numbers and Fourier transforms. One transform along several axes is a kernel for each."""

from __future__ import annotations

from typing import Any

from roofline.frontends.jax.registry import lowering
from roofline.frontends.jax.rules.elementwise import elementwise
from roofline.frontends.jax.values import Constant, Operand, Value, result_of
from roofline.frontends.jax.writer import Writer
from roofline.graph.ops import Cast
from roofline.graph.sampling import Fourier

#: forms of ``fft_type`` whose numbers on one side are real
_FROM_REAL, _TO_REAL = 2, 3


@lowering("fft")
def fft(w: Writer, equation: Any, x: Operand) -> Operand:
    """Transform the last axes: real numbers along the last one first, or back to them along it at the end."""
    p, (shape, dtype) = equation.params, result_of(equation)
    form, lengths = int(getattr(p["fft_type"], "value", p["fft_type"])), tuple(map(int, p["fft_lengths"]))
    value = w.spread(w.value(x))
    order, rank = value.memory, len(shape)
    *others, last = range(rank - len(lengths), rank)
    others.reverse()
    tensor, sizes = w.ordered(value, order), list(value.shape)
    between = tensor.dtype if form == _TO_REAL else dtype
    for axis in [*others, last] if form == _TO_REAL else [last, *others]:
        real = axis == last and form in (_FROM_REAL, _TO_REAL)
        sizes[axis] = shape[axis]
        tensor = w.emit(
            "fft",
            Fourier,
            tensor,
            dtype=dtype if real else between,
            axis=order.index(axis),
            length=lengths[axis - rank],
            shape=tuple(sizes[i] for i in order),
            real=real,
        )
    return Value(tensor=tensor, shape=shape, axes=tuple(order.index(i) for i in range(rank)))


@lowering("real", "imag")
def half(w: Writer, equation: Any, x: Operand) -> Operand:
    """Take one of the two parts of a complex number; of a real one nothing is taken."""
    _, dtype = result_of(equation)
    if isinstance(x, Constant):
        return Constant(shape=x.shape, dtype=dtype, core=x.core)
    if x.tensor.dtype is dtype:
        return x
    return Value(tensor=w.emit("cast", Cast, x.tensor, dtype=dtype), shape=x.shape, axes=x.axes)


@lowering("complex", "conj")
def whole(w: Writer, equation: Any, *parts: Operand) -> Operand:
    """Put two parts side by side, or turn the sign of the second one."""
    shape, dtype = result_of(equation)
    return elementwise(w, "neg" if equation.primitive.name == "conj" else "identity", shape, dtype, *parts)
