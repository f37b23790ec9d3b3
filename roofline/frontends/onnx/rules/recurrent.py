"""LSTM, GRU and RNN: one product for the inputs of all steps, then a product and the gates for each step."""

from __future__ import annotations

from roofline.dtypes import DTYPES
from roofline.errors import GraphError, ShapeError
from roofline.frontends.onnx.registry import Node, lowering
from roofline.frontends.onnx.rules.control import stacked
from roofline.frontends.onnx.rules.products import product_of
from roofline.frontends.onnx.rules.shapes import concatenated, part
from roofline.frontends.onnx.values import Value
from roofline.frontends.onnx.writer import Writer
from roofline.graph.indexing import Fill

#: gates of each cell
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@lowering(*GATES)
def recurrent(w: Writer, node: Node) -> list[Value]:
    """Lower every direction by itself; the backward one reads the sequence from its end."""
    x, weight, recurrence, bias = node[0], node[1], node[2], node.get(3)
    by_example = bool(node.integer("layout", 0))
    x = w.transposed(x, (1, 0, 2)) if by_example else x
    if x.rank != 3 or weight.rank != 3 or recurrence.rank != 3:
        raise ShapeError(f"x of shape {x.shape!r} and weights of {weight.shape!r}, {recurrence.shape!r}")
    directions, size = weight.shape[0], recurrence.shape[2]
    if directions not in (1, 2) or weight.shape[1] != GATES[node.op] * size:
        raise ShapeError(f"weights of shape {weight.shape!r} do not fit {GATES[node.op]} gates of {size}")
    every, final = [], []
    for i in range(directions):
        weights, r = (_matrix(w, v, i) for v in (weight, recurrence))
        b = None if bias is None else _matrix(w, bias, i)
        states, last = _direction(w, node.op, x, weights, r, b)
        every.append(w.reshaped(states, (x.shape[0], 1, x.shape[1], size)))
        final.append(w.reshaped(last, (1, x.shape[1], size)))
    y = concatenated(w, every, 1)
    h = concatenated(w, final, 0)
    if by_example:
        y, h = w.transposed(y, (2, 0, 1, 3)), w.transposed(h, (1, 0, 2))
    return [y, h, h][: max(1, node.outputs)]


def _matrix(w: Writer, value: Value, direction: int) -> Value:
    if value.shape[0] == 1:
        return w.reshaped(value, value.shape[1:])
    return w.reshaped(part(w, value, 0, direction, 1), value.shape[1:])


def _direction(
    w: Writer, op: str, x: Value, weight: Value, recurrence: Value, bias: Value | None
) -> tuple[Value, Value]:
    """Return the states of all steps (T, N, H), and the last one."""
    steps, batch, _ = x.shape
    size = recurrence.shape[1]
    if recurrence.shape[0] != weight.shape[0] or weight.shape[1] != x.shape[2]:
        raise ShapeError(f"weights of shapes {weight.shape!r} and {recurrence.shape!r} do not fit {x.shape!r}")
    entered = product_of(w, x, w.transposed(weight, (1, 0)))
    if bias is not None:
        vector = part(w, bias, 0, 0, weight.shape[0])
        second = part(w, bias, 0, weight.shape[0], weight.shape[0])
        entered = w.pointwise("add", w.pointwise("add", entered, vector), second)
    state = w.value(w.add(Fill, dtype=DTYPES["fp32"], shape=(batch, size)))
    with w.repeated(steps):
        now = w.reshaped(part(w, entered, 0, 0, 1), (batch, weight.shape[0]))
        gates = w.pointwise("add", product_of(w, state, w.transposed(recurrence, (1, 0))), now)
        new = _cell(w, op, gates, state, size)
    return stacked(w, new, steps), new


def _cell(w: Writer, op: str, gates: Value, state: Value, size: int) -> Value:
    def gate(index: int, function: str) -> Value:
        return w.pointwise(function, part(w, gates, 1, index * size, size))

    if op == "RNN":
        return w.pointwise("tanh", gates)
    if op == "GRU":
        update, reset = gate(0, "sigmoid"), gate(1, "sigmoid")
        fresh = w.pointwise("tanh", w.pointwise("mul", reset, part(w, gates, 1, 2 * size, size)))
        rest = w.pointwise("mul", update, w.pointwise("sub", state, fresh))
        return w.pointwise("add", fresh, rest)
    if op != "LSTM":
        raise GraphError(f"unknown cell {op!r}")
    enter, leave, forget = gate(0, "sigmoid"), gate(1, "sigmoid"), gate(2, "sigmoid")
    kept = w.pointwise("mul", forget, state)
    cell = w.pointwise("add", kept, w.pointwise("mul", enter, gate(3, "tanh")))
    return w.pointwise("mul", leave, w.pointwise("tanh", cell))
