"""Dimensions that a file states as expressions of others: ``past_length + length``, ``2*s0``, ``Max(1, s0//8)``."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from roofline.errors import InputError

#: characters of a name beyond which it is not looked into
MAX_LENGTH = 200
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "max": max,
    "min": min,
    "floor": math.floor,
    "ceil": math.ceil,
    "ceiling": math.ceil,
    "mod": operator.mod,
    "floordiv": operator.floordiv,
}


def parts(text: str) -> frozenset[str]:
    """Return the names that a dimension is computed from; none where its text is a mere name.

    Examples
    --------
    >>> sorted(parts("past + 2*(length // 8)")), sorted(parts("sequence length")), sorted(parts("N"))
    (['length', 'past'], [], [])
    """
    tree = _tree(text)
    if tree is None or isinstance(tree, (ast.Name, ast.Constant)):
        return frozenset()
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return frozenset(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and n not in called)


def size_of(text: str, sizes: Mapping[str, int]) -> int:
    """Return the size that an expression gives.

    Raises
    ------
    InputError
        It is no whole number, or divides by zero.

    Examples
    --------
    >>> size_of("past + 2*(length // 8)", {"past": 3, "length": 17})
    7
    """
    try:
        found = _value(_tree(text), sizes)
    except (ZeroDivisionError, OverflowError, TypeError):
        raise InputError(f"dimension {text!r} has no value") from None
    if found != int(found):
        raise InputError(f"dimension {text!r} is no whole number: {float(found):g}")
    return int(found)


def _tree(text: str) -> ast.expr | None:
    """Return the expression in a text; None where it is anything but arithmetic of names and whole numbers."""
    if len(text) > MAX_LENGTH:
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return tree if _plain(tree) else None


def _plain(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        return True
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    if isinstance(node, ast.UnaryOp):
        return type(node.op) in _OPERATORS and _plain(node.operand)
    if isinstance(node, ast.BinOp):
        return type(node.op) in _OPERATORS and _plain(node.left) and _plain(node.right)
    named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords
    return named and node.func.id.lower() in _FUNCTIONS and bool(node.args) and all(map(_plain, node.args))  # type: ignore[attr-defined]


def _value(node: Any, sizes: Mapping[str, int]) -> Fraction:
    if isinstance(node, ast.Constant):
        return Fraction(int(node.value))  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return Fraction(sizes[node.id])
    if isinstance(node, ast.Call):
        return Fraction(_FUNCTIONS[node.func.id.lower()](*(_value(a, sizes) for a in node.args)))  # type: ignore[attr-defined]
    if isinstance(node, ast.UnaryOp):
        return Fraction(_OPERATORS[type(node.op)](_value(node.operand, sizes)))
    return Fraction(_OPERATORS[type(node.op)](_value(node.left, sizes), _value(node.right, sizes)))
