"""Which dimensions grow with the batch: a rule per op kind, from the dimensions of its inputs to those of its outputs.

A dimension is *scaled* by a factor f if it is f x batch: a tensor's factors are a tuple with 0 for dimensions that do
not grow. A rule refuses whatever it cannot prove.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from roofline.graph import decoding, indexing, movement, ops, resampling, sampling
from roofline.graph.op import Op
from roofline.graph.quantize import Quantize
from roofline.graph.reshaping import reshaped
from roofline.graph.tensor import Shape
from roofline.registry import filed

Factors: TypeAlias = tuple[int, ...]
#: ``(op, factors of the inputs, shapes of the inputs, shape of the output, batch) -> factors of each output``
BatchRule: TypeAlias = Callable[..., Factors]


class Refusal(Exception):
    """A rule cannot prove how an op grows; the message says why."""


class Demand(Exception):
    """An operand must grow along an axis by a factor for the op to fit."""

    def __init__(self, operand: int, axis: int, factor: int) -> None:
        super().__init__(operand, axis, factor)
        self.operand, self.axis, self.factor = operand, axis, factor


RULES: dict[type[Op], BatchRule] = {}


def rule(*types: type[Op]) -> Callable[[BatchRule], BatchRule]:
    """Register the decorated function as the rule of op classes.

    Raises
    ------
    GraphError
        An op type has a rule already.
    """
    return filed(RULES, types, lambda op: f"op {op.__name__!r} has two batch rules")


def fixed(factors: Factors, axes: range | tuple[int, ...], why: str) -> None:
    """Refuse if any of `axes` is scaled."""
    if any(factors[a] for a in axes):
        raise Refusal(why)


def unscaled(factors: tuple[Factors, ...], first: int, why: str) -> None:
    """Refuse if an operand from number `first` on is scaled at all."""
    if any(any(f) for f in factors[first:]):
        raise Refusal(why)


@rule(ops.Conv, resampling.ConvTranspose, ops.Pool, resampling.Resize)
def image(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """Only the images may grow, neither their sides nor their channels nor the weights."""
    fixed(factors[0], range(1, len(factors[0])), "the batch is in a side or in the channels of an image")
    unscaled(factors, 1, "the weights grow with the batch")
    return (factors[0][0], *(0,) * (len(out) - 1))


@rule(sampling.Sample)
def sample(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """There are more samples where there are more places, and places for every image."""
    fixed(factors[0], range(1, len(factors[0])), "the batch is in a side or in the channels of an image")
    for i, f in enumerate(factors[1:], 1):
        fixed(f, range(1, len(f)), "the batch is inside of what places are computed of")
        if factors[0][0] and not f[0]:
            raise Demand(i, 0, int(shapes[i][0]) // batch)
    return (factors[1][0], *(0,) * (len(out) - 1))


@rule(ops.MatMul)
def matmul(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """Rows, columns and stacks may grow, what is summed over may not."""
    a, b = factors[0], factors[1]
    if a[-1] or b[-2]:
        raise Refusal("the batch is summed over")
    unscaled(factors, 2, "the bias grows with the batch")
    if len(b) > 2:
        agree(factors, shapes, range(len(a) - 2), (0, 1))
    return (*a[:-1], b[-1])


@rule(ops.GroupedMatMul)
def grouped_matmul(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """There may be more rows, not more groups, longer rows or larger weights."""
    fixed(factors[0], range(1, len(factors[0])), "the batch is summed over")
    unscaled(factors, 1, "the weights or the groups grow with the batch")
    return (factors[0][0], *(0,) * (len(out) - 1))


@rule(ops.Attention)
def attention(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """The images may grow, not their tokens."""
    for f in factors[:3]:
        fixed(f, (1, 2), "the batch is among tokens that attend to each other")
    agree(factors, shapes, range(1), (0, 1, 2))
    for i, f in enumerate(factors[3:], 3):
        fixed(f, range(1, len(f)), "the batch is inside a bias")
        if len(f) == 4 and factors[0][0] == 1 and not f[0] and int(shapes[i][0]) == batch > 1:
            raise Demand(i, 0, 1)  # a mask of each example, not one of each head or window
    return (factors[0][0], 0, 0)


@rule(decoding.Recurrence, decoding.IndexScores)
def decoded(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """The sequences may grow, not their tokens."""
    for f in factors:
        fixed(f, range(1, len(f)), "the batch is among tokens of a sequence")
    return (agree(factors, shapes, range(1), tuple(range(len(factors))))[0], *(0,) * (len(out) - 1))


def agree(factors: tuple[Factors, ...], shapes: tuple[Shape, ...], axes: range, operands: tuple[int, ...]) -> list[int]:
    """Return the factor of each axis, the same for all operands; demand it of those that do not grow."""
    found = []
    for axis in axes:
        wanted = max(factors[o][axis] for o in operands)
        for o in operands:
            if factors[o][axis] == 0 and wanted:
                raise Demand(o, axis, wanted)
            if factors[o][axis] != wanted:
                raise Refusal("operands grow by different factors")
        found.append(wanted)
    return found


@rule(ops.Elementwise)
def elementwise(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """Full operands grow alike; a broadcast one grows where they do and it is as long, and nowhere else."""
    assert isinstance(op, ops.Elementwise)
    full = tuple(i for i, small in enumerate(op.broadcast) if not small)
    result = agree(factors, shapes, range(len(out)), full)
    for i, f in enumerate(factors):
        if op.broadcast[i] and any(f):
            lead = len(out) - len(f)
            for axis, factor in enumerate(f):
                if factor and (lead < 0 or result[lead + axis] == 0):
                    if lead >= 0:
                        raise Demand(full[0], lead + axis, factor)
                    raise Refusal("a broadcast operand grows where the result has no dimension")
        if op.broadcast[i]:
            _follow(i, f, shapes[i], result, batch)
    return tuple(result)


def _follow(operand: int, factors: Factors, shape: Shape, result: list[int], batch: int) -> None:
    """Demand that a broadcast operand with a row for each example grows as the result does."""
    lead = len(result) - len(shape)
    for axis, size in enumerate(shape):
        wanted = result[lead + axis] if lead + axis >= 0 else 0
        if batch > 1 and wanted and not factors[axis] and int(size) == wanted * batch:
            raise Demand(operand, axis, wanted)


@rule(ops.Cast, movement.Slice, movement.Part, indexing.Scan)
def along(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """Whatever grows keeps growing, but for the axis that is cut or run along."""
    axis = getattr(op, "axis", None)
    if axis is not None and factors[0][axis]:
        raise Refusal("the batch is cut, or run along")
    return factors[0]


@rule(sampling.Fourier)
def fourier(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """There may be more rows, not longer ones."""
    assert isinstance(op, sampling.Fourier)
    fixed(factors[0], (op.axis, -1) if op.pairs else (op.axis,), "the batch is inside a row that is transformed")
    return factors[0]


@rule(ops.Softmax, indexing.Sort)
def rows(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """The last dimension is one row: it may not grow."""
    fixed(factors[0], (-1,), "the batch is inside a row that is normalised or sorted")
    agree(factors, shapes, range(len(factors[0])), tuple(range(len(factors))))
    return factors[0]


@rule(ops.Norm, ops.BatchNorm)
def norm(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """Channels may not grow; the statistics of a group norm are those of one image."""
    inner = range(1, len(factors[0])) if getattr(op, "form", "") == "group" else (len(factors[0]) - 1,)
    fixed(factors[0], inner, "the batch is inside what is normalised")
    unscaled(factors, 1, "the statistics grow with the batch")
    return factors[0]


@rule(Quantize)
def same_rows(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """Rows are rounded each by itself."""
    return factors[0]


@rule(ops.Reduce, ops.Statistic)
def reduce(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """What is reduced may not grow."""
    rank = len(factors[0])
    axes = {a % rank for a in op.axes}  # type: ignore[attr-defined]
    fixed(factors[0], tuple(axes), "the batch is reduced over")
    keep = op.keep  # type: ignore[attr-defined]
    return tuple(0 if i in axes else f for i, f in enumerate(factors[0]) if keep or i not in axes)


@rule(movement.Concat)
def concat(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """All but the axis of concatenation grow alike."""
    assert isinstance(op, movement.Concat)
    axis = op.axis % len(out)
    if any(f[axis] for f in factors):
        raise Refusal("parts of the batch are concatenated")
    result = [0] * len(out)
    for i in range(len(out)):
        if i != axis:
            result[i] = agree(factors, shapes, range(i, i + 1), tuple(range(len(factors))))[0]
    return tuple(result)


@rule(resampling.Pad)
def pad(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """What grows has no border."""
    assert isinstance(op, resampling.Pad)
    if any(f and (b or a) for f, b, a in zip(factors[0], op.before, op.after, strict=True)):
        raise Refusal("the batch is padded")
    return factors[0]


@rule(movement.Reshape, movement.Move)
def reshape(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """Follow the growing dimension through the new shape."""
    found = reshaped(factors[0], shapes[0], out, batch)
    if found is None:
        raise Refusal("it is ambiguous where the batch goes")
    return found


@rule(movement.Expand)
def expand(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """What grew keeps growing; whether a repeated axis is the batch shows where its result is used."""
    return factors[0]


@rule(movement.Embedding)
def embedding(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """The ids may grow, the table may not."""
    unscaled(factors, 1, "the table grows with the batch")
    return (*factors[0], 0)


@rule(indexing.Gather)
def gather(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """Every growing operand grows along its first axis, which is that of the result."""
    growing = [(f, s) for f, s in zip(factors, shapes, strict=True) if any(f)]
    if not growing:
        return (0,) * len(out)
    lead = growing[0][0][0]
    for f, s in growing:
        fixed(f, range(1, len(f)), "the batch is picked from by index")
        if f[0] != lead or not out or s[0] != out[0]:
            raise Refusal("the batch is picked from by index")
    return (lead, *(0,) * (len(out) - 1))


@rule(indexing.Update)
def update(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """The target grows with its values, along the first axis."""
    growing = max((max(f, default=0) for f in factors[1:2]), default=0)
    if growing and not any(factors[0]):
        raise Demand(0, 0, int(out[0]) // batch if int(out[0]) % batch == 0 else growing)
    return factors[0]


@rule(indexing.Fill)
def fill(op: Op, factors: tuple[Factors, ...], shapes: tuple[Shape, ...], out: Shape, batch: int) -> Factors:
    """Whether its size is the batch shows where it is used."""
    return (0,) * len(out)
