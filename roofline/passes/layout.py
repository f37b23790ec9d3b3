"""Memory format: channels last or channels first, as the program asks the runtime for it."""

from __future__ import annotations

from dataclasses import replace

from roofline.errors import InputError, nearest
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Conv, Layout

LAYOUTS: tuple[Layout, ...] = ("nhwc", "nchw")


def check_layout(layout: str) -> Layout:
    """Return `layout` in lower case.

    Raises
    ------
    InputError
        It is neither ``nhwc`` nor ``nchw``.
    """
    for known in LAYOUTS:
        if layout.lower() == known:
            return known
    raise InputError(f"unknown layout {layout!r}{nearest(layout, LAYOUTS)}")


def set_layout(graph: OpGraph, layout: Layout) -> OpGraph:
    """Return `graph` with its convolutions in a memory format; the runtime says what that costs."""
    if all(op.layout == layout for op in graph.ops.values() if isinstance(op, Conv)):
        return graph
    ops = {i: replace(op, layout=layout) if isinstance(op, Conv) else op for i, op in graph.ops.items()}
    return OpGraph(ops, graph.tensors, graph.outputs, graph.name)
