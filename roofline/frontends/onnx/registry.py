"""One rule per ONNX operator: functions ``(writer, node) -> values``, filed under domain and operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from roofline.errors import GraphError
from roofline.frontends.onnx.values import UndecidedError, Value
from roofline.frontends.onnx.writer import Writer
from roofline.registry import filed
from roofline.text import words

STANDARD = ""
MICROSOFT = "com.microsoft"

Lowering: TypeAlias = "Callable[[Writer, Node], Value | Sequence[Value]]"
R = TypeVar("R", bound="Lowering")

#: of the outputs of a node, the first
FIRST = frozenset({0})
RULES: dict[tuple[str, str], Lowering] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """An operator of the file, its inputs resolved.

    Attributes
    ----------
    inputs
        Values in the operator's order; None for an optional one that is left out.
    outputs
        How many outputs are named, left-out ones in between included.
    read
        Positions of the outputs that somebody reads.
    version
        Operator set of its domain.
    """

    op: str
    domain: str
    name: str
    inputs: tuple[Value | None, ...]
    outputs: int
    version: int
    attributes: dict[str, Any] = field(default_factory=dict)
    read: frozenset[int] = FIRST

    def __getitem__(self, position: int) -> Value:
        """Return a required input.

        Raises
        ------
        GraphError
            It is missing.
        """
        found = self.get(position)
        if found is None:
            raise GraphError(f"input {position} is missing")
        return found

    def get(self, position: int) -> Value | None:
        """Return an input, None where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    @property
    def given(self) -> tuple[Value, ...]:
        """The inputs that are there."""
        return tuple(v for v in self.inputs if v is not None)

    def integer(self, name: str, default: int | None = None) -> int:
        """Return an integer attribute."""
        return int(self._attribute(name, default, int))

    def number(self, name: str, default: float) -> float:
        """Return a float attribute."""
        return float(self._attribute(name, default, (int, float)))

    def text(self, name: str, default: str) -> str:
        """Return a string attribute."""
        return str(self._attribute(name, default, str))

    def integers(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        return tuple(map(int, self._attribute(name, default, (list, tuple))))

    def list_or(self, name: str, position: int) -> tuple[int, ...] | None:
        """Return a list of integers that older operator sets have as an attribute and newer ones as an input."""
        if name in self.attributes:
            return self.integers(name)
        value = self.get(position)
        return None if value is None else tuple(map(int, numbers(value, name)))

    def _attribute(self, name: str, default: Any, types: Any) -> Any:
        value = self.attributes.get(name, default)
        if value is None:
            raise GraphError(f"attribute {name!r} is missing")
        if not isinstance(value, types):
            raise GraphError(f"attribute {name!r} has the wrong type: {type(value).__name__!r}")
        return value


def numbers(value: Value, what: str) -> list[Any]:
    """Return the elements of an input that decides shapes.

    Raises
    ------
    UndecidedError
        They are known only during the run.
    """
    if value.data is None:
        raise UndecidedError(
            f"{what} is computed from data, so that shapes are known only during the run: "
            "export with fixed sizes, or cut the model before this node"
        )
    return list(value.data.ravel().tolist())


def lowering(*operators: str, domain: str = STANDARD) -> Callable[[R], R]:
    """Register the decorated function ``(writer, node) -> value or values`` as the rule of `operators`.

    One text may name several operators.

    Raises
    ------
    GraphError
        An operator has a rule already.

    Examples
    --------
    >>> @lowering("Scale", domain="my.company")
    ... def scale(w, node):
    ...     return w.pointwise("scale", node[0])
    >>> del RULES["my.company", "Scale"]
    """
    keys = [(domain, operator) for operator in words(" ".join(operators))]
    return filed(RULES, keys, lambda key: f"ONNX operator {key[1]!r} of domain {domain!r} has two lowerings")
