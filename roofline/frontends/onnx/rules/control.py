"""Loops with a known number of turns, and conditions that are known at load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from roofline.dtypes import DTYPES
from roofline.errors import InputError, RooflineError, ShapeError, UnknownOpError
from roofline.frontends.onnx.registry import Node, lowering
from roofline.frontends.onnx.rules.shapes import concatenated, part
from roofline.frontends.onnx.values import Constant, UndecidedError, Value, check_shape, dtype_of, known
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
    """Lower the body once, to run as often as the loop turns; turn by turn where only that says how often."""
    body = node.attributes.get("body")
    trips, condition = (None if v is None else v.data for v in (node.get(0), node.get(1)))
    most = None if trips is None else int(trips.item())
    state = [v for v in node.inputs[2:] if v is not None]
    if (condition is not None and not condition.item()) or (most is not None and most < 1):
        return _no_turn(node, body, state)
    if (node.get(0) is not None and trips is None) or (most is None and node.get(1) is not None and condition is None):
        raise UndecidedError(f"{_DECIDED}: export with a fixed length, or unroll it")
    try:
        found, certain = _once(w, body, state, most)
    except UnknownOpError:
        raise
    except RooflineError as error:
        unrolled = _turn_by_turn(w, body, state, most)
        if unrolled is None:
            raise error
        return unrolled
    return found if certain else _turn_by_turn(w, body, state, most) or found


_DECIDED = "a loop whose number of turns depends on the data"
_TRUE = Value(shape=(), dtype=DTYPES["bool"], data=np.array(True), constant=Constant(name="condition"))
#: turns that are lowered one by one: a loop of more is written without a trip count for another reason
MAX_UNROLLED = 1000


def _once(w: Writer, body: Any, state: list[Value], most: int | None) -> tuple[list[Value], bool]:
    """Lower the body once; return the results, and whether its condition holds in every turn as far as is known."""
    turns = 1 if most is None else most
    with w.repeated(min(turns, MAX_TURNS)):
        counter = _opaque(w, (), "iteration", "int64")
        fixed = [_forgotten(w, value) for value in state] if turns > 1 or most is None else state
        outputs = lowered(w, body, [counter, _TRUE, *fixed])
    goes_on = outputs[0].data
    if goes_on is not None and not goes_on.item():
        turns = 1
        outputs = lowered(w, body, [counter, _TRUE, *state])
    elif most is None or turns > MAX_TURNS:
        if goes_on is None or most is None:
            raise UndecidedError(f"{_DECIDED}: export with a fixed length, or unroll it")
        raise InputError(f"a loop of {turns} turns; allowed: up to {MAX_TURNS}")
    carried, scanned = outputs[1 : 1 + len(state)], outputs[1 + len(state) :]
    for before, after in zip(state, carried, strict=True):
        if turns > 1 and before.parts is None and before.shape != after.shape:
            raise ShapeError(f"a carried tensor changes its shape from {before.shape!r} to {after.shape!r}")
    return [*carried, *(stacked(w, value, turns) for value in scanned)], goes_on is not None


def _turn_by_turn(w: Writer, body: Any, state: list[Value], most: int | None) -> list[Value] | None:
    """Lower every turn of a loop by itself, with what is known in it; None where its condition is not."""
    scanned: list[list[Value]] = []
    going = True
    while going and (most is None or len(scanned) < most):
        if len(scanned) == MAX_UNROLLED:
            return None
        turn = Value(shape=(), dtype=DTYPES["int64"], data=np.array(len(scanned)), constant=Constant(name="iteration"))
        condition, *results = lowered(w, body, [turn, _TRUE, *state])
        if condition.data is None:
            return None
        going = bool(condition.data.item())
        state, rows = results[: len(state)], results[len(state) :]
        scanned.append([w.reshaped(row, (1, *row.shape)) for row in rows])
    return [*state, *(concatenated(w, list(rows), 0) for rows in zip(*scanned, strict=True))]


def _no_turn(node: Node, body: Any, state: list[Value]) -> list[Value]:
    """Return the results of a loop that never turns: what it began with, and nothing stacked."""
    declared = [] if body is None else list(body.output)[1 + len(state) :]
    empty: list[Value] = []
    for info in declared:
        kind = info.type.tensor_type
        inner = tuple(max(0, int(d.dim_value)) for d in kind.shape.dim)
        empty.append(known(np.zeros((0, *inner)), dtype_of(kind.elem_type or 1)))
    return [*state, *empty]


def _opaque(w: Writer, shape: tuple[int, ...], name: str, dtype: str) -> Value:
    """Return a value that changes from turn to turn."""
    return w.value(w.add(Fill, dtype=DTYPES[dtype], shape=shape, function=name))


def _forgotten(w: Writer, value: Value) -> Value:
    """Return a carried value without its elements: only those of the first turn are known."""
    return replace(value, data=None) if value.known and value.parts is None else value


def lowered(w: Writer, body: Any, inputs: list[Value]) -> list[Value]:
    """Lower a graph inside a node and return its outputs."""
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
        outputs = lowered(w, body, [*(_forgotten(w, v) for v in state), *slices])
    results = outputs[len(state) :]
    out_axes = node.integers("scan_output_axes", (0,) * len(results))
    made = [stacked(w, v, length, axis_of(a, v.rank + 1)) for v, a in zip(results, out_axes, strict=True)]
    return [*outputs[: len(state)], *made]


@lowering("If")
def condition(w: Writer, node: Node) -> Sequence[Value]:
    """Lower the branch that is taken, where that is known at load; either where both do the same."""
    decided = node[0].data
    branches = [node.attributes.get(name) for name in ("then_branch", "else_branch")]
    if decided is not None:
        return lowered(w, branches[0 if decided.item() else 1], [])
    (first, results), (second, others) = (_written(w, branch) for branch in branches)
    if first != second or [v.shape for v in results] != [v.shape for v in others]:
        raise UndecidedError("a condition that depends on the data: export the branch that is meant")
    return results


def _written(w: Writer, branch: Any) -> tuple[list[object], list[Value]]:
    """Lower a branch; return what it does, names apart, and its results."""
    before = len(w.ops)
    results = lowered(w, branch, [])
    done: list[object] = []
    for op in islice(w.ops.values(), before, None):
        fields = {name: field for name, field in vars(op).items() if name not in ("inputs", "outputs")}
        ends = [(t.shape, t.dtype, t.role) for t in (w.tensors[name] for name in (*op.inputs, *op.outputs))]
        done.append((type(op), fields, ends))
    return done, results
