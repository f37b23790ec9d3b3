"""Results in the order of their source program, and programs that are traced anew: what PyTorch/XLA adds."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import roofline as rf
from roofline.cost.memory import row_major_padding
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.passes.layout import set_layout
from roofline.passes.results import channels_second

RUN: dict[str, Any] = {"cores": 1, "dtype": "bf16", "mode": "forward_saving"}


@pytest.mark.parametrize(
    ("width", "height", "padding"),
    [
        (112, 112, 128 / 112),  # rows of 112 fill 128 lanes
        (224, 224, 256 / 224),
        (128, 8, 1),
        (120, 7, 128 / 120 * 8 / 7),  # 1.22
        (56, 56, 0),  # 2.29: batch and channels do better
        (112, 7, 0),  # 1.31
        (1, 1, 0),
    ],
)
def test_rows_that_nearly_fill_the_lanes_keep_their_order(width: int, height: int, padding: float) -> None:
    found = row_major_padding(width=width, height=height, lanes=128, sublanes=8, limit=1.25)
    assert float(found) == pytest.approx(padding, rel=1e-12)


def test_no_limit_no_copy_and_columns_are_numbers() -> None:
    sizes = np.array(list(itertools.product((7, 56, 112, 128), repeat=2)), dtype=np.float64)
    tile = {"lanes": 128.0, "sublanes": 8.0}
    assert not row_major_padding(width=sizes[:, 0], height=sizes[:, 1], limit=0.0, **tile).any()
    column = row_major_padding(width=sizes[:, 0], height=sizes[:, 1], limit=1.25, **tile)
    alone = [float(row_major_padding(width=w, height=h, limit=1.25, **tile)) for w, h in sizes]
    assert column.tolist() == alone


def network(pixels: int, layout: str = "nchw") -> OpGraph:
    """A convolution with norm and activation, a pooled gate on it, and another convolution."""
    b = GraphBuilder("tiny")
    x = b.conv(b.input("image", (64, pixels, pixels, 96)), 96, kernel=1, name="conv")
    x = b.relu(b.batch_norm(x))
    x = b.gate(x, b.activation("sigmoid", b.mean(x, (1, 2))))
    y = b.conv(x, 96, kernel=1, name="last")
    return set_layout(b.graph([y]), "nhwc" if layout == "nhwc" else "nchw")


def test_image_maps_of_a_channels_first_program() -> None:
    graph = network(8)
    found = channels_second(graph)
    maps = {t for t, tensor in graph.tensors.items() if len(tensor.shape) == 4 and min(tensor.shape[1:3]) > 1}
    assert maps <= found
    assert {graph.tensors[t].shape[-1] for t in found} == {96}  # no weights, no vectors
    assert channels_second(network(8, "nhwc")) == frozenset()


def test_a_copy_costs_what_it_moves() -> None:
    runtime = replace(rf.runtime("pytorch_xla"), overlap=1.0, movement_fraction=0.5)
    without = replace(runtime, result_padding=0.0)
    large, plain = (rf.simulate(network(112), "tpu-v2", runtime=r, **RUN) for r in (runtime, without))
    kept = 64 * 112 * 112 * 96 * 2  # bytes of a map: convolution, activation, gated map and result are kept
    stored, rows = kept * 128 / 96, kept * 128 / 112  # channels in the lanes; width in the lanes
    rate = 700e9 / 2 * runtime.bandwidth_fraction * 0.5  # one core of two, half of it for a transposing copy
    more = (large.kernels["memory_time_s"] - plain.kernels["memory_time_s"]).sum()
    assert more == pytest.approx(4 * (stored + rows) / rate, rel=1e-9)


@pytest.mark.parametrize(
    ("pixels", "changes"),
    [(56, {}), (112, {"mode": "inference"}), (112, {"layout": "nhwc"}), (112, {"runtime": "xla_tpu"})],
)
def test_nothing_is_copied_otherwise(pixels: int, changes: dict[str, Any]) -> None:
    """Small maps, runs that keep nothing, programs in the compiler's order, and software that takes what it gets."""
    options = RUN | {"runtime": "pytorch_xla", "layout": "nchw"} | changes
    runtime = rf.runtime(str(options.pop("runtime")))
    graph = network(pixels, str(options["layout"]))
    first, second = (
        rf.simulate(graph, "tpu-v2", runtime=r, **options) for r in (runtime, replace(runtime, result_padding=0.0))
    )
    assert first.latency_s == second.latency_s


def test_tracing_costs_its_time_for_each_op() -> None:
    runtime = replace(rf.runtime("pytorch_xla"), trace_s=1e-3)
    graph = network(8)
    traced, ready = (rf.simulate(graph, "tpu-v2", runtime=r, **RUN) for r in (runtime, replace(runtime, trace_s=0.0)))
    assert traced.latency_s - ready.latency_s == pytest.approx(len(graph.ops) * 1e-3, rel=1e-9)
    assert traced.bound == "overhead"


def test_pytorch_xla_is_the_compiler_of_xla_tpu() -> None:
    """Where they differ is what PyTorch/XLA adds, and what was fitted to its networks."""
    mine, shared = rf.runtime("pytorch_xla"), rf.runtime("xla_tpu")
    own = {"name", "title", "default_layout", "lane_layout", "result_padding", "trace_s"}
    own |= {"movement_fraction", "overlap", "kernels"}
    assert {name for name in vars(mine) if getattr(mine, name) != getattr(shared, name)} == own
