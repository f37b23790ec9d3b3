"""One op as a function of its sizes: numbers or columns, with the work counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from roofline.graph.builder import GraphBuilder
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric

Build = Callable[..., Tensor]


@dataclass(frozen=True, kw_only=True)
class Example:
    """An op type, its sizes, the graph that holds one such op, and (MACs, simple, transcendental) counted by hand."""

    op: type[Op]
    sizes: tuple[int, ...]
    build: Build
    macs: float = 0
    simple: float = 0
    transcendental: float = 0

    def graph(self, *sizes: Numeric) -> OpGraph:
        """Return the example at these sizes."""
        b = GraphBuilder(self.op.__name__)
        return b.graph([self.build(b, *sizes)])
