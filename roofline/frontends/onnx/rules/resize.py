"""Interpolation to another grid: its size from sizes, scales, policies and regions, as ONNX states them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from roofline.errors import GraphError, ShapeError
from roofline.frontends.onnx.registry import Node, lowering, numbers
from roofline.frontends.onnx.values import Dims, Value, check_shape
from roofline.frontends.onnx.views import axis_of, identity
from roofline.frontends.onnx.writer import Writer
from roofline.graph import resampling
from roofline.graph.views import channels_last


@lowering("Resize", "Upsample")
def resize(w: Writer, node: Node) -> Value:
    """Interpolate an image to another grid."""
    x = node[0]
    shape = _resized(node, x.shape)
    if shape == x.shape:
        return x
    check_shape(shape, "resized image")
    mode = {"nearest": "nearest", "cubic": "cubic"}.get(node.text("mode", "nearest"), "linear")
    wide = bool(node.integer("antialias", 0))
    if x.rank > 2 and shape[:2] == x.shape[:2]:
        order = channels_last(x.rank)
        taps = resampling.widened_taps(mode, x.shape[2:], shape[2:]) if wide else ()
        return w.value(w.add(resampling.Resize, w.read(x, order), size=shape[2:], function=mode, taps=taps), order)
    flat = w.reshaped(w.copied(x), (1, *x.shape, 1))
    taps = resampling.widened_taps(mode, x.shape, shape) if wide else ()
    out = w.add(resampling.Resize, w.read(flat), size=shape, function=mode, taps=taps)
    return w.reshaped(w.value(out), shape)


def _resized(node: Node, shape: Dims) -> Dims:
    """Return the shape of the result: axes that are not named stay as they are."""
    sizes = node.get(3) if node.op == "Resize" else None
    axes = [axis_of(a, len(shape)) for a in node.integers("axes", identity(len(shape)))]
    before = [shape[a] for a in axes]
    if sizes is not None and sizes.elements:
        wanted = _kept([int(s) for s in numbers(sizes, "the sizes")], before, node)
    else:
        wanted = _scaled(node, before)
    if len(wanted) != len(axes):
        raise GraphError(f"{len(wanted)} sizes or scales for {len(axes)} axes")
    result = list(shape)
    for axis, size in zip(axes, wanted, strict=True):
        result[axis] = size
    return tuple(result)


def _kept(wanted: list[int], before: Sequence[int], node: Node) -> list[int]:
    """Return sizes that keep the aspect ratio where that is asked for: one scale for all axes, rounded half up."""
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    choose = {"not_larger": min, "not_smaller": max}.get(policy)
    if choose is None or len(wanted) != len(before) or 0 in before:
        return wanted
    scale = choose(size / length for size, length in zip(wanted, before, strict=True))
    return [math.floor(scale * length + 0.5) for length in before]


def _scaled(node: Node, before: Sequence[int]) -> list[int]:
    """Return sizes that follow from scales, and from the region that is cropped first, rounded down."""
    given = node.get(2 if node.op == "Resize" and node.version >= 11 else 1)
    scales = numbers(given, "the scales") if given is not None else node.attributes.get("scales", ())
    if not all(0 < float(s) < 1e9 for s in scales):
        raise ShapeError(f"scales {list(scales)[:8]!r}; allowed: positive numbers")
    share = [1.0] * len(before)
    if node.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        region = numbers(node[1], "the region")
        if len(region) != 2 * len(before):
            raise GraphError(
                f"a region of {len(region)} numbers for {len(before)} axes; allowed: start and end of each"
            )
        share = [float(end) - float(start) for start, end in zip(region, region[len(before) :], strict=False)]
    return [int(n * part * float(s) + 1e-6) for n, part, s in zip(before, share, scales, strict=False)]
