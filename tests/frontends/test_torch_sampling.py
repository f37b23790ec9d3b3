"""Fourier transforms, samples between points, deformable convolutions and pools: work counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from graphs import functions
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from training_steps import step

import roofline as rf
from roofline.errors import InputError
from roofline.frontends.torch import rules as _rules  # noqa: F401
from roofline.graph.sampling import Sample
from roofline.work import count, work_of


def x(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


@pytest.fixture(scope="module", autouse=True)
def vision() -> None:
    """State the ops of torchvision where its compiled part is not installed."""
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    conv = (
        "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, int stride_h, int "
        "stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, int groups, int offset_groups, bool use_mask)"
    )
    align = (
        "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
        "int sampling_ratio, bool aligned)"
    )
    shapes: tuple[tuple[str, Callable[..., Any]], ...] = (
        (conv, lambda a, w, o, *_: a.new_empty((a.shape[0], w.shape[0], *o.shape[2:]))),
        (align, lambda a, r, _, h, w, *__: a.new_empty((r.shape[0], a.shape[1], h, w))),
    )
    for schema, shape in shapes:
        name = schema.partition("(")[0]
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{schema} -> Tensor")
            library.impl(name, shape, "Meta")
    globals()["_kept"] = library


def deformable(groups: int, offset_groups: int, *, mask: bool) -> Callable[..., torch.Tensor]:
    def run(a: torch.Tensor, w: torch.Tensor, bias: torch.Tensor, *places: torch.Tensor) -> torch.Tensor:
        shift, factors = places[0], places[-1]
        rest = (1, 1, 1, 1, 1, 1, groups, offset_groups, mask)
        result: torch.Tensor = torch.ops.torchvision.deform_conv2d(a, w, shift, factors, bias, *rest)
        return result

    return run


@pytest.mark.parametrize(("groups", "offset_groups", "mask"), [(1, 1, False), (1, 2, True), (4, 1, True)])
def test_a_deformable_convolution_is_samples_and_a_convolution(groups: int, offset_groups: int, mask: bool) -> None:
    inputs = [x(2, 8, 6, 5), x(12, 8 // groups, 3, 3), x(12), x(2, 18 * offset_groups, 6, 5)]
    inputs += [x(2, 9 * offset_groups, 6, 5)] if mask else []
    graph = rf.from_torch(deformable(groups, offset_groups, mask=mask), tuple(inputs))
    graph.check_shapes()
    with FlopCounterMode(display=False) as counter:
        F.conv2d(inputs[0], inputs[1], inputs[2], padding=1, groups=groups)
    assert graph.macs == counter.get_total_flops() / 2
    samples, places = 2 * 6 * 5 * 9 * 8, 2 * 6 * 5 * 9 * offset_groups
    weighed = samples * (4 * 2 + mask) + places * (2 * 5 + 4)  # four neighbours; along two sides, and their weights
    assert count(graph).simple_ops == weighed + 2 * 12 * 6 * 5  # the bias
    assert rf.simulate(graph, "v100", batch=4).macs == 2 * graph.macs


def test_boxes_are_means_of_samples() -> None:
    def run(a: torch.Tensor, boxes: torch.Tensor, ratio: int = 2) -> torch.Tensor:
        result: torch.Tensor = torch.ops.torchvision.roi_align(a, boxes, 1.0, 7, 7, ratio, False)
        return result

    for ratio, taken in ((3, 9), (0, 4)):  # where the size of a box says how many: as torchvision's detectors
        graph = rf.from_torch(run, (x(2, 16, 32, 32), x(10, 5), ratio))
        elements = 10 * 16 * 7 * 7
        assert count(graph).simple_ops == elements * (8 * taken + 1) + elements / 16 * taken * 14


@pytest.mark.parametrize(("mode", "neighbours", "place"), [("bilinear", 4, 14), ("nearest", 1, 6), ("bicubic", 16, 74)])
def test_a_grid_is_sampled_once_for_all_channels(mode: str, neighbours: int, place: int) -> None:
    graph = rf.from_torch(
        lambda a, g: F.grid_sample(a, g, mode=mode, align_corners=False), (x(2, 16, 8, 8), x(2, 5, 3, 2))
    )
    (op,) = (op for op in graph.ops.values() if isinstance(op, Sample))
    assert op.neighbours == neighbours
    weighed = 2 * neighbours if mode != "nearest" else 0
    assert count(graph).simple_ops == 2 * 15 * (16 * weighed + place)
    read = op.touched(*graph.arguments(op))[op.inputs[0]]
    assert read == min(2 * 16 * 64, 2 * 16 * 15 * neighbours)  # not the whole image where few points are asked for
    assert rf.simulate(graph, "v100", batch=4).vector_ops == 2 * count(graph).simple_ops


def test_places_that_do_not_grow_with_the_images_are_no_batch() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("places", x(2, 3, 2, 2))

        places: torch.Tensor

        def forward(self, a: torch.Tensor) -> torch.Tensor:
            return F.grid_sample(a, self.places, align_corners=False)

    with pytest.raises(InputError, match="does not grow with the batch"):
        rf.simulate(rf.from_torch(Fixed(), (x(2, 4, 8, 8),)), "v100", batch=4)


@pytest.mark.parametrize(
    ("program", "shape", "operations"),
    [
        (lambda a: torch.fft.fft(a), (3, 16), 3 * 5 * 16 * 4 / 2),
        (lambda a: torch.fft.rfft(a), (3, 16), 3 * 5 * 16 * 4 / 2),
        (lambda a: torch.fft.fft(torch.complex(a, a)), (3, 16), 3 * 5 * 16 * 4),
        (lambda a: torch.fft.rfft(a, n=32), (3, 16), 3 * 5 * 32 * 5 / 2),
        (lambda a: torch.fft.irfft(torch.complex(a, a)), (3, 9), 3 * 5 * 16 * 4 / 2),
        # real along the last dimension, then complex along the other for the frequencies that are kept
        (lambda a: torch.fft.rfft2(a), (3, 8, 16), 3 * (8 * 5 * 16 * 4 / 2 + 9 * 5 * 8 * 3)),
        (lambda a: torch.fft.rfft2(a, dim=(1, 0)), (8, 16, 3), 3 * (16 * 5 * 8 * 3 / 2 + 5 * 5 * 16 * 4)),
        (lambda a: torch.fft.irfft2(torch.complex(a, a)), (3, 8, 9), 3 * (9 * 5 * 8 * 3 + 8 * 5 * 16 * 4 / 2)),
    ],
)  # fmt: skip
def test_fourier_transforms_take_five_n_log_n(
    program: Callable[..., Any], shape: tuple[int, ...], operations: float
) -> None:
    graph = rf.from_torch(program, (x(*shape),))
    graph.check_shapes()
    ops = [op for op in graph.ops.values() if op.kind == "fourier"]
    assert sum(work_of(op, *graph.arguments(op)).simple_ops for op in ops) == operations


def test_a_transform_between_layers_is_trained() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(64, 64, device="meta")

        def forward(self, a: torch.Tensor) -> torch.Tensor:
            mixed: torch.Tensor = torch.fft.irfft(torch.fft.rfft(self.mix(a)))
            return mixed

    forward, back, _ = step(rf.from_torch(Mixing(), (x(8, 64),))).phases
    for phase in (forward, back):
        assert [op.kind for op in phase.graph.ops.values()].count("fourier") == 2


def test_places_are_trained() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places = nn.Linear(4, 2, device="meta")

        def forward(self, a: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
            return F.grid_sample(a, self.places(features), align_corners=False)

    _, back, _ = step(rf.from_torch(Shifted(), (x(2, 16, 8, 8), x(2, 5, 3, 4)))).phases
    assert [op.kind for op in back.graph.ops.values() if "grad" in op.kind] == ["sample_grad"]


@pytest.mark.parametrize(
    ("module", "shape", "window"),
    [
        (nn.MaxPool1d(4), (2, 3, 16), (2 * 3 * 4) * 4),
        (nn.AdaptiveMaxPool1d(1), (2, 3, 16), (2 * 3) * 16),
        (nn.AdaptiveMaxPool3d(2), (2, 3, 4, 4, 4), (2 * 3 * 8) * 8),
        (nn.FractionalMaxPool2d(3, output_size=4), (2, 3, 16, 16), (2 * 3 * 16) * 9),
        (nn.MaxPool2d(2), (2, 3, 8, 8), (2 * 3 * 16) * 4),
    ],
)
def test_maxima_are_pooled(module: nn.Module, shape: tuple[int, ...], window: int) -> None:
    graph = rf.from_torch(module, (x(*shape),))
    graph.check_shapes()
    assert count(graph).simple_ops == window
    assert all(len(op.outputs) == 1 for op in graph.ops.values())  # nobody reads the positions


def test_positions_of_maxima_are_written_where_somebody_reads_them() -> None:
    def undone(a: torch.Tensor) -> torch.Tensor:
        values, places = F.max_pool2d(a, 2, return_indices=True)
        return F.max_unpool2d(values, places, [2, 2])

    graph = rf.from_torch(undone, (x(2, 3, 8, 8),))
    graph.check_shapes()
    pool, *rest = graph.ops.values()
    assert [graph.tensors[t].dtype.name for t in pool.outputs] == ["fp32", "int64"]
    assert functions(graph)[1:] == ["zeros", "update"] and pool.outputs[1] in rest[-1].inputs
    both = rf.from_torch(nn.MaxPool1d(2, return_indices=True), (x(2, 3, 8),))
    assert [both.tensors[t].shape for t in both.outputs] == [(2, 4, 3)] * 2  # channels last
