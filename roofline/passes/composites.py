"""Activations that a runtime without a kernel for them runs as a chain of simpler ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from roofline.graph.indexing import Fill, Update
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Elementwise
from roofline.graph.resampling import Pad
from roofline.graph.tensor import Tensor
from roofline.passes.policy import Policy
from roofline.passes.rewrite import Rewriter

#: function -> the chain it becomes; the last step also reads the first operand where it takes two
CHAINS: dict[str, tuple[str, ...]] = {
    "swish": ("sigmoid", "mul"),
    "hard_swish": ("hard_sigmoid", "mul"),
    "gelu": ("scale", "erf", "scale", "scale", "mul"),  # x / sqrt 2, erf, + 1, / 2, * x
    "gelu_tanh": ("pow", "scale", "add", "scale", "tanh", "scale", "scale", "mul"),  # x^3, * c, + x, * c; + 1, / 2, * x
}
BINARY = frozenset({"mul", "add"})


def split_composites(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return `graph` with the functions that the runtime splits as chains of element-wise ops, a kernel each."""
    wanted = set(policy.split) & set(CHAINS)
    if not wanted:
        return graph
    new = Rewriter(graph)
    for op_id, op in graph.ops.items():
        if isinstance(op, Elementwise) and op.function in wanted and len(op.inputs) == 1:
            _split(new, op_id, op)
        else:
            new.keep(op_id, op)
    return new.result()


def split_pads(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return `graph` with each pad, if the runtime splits them, as a tensor filled with zeros and a copy into it.

    Source: ATen, constant_pad_nd.
    """
    if "pad" not in policy.split:
        return graph
    new = Rewriter(graph)
    for op_id, op in graph.ops.items():
        if isinstance(op, Pad) and any(np.any(np.greater(n, 0)) for n in (*op.before, *op.after)):
            arguments = graph.arguments(op)
            (out,) = arguments[1]
            empty = new.add_op(f"{op_id}/full", Fill, dtype=out.dtype, shape=out.shape, times=op.times)
            run = op.run(*arguments)
            inputs = (empty.id, op.inputs[0])
            new.keep(
                op_id, Update(inputs=inputs, outputs=op.outputs, side_by_side=run, times=op.times, layout=op.layout)
            )
        else:
            new.keep(op_id, op)
    return new.result()


def _split(new: Rewriter, op_id: str, op: Elementwise) -> None:
    source = new.now(op.inputs[0])
    current = source
    chain = CHAINS[op.function]
    for i, function in enumerate(chain):
        last = i == len(chain) - 1
        name = op_id if last else f"{op_id}/{function}_{i}"
        inputs = (current, source) if function in BINARY else (current,)
        out = op.outputs[0] if last else f"{name}:0"
        if not last:
            result = new.tensors[op.outputs[0]]
            new.put(Tensor(id=out, shape=result.shape, dtype=result.dtype))
        new.ops[name] = replace(op, inputs=inputs, outputs=(out,), function=function, broadcast=(False,) * len(inputs))
        current = out
