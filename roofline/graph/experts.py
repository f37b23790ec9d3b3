"""Mixtures of experts in somebody's program: which of its choices says how many experts a token takes."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from roofline.graph.dag import Dag
from roofline.graph.indexing import Sort
from roofline.graph.ops import GroupedMatMul

G = TypeVar("G", bound=Dag)
#: ops between a choice and the ends of the groups: reshape, sort, conversions, counts, their running sum
FARTHEST = 12


def with_routing(graph: G) -> G:
    """Return `graph` with `top_k` for its grouped products, where the program chooses groups by the highest scores.

    The ends of the groups then follow from a choice of k of as many scores as there are groups.
    """
    grouped = {op_id: op for op_id, op in graph.ops.items() if isinstance(op, GroupedMatMul)}
    known = {op_id: replace(op, top_k=k) for op_id, op in grouped.items() if (k := _choice(graph, op))}
    if not known:
        return graph
    ops = {op_id: known.get(op_id, op) for op_id, op in graph.ops.items()}
    return type(graph)(ops, graph.tensors, graph.outputs, graph.name, examples=graph.stated_examples)


def _choice(graph: Dag, op: GroupedMatMul) -> int:
    """Return of how many groups a token is in; 0 where the program does not say."""
    groups, seen = graph.tensors[op.inputs[2]].shape[0], set(op.inputs[2:3])
    waiting = [op.inputs[2]]
    for _ in range(FARTHEST):
        makers = [graph.op(graph.producers[t]) for t in waiting if t in graph.producers]
        for maker in makers:
            x = graph.tensors[maker.inputs[0]].shape if maker.inputs else ()
            if isinstance(maker, Sort) and isinstance(maker.kept, int) and len(x) > 1 and x[-1] == groups:
                return maker.kept
        waiting = [t for maker in makers for t in maker.inputs if t not in seen]
        seen.update(waiting)
    return 0
