"""A CPU as a device: what its libraries do beside the arithmetic, added up by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import roofline as rf
from roofline.errors import InputError
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.hardware.spec import Device
from roofline.software.spec import Runtime

PEAK = 64e9  # one core, 2 pipes of 8 lanes, 2 FLOP, 2 GHz

DEVICE = """
name = "toy-cpu"
title = "a CPU of round numbers"
vendor = "toy"
kind = "cpu"
year = 2026
default_runtime = "toy.toml"
default_dtype = "fp32"
[sources]
toy = "made up"
[chip]
cores = { value = 1, source = "toy" }
clock = { value = 2, unit = "GHz", source = "toy" }
[matrix]
style = "systolic"
units = { value = 2, source = "toy" }
rows = { value = 1, source = "toy" }
cols = { value = 8, source = "toy" }
[matrix.rates]
fp32 = { macs_per_clock = 8, peak = 64, unit = "GFLOP/s", source = "toy" }
[vector]
units = { value = 1, source = "toy" }
flops_per_op = 2
simple_per_clock = { value = 16, source = "toy" }
transcendental_per_clock = { value = 1, source = "toy" }
peak = { value = 64, unit = "GFLOP/s", source = "toy" }
[[memory]]
name = "DRAM"
role = "main"
scope = "chip"
capacity = { value = 8, unit = "GiB", source = "toy" }
bandwidth = { value = 10, unit = "GB/s", source = "toy" }
"""


@pytest.fixture
def toy(tmp_path: Path) -> Device:
    from roofline.calibration.draft import HOST_RUNTIME

    (tmp_path / "toy-cpu.toml").write_text(DEVICE, encoding="utf-8")
    (tmp_path / "toy.toml").write_text(HOST_RUNTIME.read_text(encoding="utf-8"), encoding="utf-8")
    return rf.device(tmp_path / "toy-cpu.toml")


def conv(kernel: int) -> OpGraph:
    b = GraphBuilder("conv")
    return b.graph([b.conv(b.input("x", (1, 16, 16, 64)), 64, kernel=kernel, padding=(kernel // 2,) * 2)])


def simulate(graph: OpGraph, device: Device, **changes: float) -> rf.Report:
    runtime = replace(rf.runtime(device.default_runtime), **changes)  # type: ignore[arg-type]
    return rf.simulate(graph, device, runtime=runtime)


def test_the_runtime_beside_the_device_is_its_default(toy: Device) -> None:
    report = rf.simulate(conv(3), toy)
    assert report.runtime == "pytorch_eager_cpu" and report.dtype == "fp32"


def test_products_of_one_tap_have_a_fraction_of_their_own(toy: Device) -> None:
    for kernel, share in ((3, 1.0), (1, 0.5)):
        rates = {"matrix_fraction": 1.0, "overlap": 0.0}
        whole, half = (simulate(conv(kernel), toy, product_fraction=f, **rates) for f in (1.0, 0.5))
        # 256 positions x 8 registers of columns x 64 channels x taps, two registers a clock, and one fill of 9 rows
        clocks = 256 * 8 * 64 * kernel**2 / 2 + 9
        assert half.latency_s - whole.latency_s == pytest.approx(clocks / 2e9 * (1 / share - 1), rel=1e-9, abs=1e-12)


def test_a_cpu_needs_a_runtime_for_cpus(toy: Device) -> None:
    with pytest.raises(InputError, match="'tensorrt' does not run on a cpu; allowed: 'native'"):
        rf.simulate(conv(1), toy, runtime="tensorrt")


def test_shipped_runtimes_have_no_such_factor() -> None:
    for name in rf.runtimes():
        runtime: Runtime = rf.runtime(name)
        assert runtime.product_fraction == 1.0
