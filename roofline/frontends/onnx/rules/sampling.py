"""Images read or written at computed places, cropped or put together from their windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering, numbers
from roofline.frontends.onnx.rules.convolutions import bias_of, integers_behind
from roofline.frontends.onnx.rules.indexing import decided_by_data, picked
from roofline.frontends.onnx.rules.products import product_of
from roofline.frontends.onnx.rules.shapes import part
from roofline.frontends.onnx.rules.windows import kernel_of, window_of
from roofline.frontends.onnx.values import Constant, Dims, Value, check_shape, known
from roofline.frontends.onnx.views import axis_of, identity, stored
from roofline.frontends.onnx.writer import Writer
from roofline.graph.indexing import Fill, Update
from roofline.graph.op import ContractionForm
from roofline.graph.ops import Conv
from roofline.graph.resampling import Pad
from roofline.graph.sampling import Sample
from roofline.graph.views import channels_last


@lowering("AffineGrid")
def affine_grid(w: Writer, node: Node) -> Value:
    """Multiply the places of all points, each with a one behind it, by the matrix (N, D, D + 1) of each image."""
    theta, size = node[0], [int(s) for s in numbers(node[1], "the size")]
    sides = tuple(size[2:])
    if len(size) not in (4, 5) or theta.shape != (size[0], len(sides), len(sides) + 1):
        raise ShapeError(f"matrices of shape {theta.shape!r} do not fit images of {tuple(size)!r}")
    count = math.prod(check_shape(sides, "grid"))
    points = Value(
        shape=(1, count, len(sides) + 1), dtype=theta.dtype, constant=Constant(name=w.unique(f"{w.place}.grid"))
    )
    grid = product_of(w, w.expanded(points, (size[0], count, len(sides) + 1)), w.transposed(theta, (0, 2, 1)))
    return w.reshaped(grid, (size[0], *sides, len(sides)))


@lowering("Compress")
def compress(w: Writer, node: Node) -> Value:
    """Pick what a condition that is known at load says; all axes are one where none is named."""
    x, condition = node[0], node[1].data
    if condition is None:
        return decided_by_data(w, node)
    axis = axis_of(node.integer("axis"), x.rank) if "axis" in node.attributes else 0
    x = x if "axis" in node.attributes else w.reshaped(x, (x.elements,))
    chosen = np.flatnonzero(condition[: x.shape[axis]])
    return picked(w, x, known(chosen), (*x.shape[:axis], len(chosen), *x.shape[axis + 1 :]))


@lowering("CenterCropPad")
def center_crop_pad(w: Writer, node: Node) -> Value:
    """View the middle of every axis that is too long, copy with a border where one is too short."""
    x, wanted = node[0], [int(s) for s in numbers(node[1], "the shape")]
    axes = [axis_of(a, x.rank) for a in node.integers("axes", identity(x.rank))]
    if len(axes) != len(wanted):
        raise ShapeError(f"{len(wanted)} sizes for {len(axes)} axes")
    before, after = [0] * x.rank, [0] * x.rank
    for axis, size in zip(axes, check_shape(tuple(wanted), "result"), strict=True):
        spare = x.shape[axis] - size
        if spare > 0:
            x = part(w, x, axis, spare // 2, size)
        else:
            before[axis], after[axis] = -spare // 2, -spare - -spare // 2
    if not any(before) and not any(after):
        return x
    order = x.order or identity(x.rank)
    first, second = stored(tuple(before), order), stored(tuple(after), order)
    return w.value(w.add(Pad, w.read(x, order), before=first, after=second), order)


@lowering("Col2Im")
def col2im(w: Writer, node: Node) -> Value:
    """Add the windows (N, C x taps, L) up where they overlap."""
    x = node[0]
    image, block = ([int(s) for s in numbers(node[i], what)] for i, what in ((1, "the image"), (2, "the block")))
    rank, taps = len(image), math.prod(block)
    step, dilation, pads = (
        node.integers(name, (value,) * count)
        for name, value, count in (("strides", 1, rank), ("dilations", 1, rank), ("pads", 0, 2 * rank))
    )
    if x.rank != 3 or len(block) != rank or not len(step) == len(dilation) == rank == len(pads) // 2 or min(step) < 1:
        raise ShapeError(f"windows of shape {x.shape!r} and of {block!r} in an image of {image!r}")
    places = [
        (size + pads[i] + pads[rank + i] - dilation[i] * (block[i] - 1) - 1) // step[i] + 1
        for i, size in enumerate(image)
    ]
    if taps < 1 or x.shape[1] % taps or math.prod(places) != x.shape[2]:
        raise ShapeError(f"windows of {block!r} at {places!r} places do not make up {x.shape!r}")
    shape = check_shape((x.shape[0], *image, x.shape[1] // taps), "image")
    target = w.add(Fill, dtype=x.dtype, shape=shape, function="zeros")
    return w.value(w.add(Update, target, w.read(x), accumulate=True), channels_last(rank + 2))


@lowering("GridSample")
@lowering("GridSample", domain=MICROSOFT)
def grid_sample(w: Writer, node: Node) -> Value:
    """Look at an image (N, C, *sides) at the places of a grid (N, *places, D): weighted means of the neighbours."""
    x, grid = node[0], node[1]
    sides = x.rank - 2
    if sides < 1 or grid.rank != x.rank or grid.shape[0] != x.shape[0] or grid.shape[-1] != sides:
        raise ShapeError(f"a grid of shape {grid.shape!r} does not fit images of {x.shape!r}")
    mode = {"nearest": "nearest", "cubic": "cubic", "bicubic": "cubic"}.get(node.text("mode", "linear"), "linear")
    return sampled(w, x, grid.shape[1:-1], grid, function=mode)


def sampled(w: Writer, x: Value, places: Dims, *operands: Value, count: int | None = None, **fields: Any) -> Value:
    """Add samples of all channels of x (N, C, *sides) at `places`, for each image or `count` boxes."""
    order = channels_last(x.rank)
    shape = (x.shape[0] if count is None else count, *places, x.shape[1])
    tensors = [w.read(x, order), *(w.read(v) for v in operands)]
    out = w.add(Sample, *tensors, shape=shape, sides=x.rank - 2, together=x.shape[1], **fields)
    return w.value(out, channels_last(len(shape)))


@lowering("RoiAlign", "MaxRoiPool")
def boxes(w: Writer, node: Node) -> Value:
    """Look at an image in the cells of boxes, as often as stated; else as a box as large as the image takes it."""
    x, rois = node[0], node[1]
    if x.rank != 4 or rois.rank != 2:
        raise ShapeError(
            f"boxes of shape {rois.shape!r} in images of {x.shape!r}; allowed: (R, 4 or 5) and (N, C, H, W)"
        )
    aligned = node.op == "RoiAlign"
    cells: Dims = (node.integer("output_height", 1), node.integer("output_width", 1))
    cells = cells if aligned else node.integers("pooled_shape")
    ratio = node.integer("sampling_ratio", 0)
    if len(cells) != 2 or min(cells) < 1 or ratio < 0:
        raise ShapeError(f"cells {cells!r} with {ratio} samples a side; allowed: two positive numbers")
    per_side = [ratio or -(-side // cell) for side, cell in zip(x.shape[2:], cells, strict=True)]
    function = "linear" if aligned else "nearest"
    return sampled(w, x, cells, *node.given[1:], count=rois.shape[0], averaged=math.prod(per_side), function=function)


@lowering("DeformConv")
def deformable(w: Writer, node: Node) -> Value:
    """Sample each tap where its offset says, times its mask; then the product of all taps with the weight."""
    x, weight, offset, groups = node[0], node[1], node[2], node.integer("group", 1)
    if (
        x.rank < 3
        or weight.rank != x.rank
        or groups < 1
        or weight.shape[1] * groups != x.shape[1]
        or weight.shape[0] % groups
    ):
        raise ShapeError(f"x of shape {x.shape!r}, weight of {weight.shape!r} and {groups} groups do not convolve")
    kernel = kernel_of(node, weight)
    size, taps = window_of(node, x.shape[2:], kernel).size, math.prod(kernel)
    if offset.shape != (x.shape[0], node.integer("offset_group", 1) * taps * len(kernel), *size):
        raise ShapeError(f"offsets of shape {offset.shape!r} do not fit {taps} taps at {size!r} places")
    x, weight = integers_behind(x, weight)
    order = channels_last(x.rank)
    wide = (x.shape[0], *size, taps * x.shape[1])
    operands = [w.read(v, order) for v in (x, offset, *((node[4],) if node.get(4) is not None else ()))]
    columns = w.add(Sample, *operands, shape=wide, sides=len(size), together=x.shape[1])
    rows = w.read(weight, (*range(2, weight.rank), 1, 0), role="parameter")
    flat = w.view(rows, (*(1,) * len(size), taps * weight.shape[1], weight.shape[0]))
    form: ContractionForm = "grouped" if groups > 1 else "dense"
    ones, none = (1,) * len(size), (0,) * len(size)
    out = w.add(
        Conv, columns, flat, *bias_of(w, node.get(3)), kernel=ones, stride=ones, padding=none, groups=groups, form=form
    )
    return w.value(out, order)


@lowering("MaxUnpool")
def max_unpool(w: Writer, node: Node) -> Value:
    """Write each maximum where it came from, into zeros."""
    x, places = node[0], node[1]
    kernel = node.integers("kernel_shape")
    rank = len(kernel)
    step, pads = node.integers("strides", (1,) * rank), node.integers("pads", (0,) * (2 * rank))
    if x.rank != rank + 2 or places.shape != x.shape or len(step) != rank or len(pads) != 2 * rank:
        raise ShapeError(f"maxima of shape {x.shape!r}, their places of {places.shape!r} and kernels of {kernel!r}")
    sides = tuple((x.shape[2 + i] - 1) * step[i] + kernel[i] - pads[i] - pads[rank + i] for i in range(rank))
    if node.get(2) is not None:
        sides = tuple(int(s) for s in numbers(node[2], "the shape"))[2:]
    order = channels_last(x.rank)
    shape = check_shape(stored((*x.shape[:2], *sides), order), "image")
    target = w.add(Fill, dtype=x.dtype, shape=shape, function="zeros")
    return w.value(w.add(Update, target, w.read(x, order), w.read(places, order)), order)
