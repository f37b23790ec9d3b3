"""The backward pass of a graph as a graph of its own: it reads what the forward pass saved and the outputs' gradients.

Ops are walked in reverse, as autograd does; a tensor that several ops read sums their contributions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from roofline.graph.gradients import Scatter, SumTo
from roofline.graph.movement import Reshape
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Cast, Elementwise
from roofline.graph.tensor import Shape, Tensor
from roofline.graph.writer import GraphWriter
from roofline.numeric import Numeric, alike
from roofline.passes.backward.registry import RULES, check_rules

O = TypeVar("O", bound=Op, covariant=True)  # noqa: E741

#: functions whose result does not change with a small change of their operands
FLAT_FUNCTIONS = frozenset({"compare", "sign", "round", "logical", "threefry"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Backward:
    """The backward pass of a graph.

    Attributes
    ----------
    graph
        Its ops. What the forward pass saved and the gradients of the outputs enter it.
    gradients
        Parameter -> its gradient in `graph`.
    saved
        Activations of the forward pass whose bytes wait for the backward pass: those that its rules ask for, and what
        leaves the graph, which a block after it will read.
    """

    graph: OpGraph
    gradients: dict[str, str]
    saved: frozenset[str]


def backward_of(
    graph: OpGraph, wanted: frozenset[str] = frozenset(), *, recompute: bool = False, in_segments: bool = False
) -> Backward:
    """Return the backward pass of a graph.

    Parameters
    ----------
    graph
        The forward graph, rewritten and in its precision: gradients have the format of their tensors.
    wanted
        Inputs of the graph whose gradients somebody reads: what flows in from the block before, not the data.
    recompute
        Forward results are computed again from the inputs, in place of being saved.
    in_segments
        With `recompute`: also from some tensors in between, which are saved.

    Raises
    ------
    UnknownOpError
        An op between a parameter and an output has no rule.
    """
    tape = Tape(graph, wanted, recompute=recompute, in_segments=in_segments)
    behind, gradients = tape.run()
    roots = tape.saved | {graph.root(t) for t in graph.outputs}
    saved = frozenset(t for t in roots if graph.tensors[t].role == "activation")
    return Backward(graph=behind, gradients=gradients, saved=saved)


class Tape(GraphWriter):
    """Collects the backward graph of a forward graph; see `backward_of`."""

    def __init__(self, graph: OpGraph, wanted: frozenset[str], *, recompute: bool, in_segments: bool) -> None:
        super().__init__()
        self.source = graph
        self.wanted, self.recompute = wanted, recompute
        self.saved: set[str] = set()
        self.varying = _varying(graph, wanted)
        self.checkpoints = _checkpoints(graph, self.varying) if recompute and in_segments else frozenset()
        self._given: dict[str, list[Tensor]] = {}
        self._pieces: dict[str, list[Tensor]] = {}
        self._position = {op_id: i for i, op_id in enumerate(graph.order)}

    def run(self) -> tuple[OpGraph, dict[str, str]]:
        """Return the backward graph, and parameter -> its gradient."""
        for tensor in dict.fromkeys(self.source.outputs):
            if tensor in self.varying:
                y = self.source.tensors[tensor]
                self.give(tensor, self.put(Tensor(id=f"{tensor}.dy", shape=y.shape, dtype=y.dtype, role="input")))
        active = [i for i, op in self.source.ops.items() if any(t in self.varying for t in op.outputs)]
        check_rules(self.source, active)
        for op_id in reversed(active):
            op = self.source.op(op_id)
            if any(self.gradient(t) is not None for t in op.outputs):
                RULES[type(op)](Step(self, op_id, op))
        parameters = {}
        for name, stored in self.source.tensors.items():
            found = self.gradient(name) if stored.role == "parameter" else None
            if found is not None:
                parameters[name] = found.id
        inputs = [found.id for name in sorted(self.wanted) if (found := self.gradient(name)) is not None]
        outputs = tuple(dict.fromkeys([*inputs, *parameters.values()]))
        return OpGraph(self.ops, self.tensors, outputs, self.source.name), parameters

    # forward values -----------------------------------------------------------

    def value(self, tensor: str) -> Tensor:
        """Return a tensor of the forward pass as the backward pass finds it: stored, saved, or computed again."""
        if tensor not in self.tensors:
            missing: set[str] = set()
            stack = [tensor]
            while stack:
                name = stack.pop()
                producer = self.source.producers.get(name)
                if name in self.tensors or producer in missing:
                    continue
                op = self.source.ops.get(producer or "")
                again = self.recompute and name not in self.checkpoints
                if producer is None or op is None or not (again or op.family == "free"):
                    self._keep(name)
                    continue
                missing.add(producer)
                stack.extend(op.inputs)
            for op_id in sorted(missing, key=self._position.__getitem__):
                op = self.source.op(op_id)
                self.ops[f"{op_id}.again"] = op
                for out in op.outputs:
                    self.put(replace(self.source.tensors[out], role="activation"))
        return self.tensors[tensor]

    def _keep(self, name: str) -> None:
        tensor = self.source.tensors[name]
        if name in self.source.producers:
            self.saved.add(name)
        self.put(tensor if tensor.stored or tensor.kept else replace(tensor, role="saved"))

    # gradients ----------------------------------------------------------------

    def give(self, tensor: str, gradient: Tensor, *, piece: bool = False) -> None:
        """Add a contribution to the gradient of a forward tensor; a `piece` covers a part of it only."""
        like = self.source.tensors[tensor]
        if gradient.dtype is not like.dtype:
            gradient = self.add_op(f"{tensor}.dcast", Cast, gradient, dtype=like.dtype)
        (self._pieces if piece else self._given).setdefault(tensor, []).append(gradient)

    def gradient(self, tensor: str) -> Tensor | None:
        """Return the sum of all contributions to the gradient of a tensor; None where there is none."""
        pieces, given = self._pieces.pop(tensor, []), self._given.get(tensor, [])
        shape = self.source.tensors[tensor].shape
        if pieces:
            given = [*given, self.add_op(f"{tensor}.dparts", Scatter, *pieces, shape=shape)]
        total: Tensor | None = None
        for part in given:
            if total is not None:
                part = self.add_op(
                    f"{tensor}.dsum",
                    Elementwise,
                    total,
                    part,
                    function="add",
                    broadcast=(False, False),
                    times=self._times(tensor),
                )
            total = part
        if total is not None:
            self._given[tensor] = [total]
        return total

    def _times(self, tensor: str) -> Numeric:
        producer = self.source.producers.get(tensor)
        return 1 if producer is None else self.source.op(producer).times


def _checkpoints(graph: OpGraph, varying: frozenset[str]) -> frozenset[str]:
    """Return tensors to keep when everything else is computed again.

    Candidates are tensors through which all that varies must pass; of n about sqrt(n) are taken, evenly spread, which
    needs the least memory (Chen et al., arXiv 1604.06174). None where a network has no such tensor.
    """
    last: dict[str, int] = {}
    for i, op in enumerate(graph.ops.values()):
        for t in op.inputs:
            last[graph.root(t)] = i
    for t in graph.outputs:
        last[graph.root(t)] = len(graph)
    alive: set[str] = set()
    found: list[str] = []
    for i, op in enumerate(graph.ops.values()):
        alive |= {t for t in op.outputs if t in varying and graph.root(t) == t and last.get(t, i) > i}
        alive = {t for t in alive if last[t] > i}
        if len(alive) == 1 and (not found or found[-1] not in alive):
            found.extend(alive)
    count = math.isqrt(len(found))
    return frozenset(found[(i + 1) * len(found) // (count + 1)] for i in range(count))


def _varying(graph: OpGraph, wanted: frozenset[str]) -> frozenset[str]:
    """Return the tensors that depend on a parameter or a wanted input, through something with a derivative."""
    found = {
        t.id for t in graph.tensors.values() if t.dtype.differentiable and (t.id in wanted or t.role == "parameter")
    }
    for op in graph.ops.values():
        if isinstance(op, Elementwise) and op.function in FLAT_FUNCTIONS:
            continue
        if any(t in found for t in op.inputs):
            found.update(t for t in op.outputs if graph.tensors[t].dtype.differentiable)
    return frozenset(found)


@dataclass(frozen=True)
class Step(Generic[O]):
    """One forward op, and what its rule may ask for and give."""

    tape: Tape
    op_id: str
    op: O

    @property
    def dy(self) -> Tensor:
        """Gradient of the first result that has one."""
        return next(g for t in self.op.outputs if (g := self.tape.gradient(t)) is not None)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The operands, as the forward pass knows them: shapes and formats."""
        return tuple(self.tape.source.tensors[t] for t in self.op.inputs)

    def needs(self, position: int) -> bool:
        """Whether an operand is there and its gradient is needed."""
        return position < len(self.op.inputs) and self.op.inputs[position] in self.tape.varying

    def x(self, position: int = 0) -> Tensor:
        """Return the value of an operand."""
        return self.tape.value(self.op.inputs[position])

    def y(self) -> Tensor:
        """Return the value of the first result."""
        return self.tape.value(self.op.outputs[0])

    def give(self, position: int, gradient: Tensor, *, piece: bool = False) -> None:
        """Add to the gradient of an operand; one that was broadcast gets the sum."""
        if not self.needs(position):
            return
        shape = self.inputs[position].shape
        if not piece and not alike(gradient.shape, shape):
            gradient = self.add("dsum", SumTo, gradient, shape=shape, dtype=self.inputs[position])
        self.tape.give(self.op.inputs[position], gradient, piece=piece)

    def add(self, part: str, make: type[Op], *inputs: Tensor, dtype: Tensor | None = None, **fields: Any) -> Tensor:
        """Add an op with one result to the backward pass; it has the format of `dtype`, or of its first input."""
        return self.add_all(part, make, inputs, (dtype or inputs[0],), **fields)[0]

    def add_all(
        self, part: str, make: type[Op], inputs: tuple[Tensor, ...], dtypes: tuple[Tensor, ...], **fields: Any
    ) -> tuple[Tensor, ...]:
        """Add an op with several results, one for each tensor in `dtypes`, whose format it has."""
        formats = [t.dtype for t in dtypes]
        return self.tape.write(f"{self.op_id}.{part}", make, inputs, formats, times=self.op.times, **fields)

    def view(self, x: Tensor, shape: Shape) -> Tensor:
        """Return a tensor seen in another shape, or transposed: free."""
        return x if alike(x.shape, shape) else self.add("view", Reshape, x, shape=shape)

    def pointwise(self, part: str, function: str, *operands: Tensor, like: Tensor | None = None) -> Tensor:
        """Add an element-wise op; operands of another shape than the first are broadcast."""
        small = tuple(not alike(t.shape, operands[0].shape) for t in operands)
        return self.add(part, Elementwise, *operands, function=function, broadcast=small, dtype=like)
