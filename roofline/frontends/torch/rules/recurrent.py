"""Recurrent layers: the input product for all steps at once, then one product and the gates per step."""

from __future__ import annotations

from typing import Any

import torch

from roofline.errors import InputError
from roofline.frontends.torch import values as views
from roofline.frontends.torch.asked import asked
from roofline.frontends.torch.catch import caught
from roofline.frontends.torch.reader import Tracer
from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import indexing, ops
from roofline.graph.op import Op
from roofline.graph.tensor import Tensor

#: gates that a cell computes from the products, and the point-wise function with the cost of all of them
_GATES = {"lstm": (4, "lstm_cell"), "gru": (3, "gru_cell"), "rnn_tanh": (1, "tanh"), "rnn_relu": (1, "relu")}


@caught("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(tracer: Tracer, input: Any, hidden: Any, *rest: Any, **_: Any) -> Any:
    """Lower a layer of cells; packed sequences are left to be taken apart."""
    if not isinstance(rest[0], (list, tuple)) or getattr(hidden, "dtype", None) == torch.int64:  # sizes of a packed one
        return NotImplemented
    weights, has_bias, layers, _dropout, _train, bidirectional, batch_first = rest
    kind = tracer.writer.op_name
    states = list(hidden) if isinstance(hidden, (list, tuple)) else [hidden]
    size = states[0].shape[-1]
    directions = 2 if bidirectional else 1
    steps_dim = 1 if batch_first else 0
    out = torch.empty((*input.shape[:-1], size * directions), dtype=input.dtype, device="meta")
    per_cell = len(weights) // (layers * directions)
    cell = _Cells(tracer.writer, kind, input.shape[steps_dim], input.shape[1 - steps_dim])
    x = tracer.value(input)
    if not batch_first:
        x = views.transpose(x, 0, 1)
    start = tracer.value(states[0])
    for layer in range(layers):
        outs = []
        for direction in range(directions):
            i = layer * directions + direction
            values = [tracer.value(weight) for weight in weights[i * per_cell : (i + 1) * per_cell]]
            outs.append(cell.run(x, views.select(start, 0, i), values, has_bias))
        x = cell.join(outs)
    last = x if batch_first else views.transpose(x, 0, 1)
    tracer.bind(out, last)
    final = []
    for state in states:
        made = torch.empty(tuple(state.shape), dtype=state.dtype, device="meta")
        tracer.bind(made, tracer.value(state))
        final.append(made)
    return (out, *final)


class _Cells:
    """The cells of one direction of one layer, over all steps."""

    def __init__(self, w: Writer, kind: str, steps: int, batch: int) -> None:
        self.writer, self.kind, self.steps, self.batch = w, kind, steps, batch

    def run(self, x: Value, state: Value, weights: list[Value], has_bias: bool) -> Value:
        """Return one step's state: every step reads the last one and its rows of the input product."""
        w, (gates, function) = self.writer, _GATES[self.kind]
        w_in, w_hidden, *more = weights
        bias_in, bias_hidden = more[:2] if has_bias else (None, None)
        width = w_hidden.shape[0]
        size = width // gates
        of_input = self._matmul(x, w_in, bias_in, (self.batch, self.steps, width), 1)
        of_state = self._matmul(state, w_hidden, bias_hidden, (self.batch, width), self.steps)
        row = views.select(of_input, 1, 0)
        gate = self._step((w.tensor(row), w.tensor(of_state)), function, (self.batch, width))
        states = views.part(gate, 1, 0, size)
        if len(more) in (1, 3):  # a projection of the state
            states = self._matmul(states, more[-1], None, (self.batch, more[-1].shape[0]), self.steps)
        return states

    def _matmul(self, x: Value, weight: Value, bias: Value | None, shape: tuple[int, ...], times: int) -> Value:
        inputs = [self.writer.tensor(x, range(x.rank)), self.writer.tensor(weight, (1, 0))]
        inputs += [self.writer.tensor(bias)] if bias is not None else []
        return self._add(ops.MatMul, inputs, shape, times=times)

    def _step(self, inputs: tuple[Tensor, ...], function: str, shape: tuple[int, ...]) -> Value:
        return self._add(
            ops.Elementwise, list(inputs), shape, times=self.steps, function=function, broadcast=(False, False)
        )

    def join(self, parts: list[Value]) -> Value:
        """Return the states of all steps and directions in one tensor."""
        shape = (self.batch, self.steps, sum(v.shape[-1] for v in parts))
        return self._add(indexing.Gather, [self.writer.tensor(v) for v in parts], shape, name="stack")

    def _add(self, make: type[Op], inputs: list[Tensor], shape: tuple[int, ...], **fields: Any) -> Value:
        return self.writer.emit(make, inputs, torch.empty(shape, device="meta"), **fields)


@aten("_thnn_fused_lstm_cell _thnn_fused_gru_cell")
def _fused_cell(w: Writer, a: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    gates = torch.empty(tuple(a.input_gates.shape), dtype=first.dtype, device="meta")
    function = "lstm_cell" if "lstm" in w.op_name else "gru_cell"
    parts = (a.input_gates, a.hidden_gates, a.input_bias, a.hidden_bias)
    return views.part(w.pointwise(function, gates, *parts), 1, 0, first.shape[-1])


@caught("_pack_padded_sequence")
def packed_sequence(tracer: Tracer, input: Any, lengths: Any, batch_first: bool) -> Any:
    """Pick the steps that there are, step by step; how many sequences each step has, where their lengths are known."""
    known = tracer.known.of(lengths)
    if known is None:
        raise InputError(asked(tracer, "aten._pack_padded_sequence", [lengths]))
    longest = int(known.max())
    sizes = torch.stack([(known > step).sum() for step in range(longest)]).cpu()
    made = torch.empty((int(known.sum()), *input.shape[2:]), dtype=input.dtype, device="meta")
    rows = tracer.writer.tensor(views.settled(tracer.value(input)))
    tracer.bind(made, tracer.writer.emit(indexing.Gather, [rows], made, name="pack"))
    return made, sizes
