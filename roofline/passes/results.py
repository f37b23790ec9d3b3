"""Results of a program that the software wants in the order of its source, which its compiler does not compute in."""

from __future__ import annotations

from roofline.graph.gradients import ConvInputGrad, ConvWeightGrad
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import BatchNorm, Conv, Pool

#: ops whose operands have the channels second in a channels-first program
IMAGE_OPS: tuple[type[Op], ...] = (Conv, BatchNorm, Pool, ConvInputGrad, ConvWeightGrad)
IMAGE_RANK = 4


def channels_second(graph: OpGraph) -> frozenset[str]:
    """Return the ids of the image maps of a channels-first program; empty where no convolution is channels-first.

    They are what convolutions, batch norms and pools read and write, and what point-wise ops make of it.
    """
    if not any(op.layout == "nchw" for op in graph.ops.values()):
        return frozenset()
    found: set[str] = set()
    for op in graph.ops.values():
        near = [t for t in (*op.inputs[:1], *op.outputs) if len(graph.tensors[t].shape) == IMAGE_RANK]
        if isinstance(op, IMAGE_OPS) or (op.family == "pointwise" and found & set(op.inputs)):
            found.update(near)
    return frozenset(graph.root(t) for t in found)
