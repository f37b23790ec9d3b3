"""One rule per op type. An op without a rule is an error, never zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from roofline.errors import GraphError, RooflineError, UnknownOpError
from roofline.graph.op import Op, show
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Tensor
from roofline.registry import filed
from roofline.work.types import Work

Tensors: TypeAlias = tuple[Tensor, ...]
WorkRule: TypeAlias = Callable[[Op, Tensors, Tensors], Work]
O = TypeVar("O", bound=Op)  # noqa: E741

RULES: dict[type[Op], WorkRule] = {}


def rule(op_type: type[O]) -> Callable[[Callable[[O, Tensors, Tensors], Work]], Callable[[O, Tensors, Tensors], Work]]:
    """Register the decorated function ``(op, inputs, outputs) -> Work`` as the rule of `op_type`.

    Raises
    ------
    GraphError
        The op type has a rule already.
    """
    keys: tuple[type[Op], ...] = (op_type,)
    return filed(RULES, keys, lambda op: f"op {op.__name__!r} has two work rules")


def work_of(op: Op, inputs: Tensors, outputs: Tensors) -> Work:
    """Return the work of one run of an op.

    Raises
    ------
    UnknownOpError
        No rule: the message names the op, its place and its shapes.
    GraphError
        The op has tensors that its rule cannot read: too few, or of another rank.
    """
    found = RULES.get(type(op))
    if found is None:
        shapes = ", ".join(show(t.shape) for t in inputs)
        kind = type(op).__name__
        raise UnknownOpError(
            f"no work rule for op {kind!r} at {op.outputs[0]!r} ({shapes}): register one with @rule({kind})"
        )
    try:
        return found(op, inputs, outputs)
    except RooflineError:
        raise
    except Exception as error:
        raise GraphError(f"op {op.outputs[0]!r} of kind {op.kind!r} does not fit its tensors: {error}") from error


def count(graph: OpGraph) -> Work:
    """Return the work of a whole graph, loop bodies as often as they run.

    Raises
    ------
    UnknownOpError
        Some ops have no rule; the message lists each kind once, with its count and first place.
    """
    missing: dict[type[Op], list[str]] = {}
    total = Work()
    for op_id, op in graph.ops.items():
        if type(op) not in RULES:
            missing.setdefault(type(op), []).append(op_id)
        else:
            total = total + work_of(op, *graph.arguments(op)).scaled(op.times)
    if missing:
        kinds = "; ".join(f"{t.__name__!r} x{len(ids)}, first at {ids[0]!r}" for t, ids in missing.items())
        raise UnknownOpError(f"{graph.name}: no work rule for {kinds}")
    return total
