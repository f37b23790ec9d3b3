"""Where rules write: ops of the graph, views and copies of arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence

from roofline.dtypes import DType
from roofline.errors import InputError
from roofline.frontends.jax.values import Constant, Operand, Value
from roofline.graph.indexing import Fill
from roofline.graph.movement import Expand, Move, Reshape
from roofline.graph.op import Op
from roofline.graph.tensor import Shape, Tensor
from roofline.graph.writer import GraphWriter
from roofline.numeric import alike

#: a program of more equations than this is not a network
MAX_OPS = 1_000_000


class Writer(GraphWriter):
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
        if alike(wanted, tensor.shape):
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
