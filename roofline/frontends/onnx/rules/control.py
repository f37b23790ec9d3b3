"""Loops with a known number of turns, and conditions that are known at load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from roofline.dtypes import DTYPES
from roofline.errors import InputError, ShapeError
from roofline.frontends.onnx.registry import Node, lowering
from roofline.frontends.onnx.rules.shapes import part
from roofline.frontends.onnx.values import Constant, Value, check_shape
from roofline.frontends.onnx.views import axis_of
from roofline.frontends.onnx.writer import MAX_TURNS, Writer
from roofline.graph.indexing import Fill, Update


def stacked(w: Writer, value: Value, turns: int, axis: int = 0) -> Value:
    """Return the results of all turns in one tensor: every turn writes its part in place."""
    shape = check_shape((*value.shape[:axis], turns, *value.shape[axis:]), "stacked result")
    target = w.add(Fill, dtype=value.dtype, shape=shape, function="empty")
    with w.repeated(turns):
        return w.value(w.add(Update, target, w.read(value)))


@lowering("Loop")
def loop(w: Writer, node: Node) -> Sequence[Value]:
    """Lower the body once; its ops run as often as the trip count says."""
    trips, condition = node.get(0), node.get(1)
    body = node.attributes.get("body")
    if trips is None or trips.data is None:
        raise InputError("a loop whose number of turns depends on the data: export with a fixed length, or unroll it")
    turns = int(trips.data.item())
    if condition is not None and condition.data is not None and not condition.data.item():
        turns = 0
    state = [v for v in node.inputs[2:] if v is not None]
    if turns < 1:
        return _no_turn(node, body, state)
    if turns > MAX_TURNS:
        raise InputError(f"a loop of {turns} turns; allowed: up to {MAX_TURNS}")
    counter = _opaque(w, (), "iteration", "int64")
    going = Value(shape=(), dtype=DTYPES["bool"], data=np.array(True), constant=Constant(name="condition"))
    fixed = [_forgotten(w, value) for value in state] if turns > 1 else state
    with w.repeated(turns):
        outputs = _lowered(w, body, [counter, going, *fixed])
    carried, scanned = outputs[1 : 1 + len(state)], outputs[1 + len(state) :]
    for before, after in zip(state, carried, strict=True):
        if turns > 1 and before.parts is None and before.shape != after.shape:
            raise ShapeError(f"a carried tensor changes its shape from {before.shape!r} to {after.shape!r}")
    return [*carried, *(stacked(w, value, turns) for value in scanned)]


def _no_turn(node: Node, body: Any, state: list[Value]) -> list[Value]:
    if node.outputs > len(state):
        raise InputError("a loop of no turns has no stacked results")
    return state


def _opaque(w: Writer, shape: tuple[int, ...], name: str, dtype: str) -> Value:
    """Return a value that changes from turn to turn."""
    return w.value(w.add(Fill, dtype=DTYPES[dtype], shape=shape, function=name))


def _forgotten(w: Writer, value: Value) -> Value:
    """Return a carried value without its elements: only those of the first turn are known."""
    return replace(value, data=None) if value.known and value.parts is None else value


def _lowered(w: Writer, body: Any, inputs: list[Value]) -> list[Value]:
    lower = getattr(w, "subgraph", None)
    if lower is None or body is None:
        raise InputError("a node without body")
    found: list[Value] = lower(body, inputs)
    return found


@lowering("Scan")
def scan(w: Writer, node: Node) -> Sequence[Value]:
    """Lower the body once for each element along the scanned axes."""
    body, count = node.attributes.get("body"), node.integer("num_scan_inputs")
    values = list(node.given)
    if not 1 <= count <= len(values):
        raise ShapeError(f"{count} scanned inputs of {len(values)}")
    if node.version < 9:
        raise InputError("scans before operator set 9 are not supported")
    state, scanned = values[: len(values) - count], values[len(values) - count :]
    axes = node.integers("scan_input_axes", (0,) * count)
    turns = {v.shape[axis_of(a, v.rank)] for v, a in zip(scanned, axes, strict=True)}
    if len(turns) != 1:
        raise ShapeError(f"scanned inputs have different lengths: {sorted(turns)!r}")
    length = turns.pop()
    with w.repeated(length):
        slices = []
        for value, axis in zip(scanned, axes, strict=True):
            axis = axis_of(axis, value.rank)
            one = part(w, replace(value, data=None) if value.known else value, axis, 0, 1)
            slices.append(w.reshaped(one, (*value.shape[:axis], *value.shape[axis + 1 :])))
        outputs = _lowered(w, body, [*(_forgotten(w, v) for v in state), *slices])
    results = outputs[len(state) :]
    out_axes = node.integers("scan_output_axes", (0,) * len(results))
    made = [stacked(w, v, length, axis_of(a, v.rank + 1)) for v, a in zip(results, out_axes, strict=True)]
    return [*outputs[: len(state)], *made]


@lowering("If")
def condition(w: Writer, node: Node) -> Sequence[Value]:
    """Lower the branch that is taken, where that is known at load."""
    decided = node[0].data
    if decided is None:
        raise InputError("a condition that depends on the data: export the branch that is meant")
    branch = node.attributes.get("then_branch" if decided.item() else "else_branch")
    return _lowered(w, branch, [])
