"""What tests of graphs share: what costs something in them, and an op with two outputs."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Shape


def kinds(graph: OpGraph) -> list[str]:
    """Return the kinds of all ops that cost something."""
    return [op.kind for op in graph.ops.values() if op.family != "free"]


def functions(graph: OpGraph) -> list[str]:
    """Return what an eager runtime launches: function or kind of every op that is no view."""
    return [str(getattr(op, "function", op.kind)) for op in graph.ops.values() if op.family != "free"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Split(Op):
    """Two halves in one op: two tensors on one edge."""

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        half = (*shapes[0][:-1], shapes[0][-1] / 2)
        return half, half
