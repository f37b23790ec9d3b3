"""The program: a checked graph of typed ops that counts, is saved, and is the same for another batch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from roofline.graph.batch import batch_of, with_batch
from roofline.graph.dag import Dag
from roofline.graph.serial import save_graph
from roofline.numeric import Numeric


class OpGraph(Dag):
    """An immutable graph of ops over named tensors.

    Parameters
    ----------
    ops
        Op id -> op. The order of the mapping is kept where dependencies leave a choice.
    tensors
        Tensor id -> tensor, for every tensor that an op reads or writes.
    outputs
        Ids of the tensors the graph returns; they are written even where nobody inside reads them.
    name
        What the graph is called in reports.
    examples
        How many examples it was built for, where that is not to be taken from its inputs.

    Raises
    ------
    GraphError
        A node is not an op, a tensor is missing, written twice or never written, or the graph has a cycle.
    """

    @cached_property
    def macs(self) -> Numeric:
        """Multiply-accumulates of real numbers in one run of the graph, its whole batch: those of products alone."""
        total: Numeric = 0.0
        for op in self.ops.values():
            for contraction in op.products(*self.arguments(op)):
                total = total + contraction.macs * op.times
        return total

    @cached_property
    def params(self) -> Numeric:
        """Number of trained parameters; a tied one counts once, buffers do not count."""
        read = {t for op in self.ops.values() for t in op.inputs}
        total: Numeric = 0.0
        for tensor in self.tensors.values():
            if tensor.role == "parameter" and not tensor.tied and tensor.id in read:
                total = total + tensor.elements
        return total

    @cached_property
    def examples(self) -> int:
        """Number of examples the graph was built for; see `roofline.graph.batch.batch_of`."""
        return batch_of(self)

    def with_examples(self, examples: int) -> OpGraph:
        """Return the same graph, stated to be of so many examples: counts per example and throughput are of these.

        Nothing grows: for another batch see `with_batch`.

        Raises
        ------
        InputError
            It is no size of a batch.

        Examples
        --------
        >>> from roofline.graph.builder import GraphBuilder
        >>> b = GraphBuilder("pairs")
        >>> graph = b.graph([b.linear(b.input("two_rows_each", (16, 8)), 4)])
        >>> graph.examples, graph.with_examples(8).examples
        (16, 8)
        """
        stated = OpGraph(self.ops, self.tensors, self.outputs, self.name, examples=examples)
        batch_of(stated)
        return stated

    @cached_property
    def _batches(self) -> dict[int, OpGraph]:
        return {}

    def with_batch(self, batch: int) -> OpGraph:
        """Return the same program for another number of examples; see `roofline.graph.batch.with_batch`.

        Raises
        ------
        InputError
            It cannot be proven which dimensions grow with the batch: lower the program again.
        """
        if batch not in self._batches:
            self._batches[batch] = with_batch(self, batch)
        return self._batches[batch]

    def save(self, path: str | Path) -> None:
        """Write the graph to a file that `roofline.load_graph` reads; see `roofline.graph.serial`."""
        save_graph(self, path)
