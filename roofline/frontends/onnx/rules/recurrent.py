"""LSTM, GRU and RNN: one product for the inputs of all steps, then a product and the gates for each step."""

from __future__ import annotations

from dataclasses import replace

from roofline.dtypes import DTYPES
from roofline.errors import GraphError, ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering
from roofline.frontends.onnx.rules.control import stacked
from roofline.frontends.onnx.rules.pointwise import UNARY
from roofline.frontends.onnx.rules.products import product_of
from roofline.frontends.onnx.rules.shapes import concatenated, part
from roofline.frontends.onnx.values import Value
from roofline.frontends.onnx.writer import Writer
from roofline.graph.indexing import Fill

#: gates of each cell
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_ACTIVATIONS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


@lowering(*GATES)
def recurrent(w: Writer, node: Node) -> list[Value]:
    """Lower every direction by itself; the backward one reads the sequence from its end."""
    x, weight, recurrence, bias = node[0], node[1], node[2], node.get(3)
    by_example = bool(node.integer("layout", 0))
    x = w.transposed(x, (1, 0, 2)) if by_example and x.rank == 3 else x
    if x.rank != 3 or weight.rank != 3 or recurrence.rank != 3:
        raise ShapeError(f"x of shape {x.shape!r} and weights of {weight.shape!r}, {recurrence.shape!r}")
    directions, size = weight.shape[0], recurrence.shape[2]
    if directions not in (1, 2) or weight.shape[1] != GATES[node.op] * size:
        raise ShapeError(f"weights of shape {weight.shape!r} do not fit {GATES[node.op]} gates of {size}")
    every, final, cells = [], [], []
    for i in range(directions):
        inputs = [None if v is None else _matrix(w, v, i) for v in (bias, *_states(w, node, by_example), node.get(7))]
        weights, r = (_matrix(w, v, i) for v in (weight, recurrence))
        names = node.attributes.get("activations", ())[i * len(_ACTIVATIONS[node.op]) :] or _ACTIVATIONS[node.op]
        states, last, cell = _direction(w, node.op, x, weights, r, inputs, [_function(name) for name in names])
        every.append(w.reshaped(states, (x.shape[0], 1, x.shape[1], size)))
        final.append(w.reshaped(last, (1, x.shape[1], size)))
        cells.append(w.reshaped(cell, (1, x.shape[1], size)))
    y, h, c = concatenated(w, every, 1), concatenated(w, final, 0), concatenated(w, cells, 0)
    if by_example:
        y, h, c = w.transposed(y, (2, 0, 1, 3)), w.transposed(h, (1, 0, 2)), w.transposed(c, (1, 0, 2))
    return [y, h, c][: max(1, node.outputs)]


@lowering("DynamicQuantizeLSTM", domain=MICROSOFT)
def of_integers(w: Writer, node: Node) -> list[Value]:
    """LSTM with weights (directions, K, gates) of integers; what meets them is quantized at every step."""
    weights = (w.transposed(v, (0, 2, 1)) if v.rank == 3 else v for v in (node[1], node[2]))
    return recurrent(w, replace(node, op="LSTM", inputs=(node[0], *weights, *node.inputs[3:8])))


def _states(w: Writer, node: Node, by_example: bool) -> list[Value | None]:
    """Return the first hidden and cell states (directions, N, H), where they are computed: others are filled."""
    found = [None if v is None or v.known else v for v in (node.get(5), node.get(6))]
    return [w.transposed(v, (1, 0, 2)) if v is not None and by_example else v for v in found]


def _function(name: str) -> str:
    found = {operator.lower(): function for operator, function in UNARY.items()}.get(name.lower(), "scale")
    if name.lower() != "affine" and found == "scale":
        raise GraphError(f"unknown activation {name!r}")
    return found


def _matrix(w: Writer, value: Value, direction: int) -> Value:
    if value.shape[0] == 1:
        return w.reshaped(value, value.shape[1:])
    return w.reshaped(part(w, value, 0, direction, 1), value.shape[1:])


def _direction(
    w: Writer,
    op: str,
    x: Value,
    weight: Value,
    recurrence: Value,
    inputs: list[Value | None],
    functions: list[str],
) -> tuple[Value, Value, Value]:
    """Return the states of all steps (T, N, H), the last one, and the last cell state."""
    steps, batch, _ = x.shape
    size = recurrence.shape[1]
    bias, hidden, cell, peepholes = inputs
    if recurrence.shape[0] != weight.shape[0] or weight.shape[1] != x.shape[2]:
        raise ShapeError(f"weights of shapes {weight.shape!r} and {recurrence.shape!r} do not fit {x.shape!r}")
    entered = _product(w, x, weight)
    if bias is not None:
        vector = part(w, bias, 0, 0, weight.shape[0])
        second = part(w, bias, 0, weight.shape[0], weight.shape[0])
        entered = w.pointwise("add", w.pointwise("add", entered, vector), second)
    if hidden is None or (cell is None and op == "LSTM"):
        zeros = w.value(w.add(Fill, dtype=DTYPES["fp32"], shape=(batch, size)))
        hidden, cell = hidden or zeros, cell or zeros
    with w.repeated(steps):
        now = w.reshaped(part(w, entered, 0, 0, 1), (batch, weight.shape[0]))
        gates = w.pointwise("add", _product(w, hidden, recurrence), now)
        new, cell = _cell(w, op, gates, hidden, cell or hidden, peepholes, functions)
    return stacked(w, new, steps), new, cell


def _product(w: Writer, x: Value, weight: Value) -> Value:
    """Multiply by a weight (gates, K); where that is of integers, by x as integers."""
    x = w.pointwise("quantize", x, dtype=weight.dtype) if weight.dtype.kind == "int" else x
    return product_of(w, x, w.transposed(weight, (1, 0)))


def _cell(
    w: Writer, op: str, gates: Value, state: Value, cell: Value, peepholes: Value | None, functions: list[str]
) -> tuple[Value, Value]:
    """Return the new state and the new cell state; without one, the state twice."""
    size = state.shape[-1]

    def gate(index: int, function: str, seen: Value | None = None) -> Value:
        entering = part(w, gates, 1, index * size, size)
        if peepholes is not None and seen is not None:
            entering = w.pointwise("addcmul", entering, part(w, peepholes, 0, index * size, size), seen)
        return w.pointwise(function, entering)

    if op == "RNN":
        new = w.pointwise(functions[0], gates)
        return new, new
    inner, middle = functions[:2]
    if op == "GRU":
        update, reset = gate(0, inner), gate(1, inner)
        fresh = w.pointwise(middle, w.pointwise("mul", reset, part(w, gates, 1, 2 * size, size)))
        rest = w.pointwise("mul", update, w.pointwise("sub", state, fresh))
        new = w.pointwise("add", fresh, rest)
        return new, new
    enter, forget = gate(0, inner, cell), gate(2, inner, cell)
    kept = w.pointwise("mul", forget, cell)
    cell = w.pointwise("add", kept, w.pointwise("mul", enter, gate(3, middle)))
    return w.pointwise("mul", gate(1, inner, cell), w.pointwise(functions[2], cell)), cell
