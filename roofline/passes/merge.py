"""Products of one operand with several weights, as engines run them: one product with the weights side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from roofline.graph.movement import Part
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import MatMul
from roofline.graph.tensor import Tensor
from roofline.numeric import same
from roofline.passes.policy import Policy
from roofline.passes.rewrite import Rewriter


def merge_products(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return `graph`, outside training and if the runtime merges, with such products as one whose parts are views.

    Queries, keys and values, or a gate and what it gates, share their operand and read all of their weights at once.
    """
    if not policy.merge_products or policy.mode == "training":
        return graph
    groups = _groups(graph)
    first = {group[0]: group for group in groups}
    gone = {op_id for group in groups for op_id in group}
    new = Rewriter(graph)
    for op_id, op in graph.ops.items():
        if op_id in first:
            _merge(new, first[op_id])
        elif op_id not in gone:
            new.keep(op_id, op)
    return new.result()


def _groups(graph: OpGraph) -> list[list[str]]:
    """Return the products that share an operand, two or more, in the order in which they run."""
    found: dict[object, list[str]] = {}
    for op_id, op in graph.ops.items():
        if type(op) is MatMul and _own_weights(graph, op):
            weight = graph.tensors[op.inputs[1]]
            key = (op.inputs[0], weight.dtype, weight.part, len(op.inputs))
            group = found.setdefault(key, [])
            if not group or same(graph.op(group[0]).times, op.times):
                group.append(op_id)
    return [group for group in found.values() if len(group) > 1]


def _own_weights(graph: OpGraph, op: MatMul) -> bool:
    """Whether a product of rows reads weights that are its own, and writes what the graph does not return."""
    if op.into or op.outputs[0] in graph.results or graph.tensors[op.inputs[0]].stored:
        return False
    stored = [graph.tensors[name] for name in op.inputs[1:]]
    own = (t.role == "parameter" and not t.tied and t.scales is None and len(graph.readers[t.id]) == 1 for t in stored)
    return len(stored[0].shape) == 2 and all(own)


def _merge(new: Rewriter, group: Sequence[str]) -> None:
    """Add the product of a group, and views of its result under the names that readers know."""
    members = [new.graph.op(op_id) for op_id in group]
    outer, _, inner = group[0].rpartition("/")
    name = "+".join([inner, *(op_id.rpartition("/")[2] for op_id in group[1:])])
    name = new.unique(f"{outer}/{name}" if outer else name)
    stacked = tuple(
        _side_by_side(new, f"{name}.{what}", [op.inputs[place] for op in members])
        for place, what in enumerate(("weight", "bias"), 1)
        if place < len(members[0].inputs)
    )
    results = [new.tensors[op.outputs[0]] for op in members]
    widths = [t.shape[-1] for t in results]
    *starts, whole = accumulate(widths, initial=0)
    merged = new.put(replace(results[0], id=f"{name}:0", shape=(*results[0].shape[:-1], whole)))
    new.keep(name, replace(members[0], inputs=(members[0].inputs[0], *stacked), outputs=(merged.id,)))
    for op_id, op, width, start in zip(group, members, widths, starts, strict=True):
        view = Part(inputs=(merged.id,), outputs=op.outputs, axis=-1, size=width, start=start, times=op.times)
        new.keep(op_id, view)


def _side_by_side(new: Rewriter, name: str, parts: Sequence[str]) -> str:
    """Return the name of a parameter that holds several, along their last axis."""
    found: list[Tensor] = [new.tensors[part] for part in parts]
    *_, width = accumulate(t.shape[-1] for t in found)
    return new.put(replace(found[0], id=name, shape=(*found[0].shape[:-1], width))).id
