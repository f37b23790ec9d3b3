"""The same program for another number of examples, where it can be proven what grows with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from roofline.errors import InputError, RooflineError
from roofline.graph import indexing, movement, ops
from roofline.graph.dag import Dag
from roofline.graph.empty import without_empty
from roofline.graph.op import Op, show
from roofline.graph.reshaping import reshaped
from roofline.graph.scaling import RULES, Demand, Factors, Refusal
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import Numeric

G = TypeVar("G", bound=Dag)
#: a batch beyond it is a typing mistake; sizes stay exact in float64
MAX_BATCH = 1 << 20


def batch_of(graph: Dag) -> int:
    """Return the number of examples a graph was built for: what was stated, else the leading dimension of an input.

    Of the inputs with a leading dimension, in the order in which they are read, it is the first whose leading dimension
    an output has too; where there is none, the first of all. Inputs of two and more dimensions go before vectors: a
    time step, lengths or offsets beside the examples are no examples. A graph without such an input has one example.

    Raises
    ------
    InputError
        What was stated is no size of a batch.
    """
    if graph.stated_examples is not None:
        return _checked(graph.stated_examples, "examples")
    shapes = [shape for t in graph.inputs if (shape := graph.tensors[t].shape) and isinstance(shape[0], (int, float))]
    returned = {graph.tensors[t].shape[0] for t in graph.outputs if graph.tensors[t].shape}
    shapes.sort(key=lambda shape: (shape[0] not in returned, len(shape) < 2))  # a stable sort: first read, first taken
    return max(int(shapes[0][0]), 1) if shapes else 1


def _checked(batch: int, what: str) -> int:
    if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= MAX_BATCH:
        raise InputError(f"{what} must be a whole number in 1..{MAX_BATCH}, got {batch!r}")
    return batch


def with_batch(graph: G, batch: int) -> G:
    """Return `graph` for another number of examples.

    Every input whose leading dimension is the batch (see `batch_of`) has a row for each example. From there the growing
    dimensions are followed through every op; what was sized after the batch without depending on an input
    (zeros, a repeated class token, a key-value cache) grows where an op needs it to.

    Raises
    ------
    InputError
        The batch is out of range, or an op mixes examples (a sum over the batch, a part of it), or its shapes leave
        open where the batch goes: lower the program again at the batch you want.

    Examples
    --------
    >>> from roofline.graph.builder import GraphBuilder
    >>> b = GraphBuilder("tiny")
    >>> x = b.input("tokens", (1, 16, 8))
    >>> graph = b.graph([b.linear(b.reshape(x, (16, 8)), 4)])
    >>> with_batch(graph, 32).macs / graph.macs
    32.0
    """
    graph = without_empty(graph)
    old = batch_of(graph)
    if _checked(batch, "batch") == old:
        return graph
    if not any(graph.tensors[t].shape[:1] == (old,) for t in graph.inputs):
        raise InputError(
            f"{graph.name}: no input has the batch of {old} as its leading dimension: it cannot be changed"
        )
    stated = None if graph.stated_examples is None else batch
    grown = type(graph)(*_Growth(graph, old).result(batch), graph.outputs, graph.name, examples=stated)
    try:
        grown.check_shapes()
    except RooflineError as error:
        raise InputError(f"{graph.name}: the batch cannot be changed to {batch}: {error}") from None
    return grown


class _Growth:
    def __init__(self, graph: Dag, batch: int) -> None:
        self.graph = graph
        self.batch = batch
        self.chosen: dict[str, dict[int, int]] = {}  # op -> axis -> factor, for what is sized after the batch
        self.repeated: dict[tuple[str, str], dict[int, int]] = {}  # (op, stored operand) -> axis -> factor
        self.state: dict[str, dict[int, int]] = {}  # state -> axis -> factor, where an op needs it to grow
        self.factors: dict[str, Factors] = {}

    def result(self, batch: int) -> tuple[dict[str, Op], dict[str, Tensor]]:
        while not self._settled():
            pass
        return self._rewritten(batch)

    def _settled(self) -> bool:
        """Follow the batch through the graph; False where something turned out to be sized after it."""
        self.factors = {}
        inputs = set(self.graph.inputs)
        for t in self.graph.tensors.values():
            scaled = t.id in inputs and bool(t.shape) and t.shape[0] == self.batch
            grown = self.state.get(t.id, {})
            self.factors[t.id] = tuple(grown.get(i, int(scaled and i == 0)) for i in range(len(t.shape)))
        for op_id, op in self.graph.ops.items():
            rule = RULES.get(type(op))
            operands = tuple(self._operand(op_id, t) for t in op.inputs)
            if rule is None:
                if any(any(f) for f in operands):
                    raise self._refuse(op_id, f"kind {op.kind!r} has no batch rule")
                continue
            shapes = tuple(self.graph.tensors[t].shape for t in op.inputs)
            out = self.graph.tensors[op.outputs[0]].shape
            try:
                found = list(rule(op, operands, shapes, out, self.batch))
            except Refusal as why:
                raise self._refuse(op_id, str(why)) from None
            except Demand as demand:
                self._demand(op_id, op.inputs[demand.operand], demand.axis, demand.factor)
                return False
            for axis, factor in self.chosen.get(op_id, {}).items():
                found[axis] = factor
            self._check_exact(op_id, op, tuple(found))
            self.factors.update(dict.fromkeys(op.outputs, tuple(found)))
        return True

    def _operand(self, op_id: str, tensor: str) -> Factors:
        factors = list(self.factors[tensor])
        for axis, factor in self.repeated.get((op_id, tensor), {}).items():
            factors[axis] = factor
        return tuple(factors)

    def _check_exact(self, op_id: str, op: Op, factors: Factors) -> None:
        for name in op.outputs:
            shape = self.graph.tensors[name].shape
            if len(shape) != len(factors) or any(
                f and f * self.batch != d for f, d in zip(factors, shape, strict=True)
            ):
                raise self._refuse(op_id, f"its output {show(shape)} is not a multiple of the batch")

    def _refuse(self, op_id: str, why: str) -> InputError:
        shapes = ", ".join(show(self.graph.tensors[t].shape) for t in self.graph.op(op_id).inputs)
        return InputError(
            f"{self.graph.name}: the batch of {self.batch} cannot be changed at op {op_id!r} ({shapes}): {why}; "
            f"lower the program again at the batch you want"
        )

    def _demand(self, op_id: str, tensor: str, axis: int, factor: int) -> None:
        """Let an operand grow: what it is made from was sized after the batch, or it is repeated for every example."""
        if self._sized_after_batch(tensor, axis, factor):
            return
        size, op = self.graph.tensors[tensor].shape[axis], self.graph.op(op_id)
        stored = self.graph.tensors[self.graph.root(tensor)].stored  # what is computed may have been repeated before
        if not stored or size != 1 or axis in self.repeated.get((op_id, tensor), {}) or op.in_place:
            raise self._refuse(op_id, f"operand {tensor!r} does not grow with the batch")
        self.repeated.setdefault((op_id, tensor), {})[axis] = factor

    def _sized_after_batch(self, tensor: str, axis: int, factor: int) -> bool:
        """Find the zeros or the repetition that a tensor is made from, and let them grow; return whether there are."""
        producer_id = self.graph.producers.get(tensor)
        if self.graph.tensors[tensor].shape[axis] != factor * self.batch:
            return False
        if producer_id is None:
            grows = self.graph.tensors[tensor].kept and axis not in self.state.get(tensor, {})
            if grows:
                self.state.setdefault(tensor, {})[axis] = factor
            return grows
        producer = self.graph.op(producer_id)
        if isinstance(producer, (indexing.Fill, movement.Expand)):
            grows = axis not in self.chosen.get(producer_id, {})
            self.chosen.setdefault(producer_id, {})[axis] = factor
            return grows
        made_from = self._made_from(producer, axis, factor)
        return any(not self.factors[t][i] and self._sized_after_batch(t, i, factor) for t, i in made_from)

    def _made_from(self, op: Op, axis: int, factor: int) -> list[tuple[str, int]]:
        """Return the operands whose axis is an output's, as far as that is plain."""
        if isinstance(op, ops.Elementwise):
            return [(t, axis) for t, small in zip(op.inputs, op.broadcast, strict=True) if not small]
        if isinstance(op, movement.Concat):
            return [(t, axis) for t in op.inputs]
        if isinstance(op, (movement.Reshape, movement.Move)):
            old, new = (self.graph.tensors[t].shape for t in (op.inputs[0], op.outputs[0]))
            before = reshaped(tuple(factor * (i == axis) for i in range(len(new))), new, old, self.batch)
            return [(op.inputs[0], i) for i, f in enumerate(before or ()) if f == factor]
        same_rank = len(self.graph.tensors[op.inputs[0]].shape) == len(self.graph.tensors[op.outputs[0]].shape)
        if axis == 0 or same_rank:
            return [(op.inputs[0], axis)]
        return []

    def _rewritten(self, batch: int) -> tuple[dict[str, Op], dict[str, Tensor]]:
        made: dict[str, Op] = {}
        tensors = {
            t.id: replace(t, shape=_grown(t.shape, self.factors[t.id], batch)) if any(self.factors[t.id]) else t
            for t in self.graph.tensors.values()
        }
        for op_id, op in self.graph.ops.items():
            fields: dict[str, Any] = {}
            if hasattr(op, "shape"):
                fields["shape"] = tensors[op.outputs[0]].shape
            inputs = list(op.inputs)
            for position, name in enumerate(op.inputs):
                grown = self.repeated.get((op_id, name))
                if grown and isinstance(op, ops.Elementwise):
                    small = tuple(s or i == position for i, s in enumerate(op.broadcast))
                    op = replace(op, broadcast=small)
                elif grown:
                    inputs[position] = self._repeat(made, tensors, op_id, name, batch)
            made[op_id] = replace(op, inputs=tuple(inputs), **fields) if fields or inputs != list(op.inputs) else op
        return made, tensors

    def _repeat(self, made: dict[str, Op], tensors: dict[str, Tensor], op_id: str, name: str, batch: int) -> str:
        """Insert the view that repeats a stored operand for every example."""
        wide = _grown(tensors[name].shape, self._operand(op_id, name), batch)
        view = f"{op_id}/{name.rpartition('/')[2]}_repeated"
        tensors[f"{view}:0"] = Tensor(id=f"{view}:0", shape=wide, dtype=tensors[name].dtype)
        made[view] = movement.Expand(
            inputs=(name,), outputs=(f"{view}:0",), shape=wide, times=self.graph.op(op_id).times
        )
        return f"{view}:0"


def _grown(shape: Shape, factors: Factors, batch: int) -> Shape:
    sizes: list[Numeric] = [f * batch if f else d for f, d in zip(factors, shape, strict=True)]
    return tuple(sizes)
