"""Attention as a runtime without a fused kernel runs it: scores, softmax, context, each through memory."""

from __future__ import annotations

from typing import Any

from roofline.graph.movement import Expand, Reshape
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Attention, Elementwise, MatMul, Softmax
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import Numeric, same
from roofline.passes.policy import Policy
from roofline.passes.rewrite import Rewriter


def decompose_attention(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return `graph`, where no kernel is fused, with attention as two products around scale, bias and softmax.

    The split into heads is a view: libraries read it with strides. Query heads that share a key head see its bytes.
    """
    if policy.attention != "decomposed" or not any(isinstance(op, Attention) for op in graph.ops.values()):
        return graph
    new = Rewriter(graph)
    for op_id, op in graph.ops.items():
        if isinstance(op, Attention):
            _decompose(new, op_id, op)
        else:
            new.keep(op_id, op)
    return new.result()


def _decompose(new: Rewriter, op_id: str, op: Attention) -> None:
    q, k, v = (new.tensors[new.now(t)] for t in op.inputs[:3])
    batch, heads = q.shape[0], op.heads
    head, value = q.shape[-1] / heads, v.shape[-1] / op.kv_heads
    rows, columns = q.shape[1], k.shape[1]

    def add(part: str, make: type[Op], *inputs: Tensor, **fields: Any) -> Tensor:
        return new.add_op(f"{op_id}/{part}", make, *inputs, dtype=q.dtype, times=op.times, **fields)

    def view(name: str, x: Tensor, shape: Shape, make: type[Op] = Reshape) -> Tensor:
        return add(name, make, x, shape=shape)

    def per_head(name: str, x: Tensor, x_heads: Numeric, *size: Numeric) -> Tensor:
        if same(x_heads, heads):
            return view(name, x, (batch, heads, *size))
        apart = view(f"{name}_apart", x, (batch, x_heads, 1, *size))
        repeated = view(f"{name}_repeated", apart, (batch, x_heads, heads / x_heads, *size), Expand)
        return view(name, repeated, (batch, heads, *size))

    left, right = per_head("q", q, heads, rows, head), per_head("k", k, op.kv_heads, head, columns)
    scores = add("scores", MatMul, left, right)
    scores = add("scale", Elementwise, scores, function="scale", broadcast=(False,))
    for i, bias in enumerate(op.inputs[3:]):
        bias_now = new.tensors[new.now(bias)]
        scores = add(f"bias{i}", Elementwise, scores, bias_now, function="add", broadcast=(False, True))
    context = add("context", MatMul, add("softmax", Softmax, scores), per_head("v", v, op.kv_heads, columns, value))
    merged = new.tensors[op.outputs[0]]
    new.ops[f"{op_id}/merge"] = Reshape(inputs=(context.id,), outputs=(merged.id,), shape=merged.shape, times=op.times)
