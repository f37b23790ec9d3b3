"""Reductions that are more than one operation per element, or that give several results in one kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from roofline.families import Family
from roofline.graph.op import Op
from roofline.graph.tensor import Shape


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistic(Op):
    """`function` (var, prod, norm, logsumexp, max ...) over `axes`.

    With a second output also the mean, or the positions of the maxima: every output has the reduced shape.
    """

    axes: tuple[int, ...]
    function: str
    keep: bool = True
    kind: ClassVar[str] = "statistic"

    @property
    def family(self) -> Family:
        """A reduction."""
        return "reduction"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the input's shape with the reduced axes dropped or 1, for every output."""
        return (self.reduced(shapes[0], self.axes, keep=self.keep),) * len(self.outputs)
