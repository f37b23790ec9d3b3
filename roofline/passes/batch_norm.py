"""Folding batch norm into the convolution before it: its scale goes into the weights, its shift becomes the bias."""

from __future__ import annotations

from dataclasses import replace

from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import BatchNorm, Conv, MatMul
from roofline.passes.rewrite import Rewriter


def fold_batch_norm(graph: OpGraph) -> OpGraph:
    """Return `graph` without the batch norms that follow a convolution or matrix product nobody else reads."""
    new = Rewriter(graph)
    for op_id, op in graph.ops.items():
        producer_id = graph.producers.get(op.inputs[0]) if isinstance(op, BatchNorm) else None
        producer = new.ops.get(producer_id) if producer_id else None
        shared = bool(op.inputs) and (len(graph.readers[op.inputs[0]]) > 1 or op.inputs[0] in graph.outputs)
        if not isinstance(producer, (Conv, MatMul)) or shared:
            new.keep(op_id, op)
            continue
        if len(producer.inputs) == 2:  # the norm's shift takes the place of the missing bias
            new.ops[str(producer_id)] = replace(producer, inputs=(*producer.inputs, op.inputs[2]))
        new.renamed[op.outputs[0]] = op.inputs[0]
    return new.result()
