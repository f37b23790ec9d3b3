"""Images as they enter a program: copied into the order of the compiler where that is its own."""

from __future__ import annotations

from roofline.graph.movement import Move
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Cast, Conv
from roofline.passes.policy import Policy
from roofline.passes.results import IMAGE_RANK
from roofline.passes.rewrite import Rewriter

#: function of the copy
ENTRY = "entry"


def copy_images(graph: OpGraph, policy: Policy, computed: frozenset[str]) -> OpGraph:
    """Return `graph` with a copy of every image that enters it and that a convolution reads.

    Parameters
    ----------
    computed
        Inputs that another block of the network computes: they are in order.
    """
    if not policy.image_copies:
        return graph
    read = {_uncast(graph, op.inputs[0]) for op in graph.ops.values() if isinstance(op, Conv)}
    images = {t for t in read if graph.tensors[t].role == "input" and len(graph.tensors[t].shape) == IMAGE_RANK}
    entering = images - computed
    if not entering:
        return graph
    new = Rewriter(graph)
    for tensor in sorted(entering):
        image = graph.tensors[tensor]
        copied = new.add_op(f"{tensor}.{ENTRY}", Move, image, function=ENTRY, shape=image.shape)
        new.renamed[tensor] = copied.id
    for op_id, op in graph.ops.items():
        new.keep(op_id, op)
    return new.result()


def _uncast(graph: OpGraph, tensor: str) -> str:
    """Return what a tensor is in another format."""
    producer = graph.producers.get(tensor)
    op = graph.op(producer) if producer is not None else None
    return _uncast(graph, op.inputs[0]) if isinstance(op, Cast) else tensor
