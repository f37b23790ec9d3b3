"""Batch norm: folded into the convolution before it (scale into weights, shift into bias), or over its own batch."""

from __future__ import annotations

from dataclasses import replace

from roofline.dtypes import DTYPES
from roofline.graph.gradients import BatchStatistics
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import BatchNorm, Conv, MatMul
from roofline.graph.tensor import Tensor
from roofline.passes.policy import Policy
from roofline.passes.rewrite import Rewriter


def fold_batch_norm(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return `graph`, if the runtime folds, without batch norms after a convolution or product nobody else reads."""
    if not policy.fold_batch_norm:
        return graph
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


def use_batch_statistics(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return `graph`, in training, with batch norms over mean and variance of their batch, computed in fp32."""
    if policy.mode != "training":
        return graph
    new = Rewriter(graph)
    for op_id, op in graph.ops.items():
        if isinstance(op, BatchNorm) and graph.tensors[op.inputs[3]].stored:
            names = (f"{op_id}/mean", f"{op_id}/variance")
            new.keep(f"{op_id}/statistics", BatchStatistics(inputs=op.inputs[:1], outputs=names, times=op.times))
            for name in names:
                channels = graph.tensors[op.inputs[0]].shape[-1:]
                new.put(Tensor(id=name, shape=channels, dtype=DTYPES["fp32"]))
            op = replace(op, inputs=(*op.inputs[:3], *names))
        new.keep(op_id, op)
    return new.result()
