"""Which tensors of a program hold keys and values of attention, fused or written out."""

from __future__ import annotations

from collections.abc import Iterator

from roofline.graph.dag import Dag
from roofline.graph.indexing import Update
from roofline.graph.movement import Concat, Move
from roofline.graph.op import Op
from roofline.graph.ops import Attention, Cast, MatMul

#: ops whose result holds bytes of one operand, of two, or of all
_COPIES, _WRITES = (Move, Cast), (Update,)


def copied_from(graph: Dag, tensor: str) -> tuple[str, ...]:
    """Return the tensors whose bytes a tensor holds, itself first: through views, copies, joins and updates."""
    found = {graph.root(tensor): None}
    waiting = list(found)
    while waiting:
        op = _maker(graph, waiting.pop())
        if isinstance(op, (Concat, *_WRITES, *_COPIES)):
            held = op.inputs[:1] if isinstance(op, _COPIES) else op.inputs[:2] if isinstance(op, _WRITES) else op.inputs
            new = [root for t in held if (root := graph.root(t)) not in found]
            found |= dict.fromkeys(new)
            waiting += new
    return tuple(found)


def attended(graph: Dag) -> frozenset[str]:
    """Return the tensors that attention reads as keys or values, and those that these are copied from.

    Attention that a program writes out is a product whose result, after work element by element and over rows, goes
    into a second product: of the first both operands count, of the second the other one. So do latent rows, which a
    weight expands to keys and values, where the program keeps a copy of them.

    Examples
    --------
    >>> from roofline.graph.builder import GraphBuilder
    >>> b = GraphBuilder("decode")
    >>> past, x = b.input("past", (8, 100, 64)), b.input("x", (8, 1, 64))
    >>> keys = b.concat([past, x], axis=1)
    >>> sorted(attended(b.graph([b.attention(x, keys, keys, heads=4)])))
    ['concat:0', 'past', 'x']
    """
    held = frozenset(found for tensor in _keys_and_values(graph) for found in copied_from(graph, tensor))
    latent: set[str] = set()
    for tensor in held:
        op = _maker(graph, tensor)
        if isinstance(op, MatMul) and not _of_examples(graph, op):
            rows = copied_from(graph, op.inputs[0])
            if len(rows) > 1:
                latent.update(rows)
    return held | latent


def _keys_and_values(graph: Dag) -> Iterator[str]:
    for op in graph.ops.values():
        if isinstance(op, Attention):
            yield from op.inputs[1:3]
        elif _of_examples(graph, op):
            for scores, other in (op.inputs[:2], op.inputs[1::-1]):
                for first in _products_behind(graph, scores):
                    yield from (other, *first.inputs[:2])


def _maker(graph: Dag, tensor: str) -> Op | None:
    producer = graph.producers.get(tensor)
    return None if producer is None else graph.op(producer)


def _of_examples(graph: Dag, op: Op) -> bool:
    """Whether an op is a product of two tensors for each example, none of them a weight."""
    if not isinstance(op, MatMul) or len(graph.tensors[op.inputs[1]].shape) < 3:
        return False
    return not any(graph.tensors[graph.root(t)].role == "parameter" for t in op.inputs[:2])


def _products_behind(graph: Dag, tensor: str) -> Iterator[Op]:
    """Yield the products of examples that a tensor is made of without another contraction between."""
    seen = {graph.root(tensor)}
    waiting = list(seen)
    while waiting:
        op = _maker(graph, waiting.pop())
        if op is None:
            continue
        if op.family in ("contraction", "attention"):
            if _of_examples(graph, op):
                yield op
            continue
        new = {graph.root(t) for t in op.inputs} - seen
        seen |= new
        waiting += sorted(new)
