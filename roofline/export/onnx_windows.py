"""How the ONNX writer spells what moves positions: squares of pixels, windows of attention, rolls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from roofline.errors import UnknownOpError
from roofline.export.layers import Layer
from roofline.export.onnx_nodes import Nodes


def _cut(nodes: Nodes, x: str, out: str, before: Sequence[int], perm: Sequence[int], after: Sequence[int]) -> str:
    """Reshape, transpose, reshape."""
    x = nodes.reshape(f"{out}/apart", x, *before)
    return nodes.reshape(out, nodes.add("Transpose", f"{out}/turned", x, perm=perm), *after)


def regrid(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    """Squares of 2 x 2 positions into the channels or the batch, or back; in whatever order the image comes."""
    first = bool(layer.switches.get("first"))
    _, height, width, channels = (int(d) for d in layer.shapes[0])
    if layer.kind == "space_to_depth":
        channels //= 4
        if first:  # columns before rows, then channels
            return _cut(
                nodes,
                x[0],
                out,
                (0, channels, height, 2, width, 2),
                (0, 5, 3, 1, 2, 4),
                (0, 4 * channels, height, width),
            )
        return _cut(
            nodes, x[0], out, (0, height, 2, width, 2, channels), (0, 1, 3, 4, 2, 5), (0, height, width, 4 * channels)
        )
    if layer.kind == "space_to_batch":
        if first:
            return _cut(
                nodes, x[0], out, (0, channels, height, 2, width, 2), (3, 5, 0, 1, 2, 4), (-1, channels, height, width)
            )
        return _cut(
            nodes, x[0], out, (0, height, 2, width, 2, channels), (2, 4, 0, 1, 3, 5), (-1, height, width, channels)
        )
    height, width = height // 2, width // 2
    if first:
        return _cut(
            nodes,
            x[0],
            out,
            (2, 2, -1, channels, height, width),
            (2, 3, 4, 0, 5, 1),
            (0, channels, 2 * height, 2 * width),
        )
    return _cut(
        nodes, x[0], out, (2, 2, -1, height, width, channels), (2, 3, 0, 4, 1, 5), (0, 2 * height, 2 * width, channels)
    )


def window_partition(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    """Cut images into windows, which join the batch."""
    window = layer.number("window")
    height, width = _grid_of(nodes, layer)
    channels = int(layer.shapes[0][-1])
    before = (0, height // window, window, width // window, window, channels)
    return _cut(nodes, x[0], out, before, (0, 1, 3, 2, 4, 5), (-1, window * window, channels))


def window_reverse(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    """Join windows to images again."""
    window, height, width = (layer.number(s) for s in ("window", "height", "width"))
    channels = int(layer.shapes[0][-1])
    before = (-1, height // window, width // window, window, window, channels)
    return _cut(nodes, x[0], out, before, (0, 1, 3, 2, 4, 5), (0, height, width, channels))


def _grid_of(nodes: Nodes, layer: Layer) -> tuple[int, int]:
    """Return height and width of the image that a block cuts into windows."""
    block = layer.op_id.partition("/")[0]
    for other in nodes.network.root.layers():
        if other.kind == "window_reverse" and other.op_id.partition("/")[0] == block:
            return other.number("height"), other.number("width")
    raise UnknownOpError(f"op {layer.op_id!r} (window_partition) has no form in ONNX: its windows are never joined")


def roll(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    """Shift an image cyclically: a look-up of its rows or columns."""
    axis, shift = layer.switches["axis"], layer.number("window") // 2
    size = int(layer.shapes[0][axis])
    index = np.roll(np.arange(size), shift if layer.switches["back"] else -shift)
    return nodes.add("Gather", out, *x, nodes.constant(f"{out}/index", index), axis=axis)


def heads_first(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    """Turn the rows of a window's table into (heads, area, area)."""
    heads, area, _ = (int(d) for d in layer.shapes[0])
    return nodes.reshape(out, nodes.add("Transpose", f"{out}/turned", *x, perm=(1, 0)), heads, area, area)
