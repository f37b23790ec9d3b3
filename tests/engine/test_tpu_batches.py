"""Throughput of a TPU over batches: where it falls, maps have left the chip."""

from __future__ import annotations

from itertools import pairwise

import pytest

import roofline as rf

#: time of an image at a batch of 256 over that at 128, ResNet-50 compiled with libtpu 0.0.42.1 (estimated cycles)
COMPILED = {"tpu-v6e": 15.978122 / 7.150737 / 2, "tpu-v5e": 36.414701 / 15.664807 / 2}


def memory_share(report: rf.Report) -> float:
    """Return the share of the time in kernels that memory bounds."""
    kernels = report.kernels
    bound = kernels["bound"] == "memory"
    return float((kernels["time_s"] * kernels["count"])[bound].sum() / report.latency_s)


@pytest.mark.parametrize("device", COMPILED)
def test_resnet_slows_down_between_128_and_256_images_as_compiled(device: str) -> None:
    few, many = (rf.simulate("resnet-50", device, batch=batch) for batch in (128, 256))
    slower = many.latency_s / few.latency_s / 2
    assert 1.0 < slower < COMPILED[device]
    assert memory_share(many) > memory_share(few)


@pytest.mark.parametrize("device", ["tpu-v4", "tpu-v5e", "tpu-v6e"])
@pytest.mark.parametrize("name", ["resnet-50", "efficientnet-b0", "vit-ti-16", "mobilenetv2-1.0"])
def test_throughput_falls_where_maps_leave_the_chip_alone(device: str, name: str) -> None:
    runs = [rf.simulate(name, device, batch=2**i) for i in range(3, 10)]
    for few, many in pairwise(runs):
        change = many.throughput_per_s / few.throughput_per_s - 1.0
        assert change > -0.14
        assert change > -0.02 or memory_share(many) > memory_share(few), f"batch {few.batch} to {many.batch}"
