"""Products on GPUs by format: what tensor cores ask of operands, and what vector lanes do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import roofline as rf
from roofline.dtypes import precision
from roofline.engine.machine import machine_for
from roofline.engine.table import DTYPE_CODES
from roofline.graph.builder import GraphBuilder
from roofline.hardware.load import device
from roofline.software.load import runtime


def conv_s(channels: int, **options: Any) -> float:
    """Time of a deep convolution of large images, which nothing but its products bounds."""
    b = GraphBuilder()
    x = b.conv(b.input("x", (16, 64, 64, channels)), 256, kernel=7, name="conv")
    options = {"device": "v100", "runtime": "pytorch_eager", **options}
    kernels = rf.simulate(b.graph([x]), **options).kernels
    (found,) = kernels.loc[kernels.kind == "conv", "matrix_time_s"]
    return float(found)


@pytest.mark.parametrize(("dtype", "padded"), [("fp16", 8), ("fp32", 1)])
def test_tensor_cores_pad_channels_and_vector_lanes_do_not(dtype: str, padded: int) -> None:
    if padded == 1:
        assert conv_s(3, dtype=dtype) < 0.5 * conv_s(8, dtype=dtype)
    else:
        assert conv_s(3, dtype=dtype) == conv_s(padded, dtype=dtype)


def test_channels_first_costs_the_formats_that_tensor_cores_take() -> None:
    share = runtime("pytorch_eager", "gpu").nchw_fraction
    b = GraphBuilder()
    graph = b.graph([b.conv(b.input("x", (16, 64, 64, 64)), 64, kernel=3, name="conv")])
    last, first = (
        rf.simulate(graph, "v100", dtype="fp16", runtime="pytorch_eager", layout=layout).kernels.iloc[0]
        for layout in ("nhwc", "nchw")
    )
    converted_s = 2 * (1 - share) * last.memory_time_s  # both operands read and written once more
    assert first.time_s - last.time_s == pytest.approx(converted_s)
    assert conv_s(64, dtype="fp32", layout="nchw") == conv_s(64, dtype="fp32", layout="nhwc")


def test_alignment_counts_bytes_and_wide_operands_are_fetched_word_by_word() -> None:
    stack = runtime("pytorch_eager", "gpu")
    machine = machine_for(device("a100-40gb"), stack, precision("fp16"), "nhwc", 1)
    code = DTYPE_CODES
    assert [machine.alignment[code[name]] for name in ("fp32", "tf32", "fp16", "int8")] == [1, 4, 8, 16]
    wanted = [stack.lane_reuse_elements, 2 * stack.tile_reuse_elements, stack.tile_reuse_elements]
    assert [machine.tile_reuse[code[name]] for name in ("fp32", "tf32", "fp16")] == wanted


def test_a_convolution_is_not_split_where_a_product_is() -> None:
    """64 x 64 results of 65,536 terms each: a product spreads them over the chip, a convolution leaves it idle."""
    b = GraphBuilder()
    product = b.graph([b.linear(b.input("x", (64, 65536)), 64, bias=False)])
    b = GraphBuilder()
    convolution = b.graph([b.conv(b.input("x", (1, 8, 8, 65536)), 64, kernel=1)])
    times = [
        rf.simulate(g, "v100", dtype="fp16", runtime="pytorch_eager").kernels.matrix_time_s
        for g in (product, convolution)
    ]
    assert float(times[1].max()) > 2 * float(times[0].max())


def fp32_s(kernel: int, stride: int, runtime: str = "pytorch_eager", channels: int = 512) -> float:
    """Seconds for each multiply-accumulate of a convolution of large images in fp32."""
    b = GraphBuilder()
    x = b.input("x", (64, 56, 56, channels))
    report = rf.simulate(
        b.graph([b.conv(x, channels, kernel=kernel, stride=stride)]), "v100", dtype="fp32", runtime=runtime
    )
    return float(report.kernels.matrix_time_s.iloc[0]) / report.macs


def test_vector_lanes_take_winograds_way_where_it_applies_and_pays() -> None:
    assert fp32_s(3, 1) < 0.6 * fp32_s(3, 2)  # one step apart only
    assert fp32_s(5, 1) == pytest.approx(fp32_s(3, 2), rel=0.1)
    assert fp32_s(3, 1, channels=8) > 0.9 * fp32_s(3, 2, channels=8)  # the transforms cost more than they save
    plain = replace(runtime("pytorch_eager", "gpu"), winograd=False)
    b = GraphBuilder()
    graph = b.graph([b.conv(b.input("x", (64, 56, 56, 512)), 512, kernel=3)])
    half = {
        stack: rf.simulate(graph, "v100", dtype="fp16", runtime=stack).latency_s for stack in ("pytorch_eager", plain)
    }
    assert len(set(half.values())) == 1  # tensor cores multiply too fast for it


@pytest.mark.parametrize(
    ("name", "dtype", "best"),
    [
        ("a100-80gb", "bf16", 0.869),
        ("h100-sxm", "bf16", 0.803),
        ("h200", "bf16", 0.803),
        ("b200", "bf16", 0.776),
        ("mi300x", "bf16", 0.514),
        ("mi210", "fp16", 0.672),
    ],
)
def test_the_best_product_reaches_the_best_that_was_found(name: str, dtype: str, best: float) -> None:
    """Shares of the peak: searches over shapes (stas00/ml-engineering), and LLMCompass's tables for MI210."""
    random = np.random.default_rng(0)
    found = []
    for m, n, k in 256 * random.integers(4, 64, (150, 3)):
        b = GraphBuilder()
        report = rf.simulate(b.graph([b.linear(b.input("x", (int(m), int(k))), int(n))]), name, dtype=dtype)
        found.append(report.flops / report.peak_flops_per_s / float(report.kernels.matrix_time_s.iloc[0]))
    assert max(found) == pytest.approx(best, rel=0.03)


def test_fractions_of_matrix_units_say_nothing_of_vector_lanes() -> None:
    stack = runtime("pytorch_eager", "gpu")
    own = machine_for(device("a100-40gb"), stack, precision("fp32"), "nhwc", 1)
    assert own.matrix_fraction < own.lane_fraction == stack.matrix_fraction
    throttled = machine_for(device("t4"), stack, precision("fp32"), "nhwc", 1)
    assert throttled.lane_fraction == 0.7


def test_what_a_library_reaches_in_convolutions_says_nothing_of_matrix_products() -> None:
    """The same products as a matrix product and as a 1 x 1 convolution, under a stack with a fraction for it."""
    b, c = GraphBuilder(), GraphBuilder()
    product = b.graph([b.linear(b.input("x", (64 * 56 * 56, 512)), 512)])
    convolution = c.graph([c.conv(c.input("x", (64, 56, 56, 512)), 512, kernel=1)])
    eager, engine = (
        [rf.simulate(g, "v100", runtime=r, dtype="fp16").kernels.matrix_time_s.sum() for g in (product, convolution)]
        for r in ("pytorch_eager", "tensorrt")
    )
    assert eager[0] == pytest.approx(engine[0]) and eager[1] == pytest.approx(eager[0])
    assert engine[1] == pytest.approx(eager[1] * 0.87 / 0.5615, rel=1e-3)
    bert = [rf.simulate("bert-large", "v100", batch=64, runtime=r) for r in ("tensorrt", "pytorch_eager")]
    assert bert[0].latency_s < bert[1].latency_s
