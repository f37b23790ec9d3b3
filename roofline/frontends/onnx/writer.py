"""Where lowerings write: ops and tensors of the graph that is being built, and the values of the file over them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from roofline.dtypes import DTYPES, DType
from roofline.errors import GraphError, InputError
from roofline.frontends.onnx.values import Constant, Dims, Value, check_shape
from roofline.frontends.onnx.views import broadcast, identity, stored, view_order
from roofline.graph import movement
from roofline.graph.op import Op
from roofline.graph.ops import Elementwise
from roofline.graph.tensor import Role, Shape, Tensor
from roofline.graph.views import significant
from roofline.graph.writer import GraphWriter

#: ops and nodes of one model beyond which it is refused: functions that call functions grow exponentially
MAX_NODES = 200_000
#: elements of computed constants that are kept in memory; of the others only the shape is
MAX_KNOWN = 2**23
#: turns of a loop beyond which a trip count is a mistake
MAX_TURNS = 10**7


class Budget:
    """How much more a file may ask for."""

    def __init__(self) -> None:
        self.nodes = MAX_NODES
        self.elements = MAX_KNOWN

    def spend(self, amount: int = 1) -> None:
        """Count `amount` nodes.

        Raises
        ------
        GraphError
            The file has asked for too many.
        """
        self.nodes -= amount
        if self.nodes < 0:
            raise GraphError(f"the model unfolds into more than {MAX_NODES} nodes")

    def remembers(self, elements: int) -> bool:
        """Return whether the elements of another constant may be kept; small ones always are."""
        if elements > 64:
            self.elements -= elements
        return elements <= 64 or self.elements >= 0


class Writer(GraphWriter):
    """The graph that is being built; `place` is the name of the node that is being lowered, and of its ops."""

    def __init__(self, budget: Budget | None = None) -> None:
        super().__init__()
        self.place = "node"
        self.budget = budget or Budget()
        self._stored: dict[str, Tensor] = {}
        self._views: dict[tuple[str, Dims], Tensor] = {}
        self._dequantized: dict[int, tuple[Value, Value]] = {}

    def scratch(self) -> Writer:
        """Return an empty context, for what is computed once at load."""
        return Writer(self.budget)

    # adding -------------------------------------------------------------------

    def leaf(self, name: str, shape: Shape, dtype: DType, role: Role) -> Tensor:
        """Add a tensor that no op writes, under the name that the file gives it."""
        return self.put(Tensor(id=self.unique(name), shape=shape, dtype=dtype, role=role))

    def add(self, make: type[Op], *inputs: Tensor, dtype: DType | None = None, **fields: Any) -> Tensor:
        """Add an op with one output and return it; its dtype is that of the first input by default."""
        return self.add_op("", make, *inputs, dtype=dtype, **fields)

    def checked(self, op: Op, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Count an op and return the shapes of its results, in integers."""
        self.budget.spend()
        return tuple(check_shape(shape, f"{op.kind} result") for shape in shapes)  # type: ignore[arg-type]

    @contextmanager
    def repeated(self, times: int) -> Iterator[None]:
        """Run what is added inside so often.

        Raises
        ------
        InputError
            That is too often for a trip count.
        """
        if self.times * times > MAX_TURNS:
            raise InputError(f"a loop of {self.times * times} turns; allowed: up to {MAX_TURNS}")
        with super().repeated(times):
            yield

    def value(self, tensor: Tensor, order: Dims | None = None) -> Value:
        """Return a tensor as a value that is stored in `order`; as it is written by default."""
        shape = tuple(int(d) for d in tensor.shape)
        order = order or identity(len(shape))
        logical = [0] * len(shape)
        for size, axis in zip(shape, order, strict=True):
            logical[axis] = size
        return Value(shape=tuple(logical), dtype=tensor.dtype, tensor=tensor, order=order)

    # reading ------------------------------------------------------------------

    def read(self, value: Value, order: Dims | None = None, *, role: Role | None = None) -> Tensor:
        """Return the tensor of a value, its axes in `order`: a view where it is stored in another.

        Parameters
        ----------
        role
            What a constant is to the op that reads it; by default what is trained is a parameter.
        """
        order = identity(value.rank) if order is None else order
        if value.parts is not None:
            raise GraphError("a sequence stands where a tensor is read")
        wanted = stored(value.shape, order)
        if value.known:
            return self._constant(value, wanted, role)
        if value.quantized is not None and value.quantized.known:
            return self._constant(replace(value.quantized, dtype=value.dtype), wanted, role or "parameter")
        tensor = value.tensor if value.tensor is not None else self._dequantize(value).tensor
        if tensor is None:
            raise GraphError("a value without tensor is read")
        return tensor if tensor.shape == wanted else self.view(tensor, wanted)

    def view(self, tensor: Tensor, shape: Dims) -> Tensor:
        """Return a tensor in another shape of as many elements, without a copy."""
        key = (tensor.id, shape)
        if key not in self._views or self.tensors.get(self._views[key].id) is None:
            self._views[key] = self.add(movement.Reshape, tensor, shape=shape)
        return self._views[key]

    def _constant(self, value: Value, wanted: Dims, role: Role | None) -> Tensor:
        check_shape(wanted, "constant")
        constant = value.constant or Constant(name=f"{self.place}.constant")
        if constant.name not in self._stored:
            chosen = role or ("parameter" if constant.trained else "buffer")
            self._stored[constant.name] = self.leaf(constant.name, wanted, value.dtype, chosen)
        tensor = self._stored[constant.name]
        if tensor.elements != value.elements:
            raise GraphError(f"constant {constant.name!r} is read in two sizes")
        return tensor if tensor.shape == wanted else self.view(tensor, wanted)

    def _dequantize(self, value: Value) -> Value:
        source = value.quantized
        if source is None:
            raise GraphError("a value without tensor is read")
        if id(source) not in self._dequantized:
            self._dequantized[id(source)] = (source, self.pointwise("dequantize", source, dtype=value.dtype))
        return self.reshaped(self._dequantized[id(source)][1], value.shape)

    # common shapes of work ----------------------------------------------------

    def pointwise(self, function: str, *operands: Value, dtype: DType | None = None) -> Value:
        """Add `function` of broadcast operands; known scalars are immediates of the kernel."""
        shape = broadcast(*(v.shape for v in operands))
        read = [v for v in operands if not v.baked] or list(operands[:1])
        full = [v for v in read if v.elements == math.prod(shape)]
        lead = next((v for v in full if not v.known), full[0] if full else None)
        if lead is None:
            lead = self.expanded(max(read, key=lambda v: v.elements), shape)
            read = [lead, *(v for v in read if v.elements < lead.elements)]
        lead = self.reshaped(lead, shape)
        order = lead.order or identity(len(shape))
        tensors, small = [], []
        for value in read:
            whole = value.elements == math.prod(shape) and (value is lead or not value.known or lead.known)
            tensors.append(
                self.read(self.reshaped(value, shape), order) if whole else self.read(value, value.order or None)
            )
            small.append(not whole)
        if all(small):
            tensors, small = [self.read(lead, order), *tensors[1:]], [False, *small[1:]]
        out = self.add(
            Elementwise, *tensors, dtype=dtype or _widest(tensors), function=function, broadcast=tuple(small)
        )
        return self.value(out, order)

    def reshaped(self, value: Value, shape: Dims) -> Value:
        """Return `value` in another shape of as many elements: a view where its bytes allow it, else a copy."""
        if value.shape == shape:
            return value
        if value.elements != math.prod(shape):
            raise GraphError(f"a reshape changes {value.elements} elements into {math.prod(shape)}")
        data = None if value.data is None else value.data.reshape(shape)
        if value.quantized is not None:
            return replace(value, shape=shape, quantized=self.reshaped(value.quantized, shape))
        if value.known:
            return replace(value, shape=shape, data=data, order=())
        order = view_order(value.shape, value.order, shape)
        if order is None:
            value = self.copied(value)
            order = identity(len(shape))
        tensor = self.view(self.read(value, value.order), stored(shape, order))
        return Value(shape=shape, dtype=value.dtype, tensor=tensor, order=order)

    def copied(self, value: Value, order: Dims | None = None) -> Value:
        """Return `value` stored in `order` (by default as it is written): a copy where it is not yet."""
        order = identity(value.rank) if order is None else order
        if (
            value.known
            or value.tensor is None
            or significant(value.order, value.shape) == significant(order, value.shape)
        ):
            return value
        out = self.add(movement.Move, value.tensor, function="transpose", shape=stored(value.shape, order))
        return self.value(out, order)

    def transposed(self, value: Value, axes: Dims) -> Value:
        """Return `value` with its axes permuted: the bytes stay where they are."""
        shape = stored(value.shape, axes)
        if value.quantized is not None:
            return replace(value, shape=shape, quantized=self.transposed(value.quantized, axes))
        data = None if value.data is None else value.data.transpose(axes)
        order = tuple(axes.index(axis) for axis in value.order)
        return replace(value, shape=shape, data=data, order=order)

    def expanded(self, value: Value, shape: Dims) -> Value:
        """Return `value` broadcast to `shape`: a view that repeats its elements."""
        shape = check_shape(broadcast(value.shape, shape), "expanded tensor")
        value = self.reshaped(value, (1,) * (len(shape) - value.rank) + value.shape)
        if value.shape == shape:
            return value
        order = value.order or identity(len(shape))
        out = self.add(movement.Expand, self.read(value, order), shape=stored(shape, order))
        return self.value(out, order)


def _widest(tensors: Sequence[Tensor]) -> DType:
    """Return the format of an element-wise result: the widest floating operand's, else the first one's."""
    floats = [t.dtype for t in tensors if t.dtype.kind == "float"]
    return max(floats, key=lambda d: d.bits) if floats else (tensors[0].dtype if tensors else DTYPES["fp32"])
