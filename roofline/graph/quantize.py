"""Rounding to a quantized format at run time: activations on their way into a product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from roofline.families import Family
from roofline.graph.op import Op
from roofline.graph.tensor import Shape


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantize(Op):
    """Rounding of a tensor to the format of its output, which has `Tensor.scales`.

    With `dynamic` the scales are found first, from the largest magnitude of the elements that share one; else they are
    known beforehand.
    """

    dynamic: bool = True
    kind: ClassVar[str] = "quantize"

    @property
    def family(self) -> Family:
        """Needs all elements of a row before the first result."""
        return "reduction"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the input's shape."""
        return (shapes[0],)
