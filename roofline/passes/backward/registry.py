"""One rule per op type: what its backward pass runs. An op without a rule is an error, never free."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from roofline.errors import UnknownOpError
from roofline.graph.op import Op, show
from roofline.graph.opgraph import OpGraph
from roofline.registry import filed

#: of the `Step` of an op; it adds ops to the backward pass and gives gradients to the op's operands
BackwardRule: TypeAlias = Callable[[Any], None]
R = TypeVar("R", bound=BackwardRule)

RULES: dict[type[Op], BackwardRule] = {}


def backward(*op_types: type[Op]) -> Callable[[R], R]:
    """Register the decorated function of a `Step` as what the backward pass of these op types runs.

    Raises
    ------
    GraphError
        An op type has a rule already.
    """
    return filed(RULES, op_types, lambda op: f"op {op.__name__!r} has two backward rules")


def check_rules(graph: OpGraph, op_ids: Iterable[str]) -> None:
    """Raise unless every named op has a rule.

    Raises
    ------
    UnknownOpError
        Lists each kind once, with its count, first place and shapes, and how to register a rule.
    """
    missing: dict[type[Op], list[str]] = {}
    for op_id in op_ids:
        if type(graph.op(op_id)) not in RULES:
            missing.setdefault(type(graph.op(op_id)), []).append(op_id)
    if missing:
        kinds = []
        for op_type, ids in missing.items():
            shapes = ", ".join(show(t.shape) for t in graph.arguments(graph.op(ids[0]))[0])
            kinds.append(f"{op_type.__name__!r} x{len(ids)}, first at {ids[0]!r} ({shapes})")
        first = next(iter(missing)).__name__
        raise UnknownOpError(
            f"{graph.name}: no backward rule for {'; '.join(kinds)}: register one with @backward({first})"
        )
