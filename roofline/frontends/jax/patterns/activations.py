"""Activations that a program spells out: SiLU, hard swish and both forms of GELU. Runtimes know them as one op each."""

from __future__ import annotations

from roofline.frontends.jax.patterns.sketch import Sketch
from roofline.graph.ops import Elementwise


def fold_activations(sketch: Sketch) -> None:
    """Name the gates: x * sigmoid(x) is swish, x * (1 + erf(x / sqrt 2)) / 2 is gelu, its tanh form gelu_tanh.

    x * min(max(x + 3, 0), 6) / 6 is hard_swish.
    """
    for op in list(sketch.ops.values()):
        if not isinstance(op, Elementwise):
            continue
        if op.function == "sigmoid":
            _replace(sketch, op, op.inputs[0], "swish")
        elif op.function in ("erf", "erfc"):
            _replace(sketch, op, _back(sketch, op.inputs[0]), "gelu")
        elif op.function == "min" and len(op.inputs) == 1:
            ramp = _unary(sketch, op.inputs[0], "relu")
            shifted = _unary(sketch, ramp.inputs[0], "add") if ramp is not None else None
            if shifted is not None:
                _replace(sketch, op, shifted.inputs[0], "hard_swish")
        elif op.function == "tanh":
            x = _cubic(sketch, _back(sketch, op.inputs[0]))
            if x is not None:
                _replace(sketch, op, x, "gelu_tanh")


def _unary(sketch: Sketch, tensor: str, *names: str) -> Elementwise | None:
    op = sketch.producer(tensor)
    known = isinstance(op, Elementwise) and op.function in names and len(op.inputs) == 1
    return op if known and isinstance(op, Elementwise) else None


def _back(sketch: Sketch, tensor: str) -> str:
    """Return what is only scaled, negated or shifted by numbers on its way to `tensor`."""
    while (op := _unary(sketch, tensor, "scale", "neg")) is not None:
        tensor = op.inputs[0]
    return tensor


def _cubic(sketch: Sketch, tensor: str) -> str | None:
    """Return x of ``x + c x^3``."""
    op = sketch.producer(tensor)
    if not isinstance(op, Elementwise) or op.function != "add" or len(op.inputs) != 2:
        return None
    for x, power in (op.inputs, op.inputs[::-1]):
        cube = sketch.producer(_back(sketch, power))
        if isinstance(cube, Elementwise) and cube.function == "mul" and x in cube.inputs:
            others = [sketch.producer(t) for t in cube.inputs if t != x]
            if len(others) == 1 and isinstance(others[0], Elementwise) and others[0].inputs == (x,):
                return x
    return None


def _replace(sketch: Sketch, gate: Elementwise, x: str, function: str) -> None:
    """Put `function` in the place of the product of `x` and its gate, where nobody else reads the gate."""
    tensor = gate.outputs[0]
    while True:
        readers = sketch.readers.get(tensor, set())
        if len(readers) != 1 or tensor in sketch.outputs:
            return
        (reader,) = readers
        op = sketch.ops[reader]
        if not isinstance(op, Elementwise) or op.broadcast.count(True):
            return
        if op.function in ("add", "scale") and len(op.inputs) == 1:
            tensor = op.outputs[0]
            continue
        if op.function != "mul" or len(op.inputs) != 2:
            return
        other = op.inputs[1] if op.inputs[0] == tensor else op.inputs[0]
        if other != x and (function in ("swish", "hard_swish") or _back(sketch, other) != x):
            return
        made = Elementwise(inputs=(x,), outputs=op.outputs, function=function, broadcast=(False,), times=op.times)
        sketch.put(reader, made)
        return
