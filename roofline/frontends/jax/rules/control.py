"""Primitives that call other programs: inlined; loops run their body so many times, of branches the dearest runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from roofline.errors import InputError
from roofline.frontends.jax.reader import Reader
from roofline.frontends.jax.registry import lowering
from roofline.frontends.jax.rules.shapes import reshaped
from roofline.frontends.jax.values import Constant, Operand, Value, dtype_of, literal
from roofline.graph.indexing import Update
from roofline.graph.movement import Part

_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr", "call")


@lowering(
    "jit pjit closed_call core_call call remat remat2 checkpoint custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr "
    "custom_vmap_call composite jaxpr_call"
)
def call(w: Reader, equation: Any, *operands: Operand) -> list[Operand]:
    """Write the called program in place of the call."""
    return body(w, next(equation.params[name] for name in _BODIES if name in equation.params), operands)


def body(w: Reader, jaxpr: Any, operands: Sequence[Operand]) -> list[Operand]:
    """Write a jaxpr, closed or open."""
    return w.closed(jaxpr, operands) if hasattr(jaxpr, "consts") else w.run(jaxpr, operands)


@lowering("shard_map")
def shard_map(w: Reader, equation: Any, *operands: Operand) -> list[Operand]:
    """Write the program of the only device of a mesh in place of the call."""
    mesh = equation.params["mesh"]
    if int(mesh.size) != 1:
        raise InputError(f"a program for {mesh.size} devices: lower what one of them runs, on arrays of its share")
    return body(w, equation.params["jaxpr"], operands)


@lowering(
    "psum psum2 psum_invariant pmax pmin ppermute pbroadcast pcast all_gather all_gather_invariant reduce_scatter "
    "all_to_all"
)
def among_one(w: Reader, equation: Any, *operands: Operand) -> list[Operand]:
    """Return the operands: the only device of a mesh has nobody to exchange with."""
    shapes = [tuple(int(d) for d in variable.aval.shape) for variable in equation.outvars]
    return [reshaped(w, operand, shape) for operand, shape in zip(operands, shapes, strict=True)]


@lowering("axis_index")
def axis_index(w: Reader, equation: Any) -> Operand:
    """Return the place of the only device."""
    return Constant(shape=(), dtype=dtype_of(equation.outvars[0].aval), value=0)


@lowering("scan")
def scan(w: Reader, equation: Any, *operands: Operand) -> list[Operand]:
    """Write the body once, to run `length` times: stacked inputs are read, stacked outputs written slice by slice."""
    p = equation.params
    length, fixed, carried = int(p["length"]), int(p["num_consts"]), int(p["num_carry"])
    constants, carry, stacked = operands[:fixed], operands[fixed : fixed + carried], operands[fixed + carried :]
    start = [_carry(w, c) for c in carry]
    targets: list[Value] = []
    with w.repeated(length):
        results = body(w, p["jaxpr"], [*constants, *start, *(_slice(w, s) for s in stacked)])
    for result in results[carried:]:
        held = w.spread(w.value(result))
        buffer = w.emit_fill((length, *held.tensor.shape), held.tensor.dtype)  # type: ignore[arg-type]
        with w.repeated(length):
            written = w.emit("stack", Update, buffer, held.tensor)
        axes = (0, *(None if a is None else a + 1 for a in held.axes))
        targets.append(Value(tensor=written, shape=(length, *held.shape), axes=axes))
    return [*results[:carried], *targets]


def _carry(w: Reader, operand: Operand) -> Operand:
    """Return what the body reads: a counter costs nothing, an array of equal numbers is one in memory."""
    if isinstance(operand, Value):
        return operand
    return replace(operand, value=None) if prod(operand.shape) == 1 else w.value(operand)


def _slice(w: Reader, stacked: Operand) -> Operand:
    if isinstance(stacked, Constant):
        core = stacked.core[1:] if len(stacked.core) == len(stacked.shape) else stacked.core
        return replace(stacked, shape=stacked.shape[1:], core=core, value=stacked.value)
    axis, shape = stacked.axes[0], stacked.shape[1:]
    if axis is None:
        return replace(stacked, shape=shape, axes=stacked.axes[1:])
    view = w.emit("slice", Part, stacked.tensor, axis=axis, size=1)
    return Value(tensor=view, shape=shape, axes=stacked.axes[1:])


@lowering("while")
def while_loop(w: Reader, equation: Any, *operands: Operand) -> list[Operand]:
    """Write the body of a loop that counts from one known number to another."""
    p = equation.params
    tests, fixed = int(p["cond_nconsts"]), int(p["body_nconsts"])
    bounds, constants, carry = operands[:tests], operands[tests : tests + fixed], operands[tests + fixed :]
    trips = _trips(p["cond_jaxpr"], p["body_jaxpr"], bounds, constants, carry)
    with w.repeated(trips):
        return body(w, p["body_jaxpr"], [*constants, *(_carry(w, c) for c in carry)])


def _trips(
    condition: Any, step: Any, bounds: Sequence[Operand], constants: Sequence[Operand], carry: Sequence[Operand]
) -> int:
    """Return the trip count of ``while i < n: i += step`` for known i, n and step."""
    test, done = condition.jaxpr, step.jaxpr
    known = dict(zip(test.invars, [*bounds, *carry], strict=True))
    if len(test.eqns) == 1 and test.eqns[0].primitive.name in ("lt", "le", "gt", "ge"):
        left, right = test.eqns[0].invars
        for counter, bound in ((left, right), (right, left)):
            position = test.invars.index(counter) - len(bounds) if counter in test.invars else -1
            stop = literal(bound) if hasattr(bound, "val") else known[bound]
            first = known.get(counter) if position >= 0 else None
            change = _change(done, len(constants) + position, position) if position >= 0 else None
            if isinstance(first, Constant) and isinstance(stop, Constant) and change:
                return _count(first.value, stop.value, change, test.eqns[0].primitive.name in ("le", "ge"))
    raise InputError(
        "the trip count of a while loop depends on data: use fori_loop with bounds that are Python numbers, or scan"
    )


def _change(jaxpr: Any, entered: int, left: int) -> float | None:
    """Return by how much a loop's body changes its counter; None where that is not a known number."""
    for equation in jaxpr.eqns:
        if equation.outvars[0] is jaxpr.outvars[left] and equation.primitive.name in ("add", "sub"):
            a, b = equation.invars
            if a is jaxpr.invars[entered] and hasattr(b, "val"):
                return float(b.val) if equation.primitive.name == "add" else -float(b.val)
    return None


def _count(first: float | None, stop: float | None, change: float, inclusive: bool) -> int:
    if first is None or stop is None:
        raise InputError("the trip count of a while loop depends on data: its bounds must be Python numbers")
    distance = (stop - first) / change
    trips = int(distance // 1) + 1 if inclusive else -int(-distance // 1)
    if trips < 1:
        raise InputError(f"a while loop runs {trips} times: from {first!r} to {stop!r} in steps of {change!r}")
    return trips


@lowering("cond")
def cond(w: Reader, equation: Any, index: Operand, *operands: Operand) -> list[Operand]:
    """Write one branch: the one that is known to run, else the one with most multiply-adds, then most elements."""
    branches = equation.params["branches"]
    if isinstance(index, Constant) and index.value is not None:
        return body(w, branches[max(0, min(int(index.value), len(branches) - 1))], operands)
    dearest = max(range(len(branches)), key=lambda i: _price(branches[i], operands))
    return body(w, branches[dearest], operands)


def _price(branch: Any, operands: Sequence[Operand]) -> tuple[float, float]:
    """Return multiply-adds and elements written by a branch, lowered by itself."""
    scratch = Reader()
    scratch.place = "branch"
    for operand in operands:
        if isinstance(operand, Value):
            scratch.tensors[operand.tensor.id] = operand.tensor
    body(scratch, branch, operands)
    macs = elements = 0.0
    for op in scratch.ops.values():
        inputs, outputs = (tuple(scratch.tensors[t] for t in ids) for ids in (op.inputs, op.outputs))
        macs += float(sum((c.macs * op.times for c in op.products(inputs, outputs)), 0.0))
        if op.family != "free":
            elements += float(sum((t.elements * op.times for t in outputs), 0.0))
    return macs, elements
