"""The structure of a program: a checked networkx.DiGraph with one typed op per node."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import networkx as nx

from roofline.errors import GraphError
from roofline.graph.op import Op, show
from roofline.graph.tensor import Tensor
from roofline.numeric import same


class Dag:
    """A graph of ops over named tensors that holds together: who writes a tensor, who reads it, in which order.

    Parameters and errors are those of `roofline.graph.opgraph.OpGraph`, which also counts and is saved.
    """

    def __init__(
        self,
        ops: Mapping[str, Op],
        tensors: Mapping[str, Tensor],
        outputs: tuple[str, ...],
        name: str = "graph",
        *,
        examples: int | None = None,
    ) -> None:
        self.name = name
        self.stated_examples = examples
        self.tensors = dict(tensors)
        self.outputs = tuple(outputs)
        self.producers: dict[str, str] = {}
        self.digraph: nx.DiGraph[str] = nx.DiGraph()
        for op_id, op in ops.items():
            if not isinstance(op, Op):
                raise GraphError(f"{name}: node {op_id!r} is not an op but {type(op).__name__!r}")
            self.digraph.add_node(op_id, op=op)
            for tensor in op.outputs:
                if tensor in self.producers:
                    raise GraphError(
                        f"{name}: tensor {tensor!r} is written by {self.producers[tensor]!r} and {op_id!r}"
                    )
                self.producers[tensor] = op_id
        for op_id, op in ops.items():
            self._connect(op_id, op)
        for tensor in self.outputs:
            if tensor not in self.tensors:
                raise GraphError(f"{name}: output {tensor!r} is not a tensor of the graph")
            self._check_origin(tensor, "the outputs")
        position = {op_id: i for i, op_id in enumerate(ops)}
        try:
            order = tuple(nx.lexicographical_topological_sort(self.digraph, key=position.__getitem__))
        except nx.NetworkXUnfeasible:
            cycle = " -> ".join(edge[0] for edge in nx.find_cycle(self.digraph))
            raise GraphError(f"{name}: the graph has a cycle: {cycle}") from None
        self.order: tuple[str, ...] = order

    def _connect(self, op_id: str, op: Op) -> None:
        for tensor in (*op.inputs, *op.outputs):
            if tensor not in self.tensors:
                raise GraphError(f"{self.name}: op {op_id!r} uses tensor {tensor!r}, which is not in the graph")
        by_producer: dict[str, list[str]] = {}
        for tensor in dict.fromkeys(op.inputs):
            self._check_origin(tensor, f"op {op_id!r}")
            if tensor in self.producers:
                by_producer.setdefault(self.producers[tensor], []).append(tensor)
        for producer, ids in by_producer.items():
            self.digraph.add_edge(producer, op_id, tensors=tuple(ids))

    def _check_origin(self, tensor: str, reader: str) -> None:
        if tensor not in self.producers and self.tensors[tensor].role == "activation":
            raise GraphError(f"{self.name}: dangling tensor {tensor!r}, read by {reader}, written by nobody")

    def op(self, op_id: str) -> Op:
        """Return the op of a node."""
        op: Op = self.digraph.nodes[op_id]["op"]
        return op

    @cached_property
    def ops(self) -> dict[str, Op]:
        """Op id -> op in execution order."""
        return {op_id: self.op(op_id) for op_id in self.order}

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Ids of the tensors that enter the graph, in the order in which they are first read."""
        read = dict.fromkeys(t for op in self.ops.values() for t in op.inputs)
        return tuple(t for t in read if self.tensors[t].role == "input")

    @cached_property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """Tensor id -> ids of the ops that read it, in execution order."""
        found: dict[str, list[str]] = {tensor: [] for tensor in self.tensors}
        for op_id, op in self.ops.items():
            for tensor in dict.fromkeys(op.inputs):
                found[tensor].append(op_id)
        return {tensor: tuple(ids) for tensor, ids in found.items()}

    @cached_property
    def _roots(self) -> dict[str, str]:
        roots: dict[str, str] = {}
        for op in self.ops.values():
            if op.family == "free":
                for tensor in op.outputs:
                    roots[tensor] = roots.get(op.inputs[0], op.inputs[0])
        return roots

    def root(self, tensor: str) -> str:
        """Return the tensor whose bytes `tensor` is a view of; itself, where it is no view."""
        return self._roots.get(tensor, tensor)

    @cached_property
    def memories(self) -> dict[str, str]:
        """Result that is written in place -> the first tensor that had its memory; see `memory`."""
        found: dict[str, str] = {}
        for op in self.ops.values():
            for result, target in zip(op.outputs, op.into or (op.inputs[:1] if op.in_place else ()), strict=False):
                owner = self.root(target)
                if owner in self.tensors and (op.into or not self.tensors[owner].stored):
                    found[result] = found.get(owner, owner)
        return found

    def memory(self, tensor: str) -> str:
        """Return the tensor whose memory holds the bytes of `tensor`: the first one that was there.

        A view has the memory of what it shows. The result of an op that writes in place has that of the tensor it
        writes over: of `Op.into`; without one, an update has that of its target, unless this is a weight, which is
        copied first. Every other result has memory of its own.
        """
        root = self.root(tensor)
        return self.memories.get(root, root)

    def stays(self, tensor: str) -> bool:
        """Whether a tensor has its place in memory all the time: a cache or state that is written over."""
        return self.tensors[tensor].kept and tensor in self.overwritten

    @cached_property
    def overwritten(self) -> frozenset[str]:
        """Tensors whose memory an op writes its result into."""
        return frozenset(self.memories.values())

    @cached_property
    def results(self) -> frozenset[str]:
        """Tensors that must reach memory even where nobody inside reads them: what is returned, and written state."""
        kept = {t for t, owner in self.memories.items() if self.tensors[owner].kept}
        return frozenset(kept | {self.root(t) for t in self.outputs})

    def effective_readers(self, tensor: str) -> tuple[str, ...]:
        """Return the ops that read a tensor's bytes, through views too; views themselves read nothing."""
        found: dict[str, None] = {}
        for reader in self.readers[tensor]:
            op = self.op(reader)
            if op.family != "free":
                found[reader] = None
                continue
            for view in op.outputs:
                found.update(dict.fromkeys(self.effective_readers(view)))
        return tuple(found)

    def arguments(self, op: Op) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the input and the output tensors of an op."""
        return tuple(self.tensors[t] for t in op.inputs), tuple(self.tensors[t] for t in op.outputs)

    def check_shapes(self) -> None:
        """Raise unless every op infers the shapes that its output tensors state.

        Raises
        ------
        ShapeError
            Names the op and both shapes.
        """
        for op in self.ops.values():
            self.check_op(op)

    def check_op(self, op: Op) -> None:
        """Raise unless one op infers the shapes that its output tensors state; see `check_shapes`."""
        inputs, outputs = self.arguments(op)
        if op.family == "free" and not inputs:
            raise op.fail("a view of nothing")
        inferred = op.infer(*(t.shape for t in inputs))
        if len(inferred) != len(outputs):
            raise op.fail(f"{len(outputs)} outputs stated, {len(inferred)} inferred")
        for tensor, shape in zip(outputs, inferred, strict=True):
            if len(shape) != len(tensor.shape) or not all(map(same, shape, tensor.shape)):
                raise op.fail(f"stated shape {show(tensor.shape)}, inferred {show(shape)}")

    def __len__(self) -> int:
        return len(self.order)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self)} ops, {len(self.tensors)} tensors)"
