"""Images looked at between their points: grids, boxes, deformable convolutions; and pools undone."""

from __future__ import annotations

from math import prod
from typing import Any

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import aten, lowering
from roofline.frontends.torch.rules.index import accumulated
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import ops, sampling
from roofline.graph.views import channels_last

#: samples along each side of a box's part where the program leaves it to the size of the box, which is data
SAMPLING_RATIO = 2


@aten("grid_sampler_2d grid_sampler_3d grid_sampler cudnn_grid_sampler _grid_sampler_2d_cpu_fallback")
def grid_sample(w: Writer, a: Any, out: Any) -> Value:
    """The neighbours of each point of the grid, weighted; all channels from one place."""
    order = channels_last(out.dim())
    return w.emit(
        sampling.Sample,
        [w.tensor(a.input, order), w.tensor(a.grid, range(a.grid.rank))],
        out,
        order=order,
        name="grid_sample",
        sides=out.dim() - 2,
        function={1: "nearest", 2: "cubic"}.get(a.get("interpolation_mode", 0), "linear"),
        together=out.shape[1],
    )


@lowering("torchvision.roi_align", "torchvision.ps_roi_align")
def roi_align(w: Writer, a: Any, out: Any) -> Any:
    """The mean of some samples in every part of a box."""
    first = out[0] if isinstance(out, tuple) else out
    order = channels_last(4)
    ratio = a.sampling_ratio if a.sampling_ratio > 0 else SAMPLING_RATIO
    made = w.emit(
        sampling.Sample,
        [w.tensor(a.input, order), w.tensor(a.rois, (0, 1))],
        first,
        order=order,
        together=first.shape[1],
        averaged=ratio * ratio,
    )
    return (made,) if isinstance(out, tuple) else made


@lowering("torchvision.deform_conv2d")
def deform_conv2d(w: Writer, a: Any, out: Any) -> Value:
    """The window of every output sampled into a matrix, then a product with the weights: as torchvision runs it."""
    order = channels_last(4)
    images, filters, *sides = out.shape
    groups, per_group = a.groups, a.weight.shape[1]
    taps, positions = prod(a.weight.shape[2:]), prod(sides)
    columns = (images, *sides, taps * per_group) if groups == 1 else (images, groups, positions, taps * per_group)
    operands = [a.offset, a.mask] if a.get("use_mask") else [a.offset]
    sampled = w.emit(
        sampling.Sample,
        [w.tensor(a.input, order), *(w.tensor(v, order) for v in operands)],
        out,
        torch_shape=columns,
        name="deform_columns",
        together=a.input.shape[1] // a.get("offset_groups", 1),
    )
    apart = views.reshape(a.weight, (groups, filters // groups, per_group, *a.weight.shape[2:]))
    weight = views.reshape(views.permute(apart, (0, 3, 4, 2, 1)), (groups, taps * per_group, filters // groups))
    if groups == 1:
        inputs = [w.tensor(sampled), w.tensor(views.select(weight, 0, 0), (0, 1)), w.tensor(a.bias)]
        made = w.emit(ops.MatMul, inputs, out, torch_shape=(images, *sides, filters))
        return views.permute(made, (0, 3, 1, 2))
    shared = views.expand(views.reshape(weight, (1, *weight.shape)), (images, *weight.shape))
    inputs = [w.tensor(sampled), w.tensor(shared, range(4))]
    made = w.emit(ops.MatMul, inputs, out, torch_shape=(images, groups, positions, filters // groups))
    made = views.reshape(views.permute(made, (0, 1, 3, 2)), tuple(out.shape))
    return w.pointwise("add", out, made, views.reshape(a.bias, (filters, 1, 1)))


@aten("max_unpool2d max_unpool3d")
def max_unpool(w: Writer, a: Any, out: Any) -> Value:
    """Zeros, and every maximum put back to its place."""
    return accumulated(w, a.input, out, [a.indices], adds=False)
