"""What a dimension of 0 means, whichever door a program comes through: nothing is launched for it.

A past of no tokens, the rest of a split that takes all, a batch of no examples: what writes only tensors without
elements costs nothing and is left out. What reads one and still has a result goes on with its other operands or writes
a constant, as the op says (`Op.of_nothing`); where a result of nothing is not defined (a mean, a look-up), the program
is refused.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from roofline.errors import ShapeError
from roofline.graph.dag import Dag
from roofline.graph.indexing import Fill
from roofline.graph.movement import Reshape
from roofline.graph.op import Op, show
from roofline.graph.tensor import Tensor

G = TypeVar("G", bound=Dag)


def without_empty(graph: G) -> G:
    """Return `graph` without its empty tensors and what only writes them; the graph itself where it has none.

    Raises
    ------
    ShapeError
        An op makes something of an empty operand that is not defined; every input, or every result, is empty.

    Examples
    --------
    >>> from roofline.graph.builder import GraphBuilder
    >>> b = GraphBuilder("prefill")
    >>> past, new = b.input("past", (1, 0, 64)), b.input("new", (1, 16, 64))
    >>> without_empty(b.graph([b.concat([past, new], axis=1)])).inputs
    ('new',)
    """
    empty = {t.id for t in graph.tensors.values() if is_empty(t)}
    if not empty:
        return graph
    ops: dict[str, Op] = {}
    for op_id, op in graph.ops.items():
        if empty.issuperset(op.outputs):
            continue  # not launched
        ops[op_id] = _of_the_rest(graph, op, empty) if empty.intersection(op.inputs) else op
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in empty}
    outputs = tuple(t for t in graph.outputs if t not in empty)
    left = type(graph)(ops, tensors, outputs, graph.name, examples=graph.stated_examples)
    if (len(graph) and not ops) or (graph.inputs and not left.inputs):
        raise ShapeError(f"{graph.name}: nothing to run: the tensors it works on have no elements")
    return left


def is_empty(tensor: Tensor) -> bool:
    """Whether a tensor has no elements; a column of sizes has none of 0."""
    return any(not isinstance(size, np.ndarray) and size == 0 for size in tensor.shape)


def _of_the_rest(graph: Dag, op: Op, empty: set[str]) -> Op:
    """Return what an op does where some of its operands are empty and its result is not."""
    out = graph.tensors[op.outputs[0]]
    if op.of_nothing == "constant":
        function = getattr(op, "function", op.kind)
        return Fill(inputs=(), outputs=op.outputs, times=op.times, layout=op.layout, shape=out.shape, function=function)
    if op.of_nothing == "others":
        return replace(op, inputs=tuple(t for t in op.inputs if t not in empty))
    if op.of_nothing == "first" and op.inputs[0] not in empty:
        return Reshape(inputs=op.inputs[:1], outputs=op.outputs, times=op.times, layout=op.layout, shape=out.shape)
    shapes = ", ".join(show(graph.tensors[t].shape) for t in op.inputs)
    raise op.fail(f"{show(out.shape)} of {shapes}: of nothing there is no such result")
