"""What a forward pass keeps for the backward pass: autograd's saved tensors, which must reach memory.

Per op as PyTorch's derivatives.yaml states them: products keep their operands, norms their input, an activation its
input or its output, whichever its derivative is written in.
"""

from __future__ import annotations

from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Attention, BatchNorm, Conv, Elementwise, MatMul, Norm, Pool, Softmax
from roofline.graph.resampling import ConvTranspose

MODES = ("inference", "forward_saving")
#: ops that keep every operand
KEEP_INPUTS: tuple[type[Op], ...] = (Conv, ConvTranspose, MatMul, Attention, BatchNorm, Norm, Pool)
#: element-wise functions whose derivative is written in their result ...
KEEP_OUTPUT_FUNCTIONS = frozenset({"relu", "sigmoid", "tanh", "exp", "sqrt", "rsqrt", "reciprocal"})
#: ... and those that need nothing
KEEP_NOTHING_FUNCTIONS = frozenset({"add", "sub", "neg", "scale", "identity"})


def saved_for_backward(graph: OpGraph) -> frozenset[str]:
    """Return the ids of the activations whose bytes the backward pass will read (views are read through)."""
    kept: set[str] = set()
    for op in graph.ops.values():
        if isinstance(op, KEEP_INPUTS):
            kept.update(op.inputs)
        elif isinstance(op, Softmax) or (isinstance(op, Elementwise) and op.function in KEEP_OUTPUT_FUNCTIONS):
            kept.update(op.outputs)
        elif isinstance(op, Elementwise) and op.function not in KEEP_NOTHING_FUNCTIONS:
            kept.update(op.inputs)
    roots = {graph.root(t) for t in (*kept, *graph.outputs)}  # what leaves a block, the next one keeps
    return frozenset(t for t in roots if graph.tensors[t].role == "activation")
