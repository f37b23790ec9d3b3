"""What a writer spells: each op of a graph as a layer with its switches and sizes, free of any framework.

Two layers of equal kind and switches are written by the same code; their sizes are what that code is told. Sizes have a
*dimension* (width, kernel, stride ...), so that no width is ever mistaken for an equal number of heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from roofline.errors import UnknownOpError
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Shape, Tensor
from roofline.registry import filed

#: a size: a number, or one for each axis of an image where they differ
Size: TypeAlias = int | tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """An op as a writer sees it.

    Attributes
    ----------
    name, op_id
        Its name in its module and in the graph.
    inputs, outputs
        Computed tensors (and those that enter the network), by id.
    weights
        Its stored tensors by what they are called in the layer (``weight``, ``bias``, ``scale`` ...).
    switches
        What decides on the code beside the kind.
    sizes
        What the code is told.
    """

    kind: str
    name: str
    op_id: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    weights: dict[str, Tensor] = field(default_factory=dict)
    switches: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, Size] = field(default_factory=dict)

    def number(self, size: str) -> int:
        """Return a size that is one number."""
        found = self.sizes[size]
        if isinstance(found, tuple):
            raise UnknownOpError(f"op {self.op_id!r} ({self.kind}) cannot be exported: {size} differs by axis")
        return found


#: size -> its dimension; equal sizes of one dimension are one parameter of a class
DIMENSIONS = {
    "in_channels": "width",
    "out_channels": "width",
    "groups": "groups",
    "kernel": "kernel",
    "stride": "stride",
    "rows": "table",
    "heads": "heads",
    "kv_heads": "heads",
    "tokens": "tokens",
    "window": "window",
    "height": "grid",
    "width": "grid",
}

Describe: TypeAlias = Callable[["Context"], dict[str, Any]]
KINDS: dict[type[Op], Describe] = {}
F = TypeVar("F", bound=Describe)


@dataclass(frozen=True)
class Context:
    """An op with its surroundings, as the rules below see it."""

    graph: OpGraph
    op_id: str
    op: Any

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """All tensors that the op reads."""
        return tuple(self.graph.tensors[t] for t in self.op.inputs)

    @property
    def output(self) -> Tensor:
        """The first tensor that the op writes."""
        return self.graph.tensors[self.op.outputs[0]]

    def fail(self, why: str) -> UnknownOpError:
        """Return the error for an op that no writer knows."""
        return UnknownOpError(f"op {self.op_id!r} ({self.op.kind}) cannot be exported: {why}")


def layer(cls: type[Op]) -> Callable[[F], F]:
    """Register the rule that describes an op as a layer."""
    return filed(KINDS, (cls,), lambda op: f"op {op.__name__!r} has two export rules")
