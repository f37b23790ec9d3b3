"""A prediction beside a compiled program: kernels that hold the same ops, and which neighbours share one in both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import networkx as nx

from roofline.engine.members import origin
from roofline.graph.opgraph import OpGraph
from roofline.xla.kernels import CompiledKernel, homes

#: positions of the kernels that hold an op
Places: TypeAlias = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The smallest set of kernels on both sides that hold the same ops: positions, in execution order.

    ``ours`` is empty where the compiler moves data that no op of ours stands for, ``compiled`` where it drops an op.
    """

    ours: tuple[int, ...]
    compiled: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two ops of which the second reads the first, and whether a kernel holds both: in the prediction, in XLA."""

    producer: str
    consumer: str
    ours: bool
    compiled: bool

    @property
    def agree(self) -> bool:
        """Whether both fuse them, or both keep them apart."""
        return self.ours is self.compiled


def places_of(members: Sequence[Collection[str]], known: Collection[str]) -> Places:
    """Return the kernels that hold each op of a graph, of kernels given by the ops that passes made of them."""
    found: dict[str, tuple[int, ...]] = {}
    for position, ops in enumerate(members):
        for op in dict.fromkeys(origin(op, known) for op in ops):
            if op is not None:
                found[op] = (*found.get(op, ()), position)
    return found


def groups(ours: Places, count: int, compiled: Sequence[CompiledKernel]) -> list[Group]:
    """Return the groups of `count` predicted kernels and the compiled ones, led by those that stand first.

    Where the compiler computes an op again, the first kernel that does counts. A kernel that does no op's main work (a
    copy, the square roots of a batch norm) goes with the op that it serves.
    """
    found: nx.Graph[tuple[str, int]] = nx.Graph()
    found.add_nodes_from(("ours", i) for i in range(count))
    found.add_nodes_from(("compiled", i) for i, kernel in enumerate(compiled) if kernel.cycles)
    first = {op: where[0] for op, where in homes(tuple(compiled)).items()}
    for i, kernel in enumerate(compiled):
        held = [op for op in kernel.ops if first[op] == i] or list(kernel.ops[:1] or kernel.named[:1])
        if kernel.cycles:
            found.add_edges_from((("compiled", i), ("ours", at)) for op in held for at in ours.get(op, ()))
    made = [
        Group(**{side: tuple(sorted(i for name, i in part if name == side)) for side in ("ours", "compiled")})
        for part in nx.connected_components(found)
    ]
    return sorted(made, key=lambda group: (not group.ours, group.ours or group.compiled))


def pairs(graph: OpGraph, ours: Places, compiled: Sequence[CompiledKernel]) -> list[Pair]:
    """Return every pair of ops, seen through views, that both sides run; one that XLA drops has nothing to compare."""
    theirs = homes(tuple(compiled))
    found = []
    for producer in graph.order:
        op = graph.op(producer)
        if op.family == "free":
            continue
        for consumer in dict.fromkeys(reader for t in op.outputs for reader in graph.effective_readers(t)):
            if all(end in side for end in (producer, consumer) for side in (ours, theirs)):
                together = [not set(side[producer]).isdisjoint(side[consumer]) for side in (ours, theirs)]
                found.append(Pair(producer=producer, consumer=consumer, ours=together[0], compiled=together[1]))
    return found
