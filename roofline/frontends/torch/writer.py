"""Writing the op graph while a program runs: torch tensors become values, calls become ops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

from roofline.dtypes import DTYPES, DType
from roofline.errors import InputError
from roofline.frontends.torch import values as views
from roofline.frontends.torch.values import Dims, Node, Value
from roofline.graph import indexing, movement, ops
from roofline.graph.op import Op
from roofline.graph.tensor import Role, Tensor
from roofline.graph.writer import GraphWriter
from roofline.text import pairs

_NAMES = pairs(
    "float32=fp32 float64=fp64 float16=fp16 bfloat16=bf16 complex64 int64 uint64=int64 int32 uint32=int32 "
    "int16=int32 uint16=int32 int8 uint8=int8 bool complex32 complex128 float8_e4m3fn=fp8 float8_e5m2=fp8 "
    "float8_e4m3fnuz=fp8 float8_e5m2fnuz=fp8"
)
_DTYPES = {getattr(torch, name): DTYPES[ours] for name, ours in _NAMES.items() if hasattr(torch, name)}


def dtype_of(tensor: torch.Tensor) -> DType:
    """Return the storage format of a torch tensor; 16-bit integers count as 32 bits.

    Raises
    ------
    InputError
        Quantised, sparse and other formats that the op graph does not know.
    """
    found = _DTYPES.get(tensor.dtype)
    if found is None or tensor.layout is not torch.strided:
        raise InputError(f"unsupported tensor: dtype {str(tensor.dtype)!r}, layout {str(tensor.layout)!r}")
    return found


class Writer(GraphWriter):
    """Collects ops and tensors; rules of ops call its methods."""

    def __init__(self) -> None:
        super().__init__()
        self.op_name = ""
        self.packed: dict[int, tuple[Any, list[Value]]] = {}  # objects that hold weights, and these
        self.in_place = False  # the op that is being lowered writes to one of its arguments
        self.partial = False  # ... which shows a part of another tensor
        self._overwrites: list[tuple[Node, Node]] = []

    # tensors -------------------------------------------------------------------

    def leaf(
        self, name: str, like: torch.Tensor, role: Role, *, tied: bool = False, dtype: DType | None = None
    ) -> Value:
        """Return a value that enters the graph; it gets its place there when it is first read."""
        return views.whole(
            Node(shape=tuple(like.shape), dtype=dtype or dtype_of(like), name=name, role=role, tied=tied)
        )

    def tensor(self, v: Value, order: Iterable[int] | None = None) -> Tensor:
        """Return the graph's tensor of a value, its axes the torch dimensions in `order` (any order if None)."""
        if order is not None:
            wanted = tuple(d % v.rank for d in order)
            if v.node.role == "input" and not v.node.placed:
                views.settle(v, wanted, batch_first=True)
            v = views.in_order(v, wanted)
            if v.node.leaf and not v.node.placed:
                views.settle(v, wanted)
        node = v.node
        if node.tensor is None:
            self._place(node)
        assert node.tensor is not None
        return node.tensor

    def _place(self, node: Node) -> None:
        if node.beside is not None:
            node.tensor = self._widened(node.beside.tensor, node.dtype)
            return
        if node.source is not None:
            self._place_view(node)
            return
        if node.make is not None:  # memory that nobody has written yet
            (node.tensor,) = self.write("fill", node.make, (), [node.dtype], shapes=[node.shape], **node.fields)
            return
        node.axes = node.axes or tuple(range(len(node.shape)))
        shape = tuple(node.shape[a] for a in node.axes)
        made = Tensor(id=self.unique(node.name), shape=shape, dtype=node.dtype, role=node.role, tied=node.tied)
        node.tensor = self.put(made)

    def _widened(self, first: Tensor | None, dtype: DType) -> Tensor:
        """Give an op a second output like its first."""
        assert first is not None
        op_id = next(i for i in reversed(self.ops) if first.id in self.ops[i].outputs)
        made = Tensor(id=self.unique(f"{op_id}:1"), shape=first.shape, dtype=dtype)
        self.ops[op_id] = replace(self.ops[op_id], outputs=(first.id, made.id))
        return self.put(made)

    def _place_view(self, node: Node) -> None:
        """Add the ops of a view and of the views it looks through, oldest first."""
        chain = [node]
        while (source := chain[-1].source) is not None and source.node.tensor is None and source.node.source:
            chain.append(source.node)
        for view in reversed(chain):
            if view.tensor is None:
                assert view.source is not None and view.make is not None
                shown = self.tensor(view.source)
                (view.tensor,) = self.write(
                    view.make.kind, view.make, [shown], [view.dtype], shapes=[view.shape], **view.fields
                )

    def beside(self, v: Value, out: torch.Tensor) -> Value:
        """Return another result, of the shape of `v`, of the op that has written `v`: there when somebody reads it."""
        node = Node(shape=v.node.shape, dtype=dtype_of(out), axes=tuple(range(v.rank)), beside=v.node)
        return Value(node=node, order=v.order)

    def window(self, v: Value, out: torch.Tensor) -> Value:
        """Return any other view of the bytes of `v`, by strides or in another dtype."""
        shape, shown = tuple(out.shape), views.settled(v)
        return views.whole(
            Node(shape=shape, dtype=dtype_of(out), source=shown, make=movement.Window, fields={"shape": shape})
        )

    # ops -----------------------------------------------------------------------

    def emit(
        self,
        make: type[Op],
        inputs: Iterable[Tensor],
        out: torch.Tensor,
        *,
        order: Iterable[int] | None = None,
        torch_shape: Dims | None = None,
        name: str = "",
        **fields: Any,
    ) -> Value:
        """Add an op with one output and return it.

        Parameters
        ----------
        make, inputs, fields
            The op and its operands; a field ``shape`` is filled in.
        out
            What torch returned: dtype, and unless stated shape.
        order
            Torch dimension of each axis of the result; torch's own order by default.
        torch_shape
            The shape torch sees, where it is not that of `out`.
        """
        sizes = tuple(out.shape) if torch_shape is None else torch_shape
        axes = tuple(range(len(sizes))) if order is None else tuple(d % max(len(sizes), 1) for d in order)
        stated = tuple(sizes[d] for d in axes)
        if "shape" in make.__dataclass_fields__:
            fields["shape"] = stated
        made = self.write(name or self.op_name, make, tuple(inputs), [dtype_of(out)], shapes=[stated], **fields)[0]
        return Value(node=Node(shape=stated, dtype=made.dtype, tensor=made), order=axes)

    def emit_many(
        self, make: type[Op], inputs: Iterable[Tensor], outs: Iterable[torch.Tensor], order: Dims, **fields: Any
    ) -> tuple[Value, ...]:
        """Add an op with several outputs of one order of axes and return them."""
        outs = tuple(outs)
        shapes = [tuple(out.shape[d] for d in order) for out in outs]
        made = self.write(self.op_name, make, tuple(inputs), [dtype_of(out) for out in outs], shapes=shapes, **fields)
        return tuple(
            Value(node=Node(shape=s, dtype=t.dtype, tensor=t), order=order) for t, s in zip(made, shapes, strict=True)
        )

    # memory --------------------------------------------------------------------

    def overwrite(self, held: Value, value: Value) -> None:
        """Note that the op that made `value` writes it over `held`."""
        self._overwrites.append((_source(held.node), _source(value.node)))

    def name_memory(self) -> None:
        """Say of every op that wrote in place which tensor it wrote over: `Op.into`.

        Memory that nobody had written before (``torch.empty``) is the result's own.
        """
        makers = {op.outputs[0]: op_id for op_id, op in self.ops.items()}
        for held, made in self._overwrites:
            if held.tensor is None and held.leaf:
                self._place(held)
            if held.tensor is None or made.tensor is None or held is made or made.tensor.id not in makers:
                continue
            op_id = makers[made.tensor.id]
            self.ops[op_id] = replace(self.ops[op_id], into=(held.tensor.id,))

    # element-wise --------------------------------------------------------------

    def pointwise(self, function: str, out: torch.Tensor, *operands: object) -> Value:
        """`function` of the operands (values; numbers count for nothing), broadcast to the shape of `out`."""
        values = [v for v in operands if isinstance(v, Value)]
        shape = tuple(out.shape)
        if not values:
            return self.emit(indexing.Fill, (), out, function=function)
        full = [v for v in values if v.shape == shape]
        if not full:
            biggest = max(values, key=lambda v: v.elements)
            full = [views.expand(biggest, shape)]
            values[values.index(biggest)] = full[0]
        main = next((v for v in full if not v.node.leaf), full[0])
        order = views.settled(main).stored
        inputs, small = [], []
        for v in values:
            broadcast = v.shape != shape
            small.append(broadcast)
            inputs.append(self.tensor(v) if broadcast else self.tensor(v, order))
        return self.emit(
            ops.Elementwise,
            inputs,
            out,
            order=order,
            function=function,
            broadcast=tuple(small),
            keeps_dtype=self.in_place and not small[0],
        )


def _source(node: Node) -> Node:
    """Return what a view shows."""
    while node.source is not None:
        node = node.source.node
    return node
