"""Helpers that passes share."""

from __future__ import annotations

from dataclasses import replace

from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.writer import GraphWriter, assembled


class Rewriter(GraphWriter):
    """Collects the ops and tensors of a new graph while a pass walks the old one."""

    def __init__(self, graph: OpGraph) -> None:
        super().__init__()
        self.graph = graph
        self.tensors = dict(graph.tensors)
        self.renamed: dict[str, str] = {}

    def now(self, tensor: str) -> str:
        """Return the id under which readers find an old tensor."""
        while tensor in self.renamed:
            tensor = self.renamed[tensor]
        return tensor

    def keep(self, op_id: str, op: Op) -> Op:
        """Add an op, reading its inputs where they are now."""
        inputs = tuple(self.now(t) for t in op.inputs)
        kept = op if inputs == op.inputs else replace(op, inputs=inputs)
        if op.into:
            kept = replace(kept, into=tuple(map(self.now, op.into)))
        self.ops[op_id] = kept
        return kept

    def result(self) -> OpGraph:
        """Return the new graph, without tensors that nobody uses any more."""
        outputs = tuple(self.now(t) for t in self.graph.outputs)
        return assembled(self.ops, self.tensors, outputs, self.graph.name)
