"""One rule per primitive; a primitive without a rule is an error that says how to register one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from roofline.frontends.jax.values import Operand
from roofline.registry import filed
from roofline.text import words

#: ``(writer, equation, *operands) -> what each output variable stands for``
Lowering: TypeAlias = Callable[..., Operand | Sequence[Operand]]
RULES: dict[str, Lowering] = {}


def lowering(*primitives: str) -> Callable[[Lowering], Lowering]:
    """Register the decorated function as the rule of primitives, by name; one text may name several.

    Raises
    ------
    GraphError
        A primitive has a rule already.
    """
    return filed(RULES, words(" ".join(primitives)), lambda name: f"primitive {name!r} has two lowering rules")
