"""A forward pass that keeps what a backward pass will read: which tensors, their traffic and their memory."""

from __future__ import annotations

import numpy as np
import pytest
from families import RUNTIMES, SAMPLE, lowered, whole

import roofline as rf
from roofline.arch.load import model
from roofline.dtypes import precision
from roofline.engine.lowering import lower_arch
from roofline.graph.builder import GraphBuilder
from roofline.graph.ops import Softmax
from roofline.passes.backward import backward_of
from roofline.passes.pipeline import lower
from roofline.passes.policy import policy
from roofline.software.load import runtime


def test_saved_tensors_by_hand() -> None:
    """Per op as autograd's formulas state them."""
    b = GraphBuilder()
    x = b.conv(b.input("x", (1, 4, 4, 3)), 8, name="conv")  # keeps x, which the caller keeps anyway
    x = b.batch_norm(x)  # keeps conv:0
    x = b.activation("swish", x)  # its derivative is written in its input: bn:0
    y = b.relu(b.add(x, x, name="double"))  # a sum keeps nothing; relu its result
    y = b.add_op("softmax", Softmax, y)  # softmax its result
    z = b.activation("scale", y)  # by a constant: nothing, but it is returned
    assert backward_of(b.graph([z])).saved == {"conv:0", "bn:0", "relu:0", "softmax:0", "scale:0"}


def test_views_are_kept_as_what_they_show() -> None:
    b = GraphBuilder()
    x = b.linear(b.input("x", (4, 6)), 12, name="qkv")
    y = b.linear(b.part(x, 6), 3, bias=False, name="last")
    assert backward_of(b.graph([y])).saved == {"qkv:0", "last:0"}


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("runtime_name", RUNTIMES)
def test_saving_moves_more_and_blocks_equal_the_whole_graph(name: str, runtime_name: str) -> None:
    saving = policy(runtime(runtime_name), precision("fp16"), mode="forward_saving")
    graph, kernels = lower(whole(name), saving)
    _, plain = lowered(name, runtime_name)
    traffic = float(sum(k.traffic_bytes for k in kernels))
    assert len(kernels) >= len(plain) and traffic >= sum(k.traffic_bytes for k in plain)
    assert graph.macs == whole(name).macs
    found = lower_arch(model(name), 1, saving)
    k, count = found.table.kernels, found.table.block_count
    assert np.bincount(k.block, minlength=count)[found.order].sum() == len(kernels)
    assert np.bincount(k.block, weights=k.traffic_bytes, minlength=count)[found.order].sum() == traffic


@pytest.mark.parametrize("device", ["tpu-v3", "a100-40gb"])
def test_memory_of_saving_grows_with_depth(device: str) -> None:
    """In inference the widest block rules; saving keeps every block."""
    peak = {
        (name, mode): rf.simulate(name, device, batch=64, mode=mode).peak_memory_bytes
        for name in ("resnet-50", "resnet-152")
        for mode in ("inference", "forward_saving")
    }
    weights = rf.simulate("resnet-152", device).weight_bytes - rf.simulate("resnet-50", device).weight_bytes
    cores = rf.device(device).cores
    inference = peak["resnet-152", "inference"] - peak["resnet-50", "inference"]
    saving = peak["resnet-152", "forward_saving"] - peak["resnet-50", "forward_saving"]
    assert inference == pytest.approx(weights * cores), "more blocks, equally wide"
    assert saving > 10 * inference
    assert peak["resnet-50", "forward_saving"] > 4 * peak["resnet-50", "inference"]


def test_saving_is_reported_and_takes_longer() -> None:
    plain, saving = (
        rf.simulate("efficientnet-b0", "tpu-v3", batch=64, mode=m) for m in ("inference", "forward_saving")
    )
    assert (plain.mode, saving.mode) == ("inference", "forward_saving")
    assert saving.latency_s > plain.latency_s and saving.macs == plain.macs
