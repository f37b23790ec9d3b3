"""What libraries and compilers do on GPUs beside the plain formulas: shared tiles, fused sums, clocks under load."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import roofline as rf
from roofline.dtypes import precision
from roofline.engine.machine import machine_for
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Reduce
from roofline.hardware.spec import Device
from roofline.work.functions import function_ops


def grouped(groups: int) -> OpGraph:
    b = GraphBuilder()
    x = b.input("x", (8, 28, 28, 256))
    return b.graph([b.conv(x, 256, kernel=3, groups=groups, name="conv")])


def test_narrow_groups_cost_less_than_alone_and_wide_ones_what_they_are() -> None:
    runtime = replace(rf.runtime("pytorch_eager"), grouped_fraction=1.0)
    times = {}
    for groups in (1, 4, 8, 32, 64):
        kernels = rf.simulate(grouped(groups), "a100-40gb", runtime=runtime, dtype="fp16").kernels
        times[groups] = float(kernels.loc[kernels["kind"] == "conv", "matrix_time_s"].sum())
    assert times[64] == times[32] == times[8]  # 4 and 8 channels wide share tiles of 32
    assert times[1] > times[4] > times[8]  # a product of all channels does the work of its groups and more


def test_grouped_fraction_slows_grouped_products_only() -> None:
    whole, half = (replace(rf.runtime("pytorch_eager"), grouped_fraction=f) for f in (1.0, 0.5))
    for groups, factor in ((1, 1.0), (8, 2.0)):
        found = [rf.simulate(grouped(groups), "a100-40gb", runtime=r, dtype="fp16").kernels for r in (whole, half)]
        assert found[1]["matrix_time_s"].sum() == pytest.approx(factor * found[0]["matrix_time_s"].sum())


def gated(*, activation_used: bool) -> OpGraph:
    """A batch of maps through an activation and a mean; the activation itself is a result too, or is not."""
    b = GraphBuilder()
    x = b.activation("swish", b.input("x", (8, 28, 28, 64)))
    pooled = b.add_op("mean", Reduce, x, axes=(1, 2))
    return b.graph([x, pooled] if activation_used else [pooled])


@pytest.mark.parametrize("used", [True, False])
def test_sums_of_what_a_kernel_also_writes_are_slow(used: bool) -> None:
    graph, device = gated(activation_used=used), rf.device("a100-40gb")
    (kernel,) = rf.simulate(graph, device, runtime="pytorch_compile").kernels.to_dict("records")
    simple, special = function_ops("swish")
    per_element = simple + 8 * special + 1  # and the sum
    assert kernel["vector_ops"] == (simple + special + 1) * 8 * 28 * 28 * 64
    times = []
    for wait in (0.0, 0.1):
        runtime = replace(rf.runtime("pytorch_compile"), sum_wait=wait)
        times.append(rf.simulate(graph, device, runtime=runtime).kernels["memory_time_s"].sum())
    assert times[1] == pytest.approx(times[0] * (1.0 + 0.1 * per_element * used))


def test_clock_ratio_scales_what_runs_on_the_clock() -> None:
    def with_clock(ratio: float) -> Device:
        device = rf.device("rtx-3090")
        return replace(device, overrides={"pytorch_eager": {"clock_ratio": ratio}})

    slow, fast = (
        machine_for(with_clock(r), rf.runtime("pytorch_eager"), precision("fp16"), "nhwc", 1) for r in (1.0, 1.25)
    )
    for name in ("simple_ops_per_s", "transcendental_ops_per_s", "load_ops_per_s"):
        assert getattr(fast, name) == pytest.approx(1.25 * getattr(slow, name))
    known = ~np.isnan(slow.unit_macs_per_s)
    assert np.allclose(fast.unit_macs_per_s[known], 1.25 * slow.unit_macs_per_s[known])
    assert np.allclose(fast.operand_macs[known], slow.operand_macs[known])  # shared memory runs on the clock as well
    assert fast.bandwidths_bytes_per_s == slow.bandwidths_bytes_per_s


def test_a_device_may_have_its_own_window_loads() -> None:
    b = GraphBuilder()
    x = b.input("x", (8, 28, 28, 64))
    graph = b.graph([b.depthwise(x, kernel=7, name="conv")])
    runtime, device = replace(rf.runtime("pytorch_eager"), access_ops=0.0, broadcast_ops=0.0), rf.device("a100-40gb")
    times = []
    for own in ({}, {"window_ops": 3.0 * runtime.window_ops}):
        changed = replace(device, overrides={"pytorch_eager": own})
        kernels = rf.simulate(graph, changed, runtime=runtime, dtype="fp16").kernels
        times.append(float(kernels.loc[kernels["kind"] == "depthwise", "vector_time_s"].sum()))
    assert times[1] == pytest.approx(3.0 * times[0])
