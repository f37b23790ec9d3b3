"""Keys that a program repeats for the query heads that share them, as engines read them: once."""

from __future__ import annotations

from dataclasses import replace

from roofline.graph.dag import Dag
from roofline.graph.movement import Expand, Move, Reshape
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Attention
from roofline.graph.writer import needed
from roofline.numeric import same
from roofline.passes.policy import Policy
from roofline.passes.rewrite import Rewriter

#: behind sequences and heads
FIRST_GROUP_AXIS = 2


def share_keys(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return `graph`, if the runtime's attention takes shared keys, without copies that repeat keys and values.

    A program whose attention wants as many key heads as query heads repeats each for its group, in a copy. What the
    group shares is read as it is; the products are the same.
    """
    if not policy.shared_keys or policy.mode == "training":
        return graph
    new, changed = Rewriter(graph), False
    for op_id, op in graph.ops.items():
        if isinstance(op, Attention) and same(op.heads, op.kv_heads):
            sources = [_repeated(graph, op, t) for t in op.inputs[1:3]]
            if None not in sources and same(*(repeats for _, repeats in filter(None, sources))):
                changed = True
                _share(new, op_id, op, [source for source in sources if source is not None])
                continue
        new.keep(op_id, op)
    if not changed:
        return graph
    found = new.result()
    wanted = {*found.outputs, *(t for op in found.ops.values() if op.into for t in op.outputs)}
    new.ops = needed(found.ops, wanted)
    return new.result()


def _share(new: Rewriter, op_id: str, op: Attention, sources: list[tuple[str, float]]) -> None:
    """Add attention that reads what was repeated, as views."""
    shared = op.kv_heads / sources[0][1]
    views = []
    for word, name, (source, repeats) in zip(("keys", "values"), op.inputs[1:3], sources, strict=True):
        shape = new.tensors[name].shape
        tensor = new.tensors[new.now(source)]
        view = new.unique(f"{op_id}_{word}")
        made = new.put(replace(tensor, id=f"{view}:0", shape=(*shape[:-1], shape[-1] / repeats), role="activation"))
        new.ops[view] = Reshape(inputs=(tensor.id,), outputs=(made.id,), shape=made.shape, times=op.times)
        views.append(made.id)
    inputs = (new.now(op.inputs[0]), *views, *map(new.now, op.inputs[3:]))
    new.ops[op_id] = replace(op, inputs=inputs, kv_heads=shared)


def _repeated(graph: Dag, op: Attention, tensor: str) -> tuple[str, float] | None:
    """Return what a copy has repeated for the heads of a group, and how often; None where nothing was.

    The copy is of a view with an axis more behind that of the heads, along which nothing moves.
    """
    copy = graph.producers.get(graph.root(tensor))
    if copy is None or not isinstance(graph.op(copy), Move):
        return None
    view = graph.producers.get(graph.op(copy).inputs[0])
    while view is not None and isinstance(graph.op(view), Reshape):
        view = graph.producers.get(graph.op(view).inputs[0])
    if view is None or not isinstance(graph.op(view), Expand):
        return None
    small, wide = (graph.tensors[t] for t in (graph.op(view).inputs[0], graph.op(view).outputs[0]))
    if len(small.shape) != len(wide.shape) or not same(wide.elements, graph.tensors[tensor].elements):
        return None
    grown = [i for i, (a, b) in enumerate(zip(small.shape, wide.shape, strict=True)) if not same(a, b)]
    if len(grown) != 1 or grown[0] < FIRST_GROUP_AXIS:
        return None
    repeats, heads = wide.shape[grown[0]], wide.shape[grown[0] - 1]
    return (small.id, float(repeats)) if same(heads * repeats, op.heads) else None
