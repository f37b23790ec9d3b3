"""Walks a jaxpr and writes ops: tensors, views and copies; the rules say what each primitive is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roofline.dtypes import DType
from roofline.errors import InputError, RooflineError, UnknownOpError
from roofline.frontends.jax.registry import lower_all, place
from roofline.frontends.jax.values import Constant, Operand, Value, dtype_of
from roofline.graph.indexing import Fill
from roofline.graph.movement import Expand, Move, Reshape
from roofline.graph.op import Op, show
from roofline.graph.tensor import Shape, Tensor
from roofline.graph.writer import GraphWriter
from roofline.numeric import same

#: a program of more equations than this is not a network
MAX_OPS = 1_000_000


class Lowerer(GraphWriter):
    """The graph as far as it is written.

    Attributes
    ----------
    products
        Op id of a matrix product -> its batch, row and column axes as the program had them.
    causal
        Tensors that hold a causal mask.
    """

    def __init__(self) -> None:
        super().__init__()
        self.products: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {}
        self.causal: set[str] = set()
        self.unknown: dict[str, list[tuple[str, str]]] = {}

    emit = GraphWriter.add_op

    def checked(self, op: Op, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return shapes in integers; a program without end is refused."""
        if len(self.ops) >= MAX_OPS:
            raise InputError(f"the program has more than {MAX_OPS:,} ops")
        return tuple(tuple(int(d) for d in shape) for shape in shapes)

    # views and copies ----------------------------------------------------------

    def reshape(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """Return a tensor seen in another shape: free."""
        wanted = tuple(shape)
        if len(wanted) == len(tensor.shape) and all(map(same, wanted, tensor.shape)):
            return tensor
        return self.emit("view", Reshape, tensor, shape=wanted)

    def fill(self, constant: Constant, shape: Sequence[int] | None = None) -> Tensor:
        """Return a tensor written from nothing."""
        made = self.emit_fill(constant.core if shape is None else tuple(shape), constant.dtype)
        if constant.causal:
            self.causal.add(made.id)
        return made

    def emit_fill(self, shape: Sequence[int], dtype: DType, function: str = "full") -> Tensor:
        """Return a tensor of `shape` written from nothing."""
        return self.emit("fill", Fill, dtype=dtype, shape=tuple(shape), function=function)

    def value(self, operand: Operand) -> Value:
        """Return an operand in memory; a constant is written there."""
        if isinstance(operand, Value):
            return operand
        return Value.plain(self.fill(operand, operand.shape))

    def spread(self, value: Value) -> Value:
        """Return a value without repeated axes: the repetition becomes a view of the tensor."""
        if not value.repeated:
            return value
        order = sorted((*value.order, *value.repeated))
        small = self.reshape(value.tensor, [1 if i in value.repeated else value.shape[i] for i in order])
        large = self.emit("expand", Expand, small, shape=tuple(value.shape[i] for i in order))
        axes = [order.index(i) if i in order else None for i in range(len(value.shape))]
        return Value(tensor=large, shape=value.shape, axes=tuple(axes))

    def arranged(self, value: Value, order: Sequence[int]) -> Tensor:
        """Return a tensor with the logical axes in `order`, as a view: for ops that read memory in any order."""
        return self.reshape(self.spread(value).tensor, [value.shape[i] for i in order])

    def canonical(self, value: Value) -> Tensor:
        """Return a tensor with the logical axes in their own order; copied where memory has them in another."""
        return self.ordered(value, range(len(value.shape)))

    def ordered(self, value: Value, order: Sequence[int]) -> Tensor:
        """Return a tensor with the logical axes in `order`; copied where memory has them in another."""
        value = self.spread(value)
        shape = tuple(value.shape[i] for i in order)
        if value.order == tuple(i for i in order if value.shape[i] != 1) or value.tensor.stored:
            return self.reshape(value.tensor, shape)
        return self.emit("transpose", Move, value.tensor, function="transpose", shape=shape)

    # walking -------------------------------------------------------------------

    def run(self, jaxpr: Any, operands: Sequence[Operand]) -> list[Operand]:
        """Write the equations of a jaxpr; return what its outputs stand for."""
        known: dict[Any, Operand] = dict(zip((*jaxpr.constvars, *jaxpr.invars), operands, strict=True))

        def read(atom: Any) -> Operand:
            return known[atom] if not hasattr(atom, "val") else literal(atom)

        for equation in jaxpr.eqns:
            with self.scope(place(equation)):
                results = self._lowered(equation, [read(atom) for atom in equation.invars])
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _lowered(self, equation: Any, operands: list[Operand]) -> Sequence[Operand]:
        where = f"primitive {equation.primitive.name!r} at {self.place or 'the top'!r}"
        try:
            found = lower_all(self, equation, operands)
            return self._missing(equation) if found is None else found
        except RooflineError as error:
            if not getattr(error, "__notes__", None):
                error.add_note(f"in {where}")
            raise
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, StopIteration) as error:
            raise UnknownOpError(f"the lowering rule of {where} does not know this form of it: {error}") from error

    def closed(self, closed: Any, operands: Sequence[Operand]) -> list[Operand]:
        """Write a closed jaxpr, whose captured arrays are buffers."""
        return self.run(closed.jaxpr, [*(self.captured(c) for c in closed.consts), *operands])

    def captured(self, array: Any) -> Operand:
        """Return an array that the program holds: a number, or a buffer."""
        dtype = dtype_of(array)
        if not getattr(array, "shape", ()):
            return Constant(shape=(), dtype=dtype, value=number(array))
        return Value.plain(self.enter("captured", tuple(array.shape), "buffer", dtype))

    def _missing(self, equation: Any) -> list[Operand]:
        operands = ", ".join(show(getattr(v.aval, "shape", ())) for v in equation.invars)
        self.unknown.setdefault(equation.primitive.name, []).append((self.place, operands))
        shapes = [tuple(getattr(v.aval, "shape", ())) for v in equation.outvars]
        return [Value.plain(self.enter("unknown", shape, "activation")) for shape in shapes]

    def refuse_unknown(self, name: str) -> None:
        """Raise if the program has primitives without a rule: one message for all.

        Raises
        ------
        UnknownOpError
            Names each primitive, how often it occurs, where first, and the shapes there.
        """
        if not self.unknown:
            return
        kinds = "; ".join(
            f"{primitive!r} x{len(found)}, first at {found[0][0] or 'the top'!r} ({found[0][1]})"
            for primitive, found in self.unknown.items()
        )
        raise UnknownOpError(
            f"{name}: no lowering rule for {kinds}: register one with @roofline.frontends.jax.rule('PRIMITIVE')"
        )


def literal(atom: Any) -> Constant:
    """Return a literal of a jaxpr."""
    return Constant(shape=tuple(getattr(atom.aval, "shape", ())), dtype=dtype_of(atom.aval), value=number(atom.val))


def number(array: Any) -> float | int | bool | None:
    """Return the Python number in a scalar array; None for a random key."""
    try:
        item = array.item() if hasattr(array, "item") else array
    except (TypeError, ValueError, NotImplementedError):
        return None
    return item if isinstance(item, (bool, int, float)) else None
