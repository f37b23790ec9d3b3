"""The optimizer's step: every parameter, its gradient and the optimizer's states of it, read once and written once."""

from __future__ import annotations

from dataclasses import replace

from roofline.graph.gradients import STATES, Optimizer, OptimizerStep
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Elementwise
from roofline.graph.tensor import Tensor
from roofline.passes.backward.tape import Backward


def update_graph(graph: OpGraph, behind: Backward, optimizer: Optimizer) -> OpGraph:
    """Return the updates of the parameters of `graph`.

    States have the format of their parameter. A tied parameter has none: its gradient is added to that of the one whose
    memory it shares.
    """
    ops: dict[str, Op] = {}
    tensors: dict[str, Tensor] = {}
    for name, found in behind.gradients.items():
        parameter = graph.tensors[name]
        gradient = replace(behind.graph.tensors[found], role="saved")
        tensors[gradient.id] = gradient
        if parameter.tied:
            inputs, outputs = (gradient.id, f"{name}.grad"), (f"{name}.sum",)
            ops[f"{name}.tie"] = Elementwise(inputs=inputs, outputs=outputs, function="add", broadcast=(False, False))
            tensors[inputs[1]] = replace(gradient, id=inputs[1])
            tensors[outputs[0]] = replace(gradient, id=outputs[0], role="activation")
            continue
        states = tuple(f"{name}.{state}" for state in STATES[optimizer])
        places = (name, *states)
        written = tuple(f"{place}.next" for place in places)
        tensors[name] = parameter
        tensors |= {state: replace(parameter, id=state, role="buffer") for state in states}
        tensors |= {out: replace(parameter, id=out, role="activation") for out in written}
        ops[f"{name}.update"] = OptimizerStep(
            inputs=(*places, gradient.id), outputs=written, into=places, algorithm=optimizer
        )
    return OpGraph(ops, tensors, tuple(t for op in ops.values() for t in op.outputs), graph.name)
