"""A view that shows elements more than once, or not all of them: sliding windows, diagonals, other number formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from roofline.families import Family
from roofline.graph.op import Op
from roofline.graph.tensor import Shape


@dataclass(frozen=True, kw_only=True, eq=False)
class Window(Op):
    """A view of any `shape` on the bytes of a tensor, by strides: free. Its reader reads what it shows."""

    shape: Shape
    kind: ClassVar[str] = "window"

    @property
    def family(self) -> Family:
        """Costs nothing; the reader reads the viewed tensor."""
        return "free"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        return (self.shape,)
