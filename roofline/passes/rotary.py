"""Rotary embeddings that a program writes out: one op where the compiler makes one kernel of them."""

from __future__ import annotations

from roofline.graph.movement import Concat, Part
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Elementwise
from roofline.passes.policy import Policy
from roofline.passes.rewrite import Rewriter

#: the function of such an op; each element also reads its partner, so that it cannot follow inside of a kernel that
#: makes its operand row by row
ROTARY = "rotary"


def fold_rotary(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return `graph`, where copies fuse, with x cos + [-x2, x1] sin as one op for the halves x1 and x2 of x."""
    if not policy.fuse_movement or policy.mode == "training":
        return graph
    found = {op_id: parts for op_id, op in graph.ops.items() if (parts := _rotation(graph, op_id, op)) is not None}
    if not found:
        return graph
    inside = {op_id for parts in found.values() for op_id in parts[1]}
    new = Rewriter(graph)
    for op_id, op in graph.ops.items():
        if op_id in found:
            operands = found[op_id][0]
            small = (False, *(True for _ in operands[1:]))
            new.keep(
                op_id,
                Elementwise(inputs=operands, outputs=op.outputs, function=ROTARY, broadcast=small, times=op.times),
            )
        elif op_id not in inside:
            new.keep(op_id, op)
    return new.result()


def _rotation(graph: OpGraph, op_id: str, op: Op) -> tuple[tuple[str, ...], set[str]] | None:
    """Return x, cosines and sines of a sum that is a rotation, with the ops that it is made of; None for others."""
    if not _is(op, "add"):
        return None
    for straight, crossed in (op.inputs, op.inputs[::-1]):
        mul, other = _maker(graph, straight, op_id), _maker(graph, crossed, op_id)
        if mul is None or other is None or not _is(graph.op(mul), "mul") or not _is(graph.op(other), "mul"):
            continue
        for swapped, sine in _both_ways(graph.op(other).inputs):
            halves = _swapped(graph, swapped, other)
            for x, cosine in _both_ways(graph.op(mul).inputs):
                if halves is not None and graph.root(x) == halves[0]:
                    return (x, cosine, sine), {mul, other, *halves[1]}
    return None


def _swapped(graph: OpGraph, tensor: str, reader: str) -> tuple[str, set[str]] | None:
    """Return the root of x and the ops, where a tensor is [-x2, x1]."""
    cat = _maker(graph, tensor, reader)
    if cat is None or not isinstance(graph.op(cat), Concat) or len(graph.op(cat).inputs) != 2:
        return None
    first, second = graph.op(cat).inputs
    neg = _maker(graph, first, cat)
    if neg is None or not _is(graph.op(neg), "neg"):
        return None
    parts = [graph.producers.get(t, "") for t in (graph.op(neg).inputs[0], second)]
    if not all(part in graph.ops and isinstance(graph.op(part), Part) for part in parts):
        return None
    roots = {graph.root(graph.op(part).inputs[0]) for part in parts}
    return (roots.pop(), {cat, neg}) if len(roots) == 1 else None


def _maker(graph: OpGraph, tensor: str, reader: str) -> str | None:
    """Return the op that makes a tensor for one reader alone."""
    if tensor in graph.outputs or graph.readers[tensor] != (reader,):
        return None
    return graph.producers.get(tensor)


def _is(op: Op, function: str) -> bool:
    return isinstance(op, Elementwise) and op.function == function and len(op.inputs) == (1 if function == "neg" else 2)


def _both_ways(pair: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return pair, pair[::-1]
