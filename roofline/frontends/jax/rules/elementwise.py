"""Primitives that compute each element by itself: one element-wise op, in the memory order of the largest operand."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from roofline.dtypes import DType
from roofline.frontends.jax.registry import lowering
from roofline.frontends.jax.values import Constant, Operand, Value, dtype_of, result_of
from roofline.frontends.jax.writer import Writer
from roofline.graph.ops import Cast, Elementwise
from roofline.graph.tensor import Tensor
from roofline.text import pairs, words

#: primitive -> function of `roofline.work.functions`
FUNCTIONS = pairs(
    "add add_any=add sub mul div max min neg abs sign floor=round ceil=round round exp exp2=exp expm1=exp log "
    "log1p=log sqrt rsqrt cbrt pow sin cos tan tanh logistic=sigmoid erf erfc erf_inv lgamma digamma=lgamma square "
    "rem=remainder reciprocal asin=arc acos=arc atan=arc atan2=arc sinh=tan cosh=tan asinh=arc acosh=arc atanh=arc "
    "eq=compare ne=compare lt=compare le=compare gt=compare ge=compare lt_to=compare le_to=compare is_finite=compare "
    "and=logical or=logical xor=logical not=logical shift_left=logical shift_right_logical=logical "
    "shift_right_arithmetic=logical population_count=remainder clz=remainder nextafter=remainder clamp"
)
#: what is known of numbers is computed, as far as trip counts and choices need it
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in words("add sub mul neg lt le gt ge eq ne")},
    "max": max,
    "min": min,
    "sign": lambda x: (x > 0) - (x < 0),
    "clamp": lambda low, x, high: min(max(x, low), high),
}
#: operations with a number that change nothing: compilers drop them
_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "div": 1, "pow": 1, "and": True, "or": False}
_INFINITY = float("inf")


def elementwise(w: Writer, function: str, shape: tuple[int, ...], dtype: DType, *operands: Operand) -> Operand:
    """Write `function` of operands that broadcast to `shape`; equal numbers are part of the function."""
    if all(isinstance(o, Constant) for o in operands):
        constants = [o for o in operands if isinstance(o, Constant)]
        causal = any(o.causal for o in constants)
        return Constant(shape=shape, dtype=dtype, core=_core(constants, len(shape)), causal=causal)
    live = [o for o in operands if not (isinstance(o, Constant) and o.uniform)]
    small_shape = _needed(live, shape)
    if small_shape != shape:  # every operand repeats along an axis: computed once, the result repeats
        result = elementwise(w, function, small_shape, dtype, *(_narrowed(o, small_shape) for o in live))
        assert isinstance(result, Value)
        return _repeated(result, shape)
    reference, replaced = _reference(w, live, shape)
    tensors: list[Tensor] = []
    small: list[bool] = []
    for operand in live:
        full = operand is replaced
        tensor, broadcast = (reference.tensor, False) if full else _operand(w, operand, reference, shape)
        tensors.append(tensor)
        small.append(broadcast)
    out = w.emit(function, Elementwise, *tensors, dtype=dtype, function=function, broadcast=tuple(small))
    return Value(tensor=out, shape=shape, axes=reference.axes)


def _held(operand: Operand, rank: int) -> tuple[int, ...]:
    """Return the shape of an operand without repetition, aligned to `rank` axes."""
    if isinstance(operand, Constant):
        held = operand.core
    else:
        held = tuple(1 if axis is None else d for axis, d in zip(operand.axes, operand.shape, strict=True))
    return (1,) * (rank - len(held)) + held


def _needed(operands: Sequence[Operand], shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(sizes) for sizes in zip(*(_held(o, len(shape)) for o in operands), strict=True))


def _narrowed(operand: Operand, shape: tuple[int, ...]) -> Operand:
    held = _held(operand, len(shape))
    if isinstance(operand, Constant):
        return replace(operand, shape=shape)
    axes = (None,) * (len(shape) - len(operand.axes)) + operand.axes
    return Value(tensor=operand.tensor, shape=held, axes=axes)


def _repeated(value: Value, shape: tuple[int, ...]) -> Value:
    """Return a value that repeats along its axes of size 1 to give `shape`."""
    lead = len(shape) - len(value.shape)
    kept = tuple(a if value.shape[i] == shape[lead + i] else None for i, a in enumerate(value.axes))
    return Value(tensor=value.tensor, shape=shape, axes=(None,) * lead + kept)


def _reference(w: Writer, operands: list[Operand], shape: tuple[int, ...]) -> tuple[Value, Operand]:
    """Return the value whose memory order the result takes, and the operand that it is.

    A full one, in the program's order where there is one; where all are broadcast, a repeated view of the largest.
    """
    values = [o for o in operands if isinstance(o, Value)]
    if not values:
        pattern = next(o for o in operands if isinstance(o, Constant))
        return Value.plain(w.fill(pattern, shape)), pattern
    full = [v for v in values if v.covers(shape)]
    moving = [v for v in full if not v.tensor.stored] or full
    ordered = [v for v in moving if v.order == tuple(sorted(v.order))]
    if moving:
        chosen = (ordered or moving)[0]
        return chosen, chosen
    largest = max(values, key=lambda v: (not v.tensor.stored, v.tensor.elements))
    lead = len(shape) - len(largest.shape)
    axes = [None] * lead + [a if largest.shape[i] != 1 else None for i, a in enumerate(largest.axes)]
    return w.spread(Value(tensor=largest.tensor, shape=shape, axes=tuple(axes))), largest


def _operand(w: Writer, operand: Operand, reference: Value, shape: tuple[int, ...]) -> tuple[Tensor, bool]:
    if isinstance(operand, Constant):
        full = operand.core == shape
        return (w.fill(operand, reference.tensor.shape if full else None), not full)  # type: ignore[arg-type]
    if not operand.covers(shape) or (operand.tensor.stored and not reference.tensor.stored):
        return operand.tensor, True
    if operand.order == reference.order and operand.tensor.shape == reference.tensor.shape:
        return operand.tensor, False
    return w.reshape(w.ordered(operand, reference.order), reference.tensor.shape), False  # type: ignore[arg-type]


@lowering(*FUNCTIONS)
def function_rule(w: Writer, equation: Any, *operands: Operand) -> Operand:
    """Write one element-wise op, or nothing where a number leaves the operand as it is."""
    name, (shape, dtype) = equation.primitive.name, result_of(equation)
    known = [o.value for o in operands if isinstance(o, Constant)]
    if len(known) == len(operands):
        return _constant(name, shape, dtype, operands, known)
    if len(operands) == 2 and len(known) == 1 and known[0] is not None:
        other = operands[0] if isinstance(operands[1], Constant) else operands[1]
        first = isinstance(operands[0], Constant)
        if _changes_nothing(name, known[0], first) and isinstance(other, Value):
            return _repeated(other, shape)
        if name == "pow" and not first and known[0] in (0.5, -0.5, 2):
            return elementwise(w, {0.5: "sqrt", -0.5: "rsqrt", 2: "square"}[known[0]], shape, dtype, other)
        if name == "max" and known[0] == 0:
            return elementwise(w, "relu", shape, dtype, other)
    function = FUNCTIONS[name]
    if function in ("mul", "div") and any(isinstance(o, Constant) and o.uniform for o in operands):
        function = "reciprocal" if function == "div" and isinstance(operands[0], Constant) else "scale"
    return elementwise(w, function, shape, dtype, *operands)


def _changes_nothing(name: str, value: float, first: bool) -> bool:
    if name in ("max", "min"):
        return bool(value == (-_INFINITY if name == "max" else _INFINITY))
    if first and name in ("sub", "div", "pow"):
        return False
    return name in _NEUTRAL and value == _NEUTRAL[name]


def _constant(name: str, shape: tuple[int, ...], dtype: DType, operands: Any, known: list[Any]) -> Constant:
    uniform = all(o.uniform for o in operands)
    value = None
    if uniform and None not in known and name in _ARITHMETIC:
        value = _ARITHMETIC[name](*known)
    causal = any(o.causal for o in operands) or (
        name in ("lt", "le", "gt", "ge") and not uniform and len(shape) >= 2 and shape[-1] > 1
    )
    return Constant(shape=shape, dtype=dtype, core=_core(operands, len(shape)), value=value, causal=causal)


def _core(operands: Sequence[Constant], rank: int) -> tuple[int, ...]:
    """Return the shape, without repetition, of what is computed from constants."""
    if all(o.uniform for o in operands):
        return ()
    aligned = [(1,) * (rank - len(o.core)) + o.core for o in operands]
    return tuple(max(sizes) for sizes in zip(*aligned, strict=True))


@lowering("integer_pow")
def integer_pow(w: Writer, equation: Any, x: Operand) -> Operand:
    """Multiply as often as squaring needs; a negative power is a reciprocal more."""
    power, (shape, dtype) = int(equation.params["y"]), result_of(equation)
    if power == 0:
        return Constant(shape=shape, dtype=dtype, value=1)
    result = x
    for _ in range(abs(power).bit_length() - 1):
        result = elementwise(w, "square", shape, dtype, result)
    for _ in range(abs(power).bit_count() - 1):
        result = elementwise(w, "mul", shape, dtype, result, x)
    return elementwise(w, "reciprocal", shape, dtype, result) if power < 0 else result


@lowering("select_n")
def select(w: Writer, equation: Any, which: Operand, *cases: Operand) -> Operand:
    """Choose between arrays; a choice that is known picks one."""
    shape, dtype = result_of(equation)
    if isinstance(which, Constant) and which.value is not None and cases[int(which.value)].shape == shape:
        return cases[int(which.value)]
    return elementwise(w, "select", shape, dtype, which, *cases)


@lowering("convert_element_type")
def convert(w: Writer, equation: Any, x: Operand) -> Operand:
    """Change the format. Between floats nothing: the precision of a run gives every float its format."""
    _, dtype = result_of(equation)
    if isinstance(x, Constant):
        return Constant(shape=x.shape, dtype=dtype, core=x.core, value=x.value, causal=x.causal)
    if x.tensor.dtype is dtype or (x.tensor.dtype.kind == "float" and dtype.kind == "float"):
        return x
    return Value(tensor=w.emit("cast", Cast, x.tensor, dtype=dtype), shape=x.shape, axes=x.axes)


@lowering("stop_gradient copy reduce_precision sharding_constraint name pvary layout_constraint")
def same(w: Writer, equation: Any, x: Operand) -> Operand:
    """Return the operand: nothing is computed."""
    return x


@lowering("optimization_barrier", "device_put", "tie")
def all_same(w: Writer, equation: Any, *operands: Operand) -> list[Operand]:
    """Return the operands: nothing is computed."""
    return list(operands)


@lowering("iota")
def iota(w: Writer, equation: Any, *operands: Operand) -> Operand:
    """Return a range: it depends on nothing."""
    axis, (shape, dtype) = equation.params["dimension"], result_of(equation)
    return Constant(shape=shape, dtype=dtype, core=tuple(d if i == axis else 1 for i, d in enumerate(shape)))


@lowering("empty", "empty2", "zeros_like", "platform_index")
def filled(w: Writer, equation: Any, *operands: Operand) -> Operand:
    """Return equal numbers; of programs for several platforms the first one is taken."""
    shape, dtype = result_of(equation)
    return Constant(shape=shape, dtype=dtype, value=0)


@lowering("debug_callback", "debug_print", "check")
def nothing(w: Writer, equation: Any, *operands: Operand) -> list[Operand]:
    """Leave out what only speaks to the host."""
    return []


@lowering(
    "random_bits threefry2x32 random_wrap random_unwrap random_split random_clone random_fold_in random_seed "
    "rng_bit_generator rng_uniform random_gamma"
)
def random(w: Writer, equation: Any, *operands: Operand) -> list[Operand]:
    """Write random bits; they depend on a key that weighs nothing."""
    made: list[Operand] = []
    for variable in equation.outvars:
        shape, dtype = tuple(variable.aval.shape), dtype_of(variable.aval)
        bits = w.emit_fill(shape, dtype, "random")
        made.append(
            Value.plain(w.emit("random", Elementwise, bits, dtype=dtype, function="threefry", broadcast=(False,)))
        )
    return made
