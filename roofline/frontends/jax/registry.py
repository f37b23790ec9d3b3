"""One rule per primitive; a primitive without a rule is an error that says how to register one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from roofline.errors import GraphError
from roofline.frontends.jax.values import Operand

if TYPE_CHECKING:
    from roofline.frontends.jax.writer import Lowerer

#: ``(lowerer, equation, *operands) -> what each output variable stands for``
Rule: TypeAlias = "Callable[..., Operand | Sequence[Operand]]"
RULES: dict[str, Rule] = {}


def rule(*primitives: str) -> Callable[[Rule], Rule]:
    """Register the decorated function as the lowering of primitives, by name.

    Raises
    ------
    GraphError
        A primitive has a rule already.
    """

    def register(function: Rule) -> Rule:
        for name in primitives:
            if name in RULES:
                raise GraphError(f"primitive {name!r} has two lowering rules")
            RULES[name] = function
        return function

    return register


def place(equation: Any) -> str:
    """Return where in the program an equation stands: its scopes, as the program named them."""
    return str(equation.source_info.name_stack)


def lower_all(lowerer: Lowerer, equation: Any, operands: Sequence[Operand]) -> list[Operand] | None:
    """Return what an equation's outputs stand for; None where its primitive has no rule."""
    found = RULES.get(equation.primitive.name)
    if found is None:
        return None
    result = found(lowerer, equation, *operands)
    return list(result) if isinstance(result, (list, tuple)) else [result]  # type: ignore[list-item]
