"""Products of a runtime's library inside a run: which kernels they are, and that extrapolated chips make sense."""

from __future__ import annotations

from dataclasses import replace

import pytest

import roofline as rf
from roofline.calibration.measured import blocks
from roofline.engine.evaluate import kernel_costs
from roofline.engine.lowering import lower_blocks
from roofline.engine.machine import Libraries, Machine, machine_for
from roofline.engine.setting import resolve
from roofline.hardware.load import device, devices
from roofline.passes.policy import Policy
from roofline.software.load import runtime

GPUS = [
    name
    for name in devices()
    if device(name).kind == "gpu" and device(name).vendor == "nvidia" and "bf16" in device(name).matrix.rates
]


def machine(name: str, stack: str = "vllm") -> tuple[Machine, Policy]:
    setting = resolve(device(name), dtype="bf16", runtime=runtime(stack, "gpu"), cores=1)
    policy = setting.policy
    return machine_for(setting.device, setting.runtime, policy.precision, policy.layout, 1), policy


def cost_s(name: str, m: int, n: int, k: int, stack: str = "vllm") -> float:
    found, policy = machine(name, stack)
    step = blocks.projection(m, n, k)
    table, _ = lower_blocks([(step.block, step.ports)], policy)
    return float(kernel_costs(table, found).time_s.sum())


def test_there_are_gpus_to_try() -> None:
    assert len(GPUS) >= 10


@pytest.mark.parametrize("name", GPUS)
def test_large_products_reach_a_part_of_the_peak_and_small_ones_a_floor(name: str) -> None:
    spec = device(name)
    ideal_s = 2.0 * 8192**3 / spec.peak_flops_per_s("bf16")
    assert ideal_s < cost_s(name, 8192, 8192, 8192) < 3.0 * ideal_s
    assert 1e-6 < cost_s(name, 1, 64, 64) < 6e-6


@pytest.mark.parametrize("name", GPUS)
def test_weights_of_one_row_stream_from_the_main_memory(name: str) -> None:
    stream_s = 8192 * 28672 * 2 / device(name).main_memory.bandwidth_bytes_per_s
    assert stream_s < cost_s(name, 1, 28672, 8192) < 1.45 * stream_s + 5e-6


def test_a_lower_power_limit_slows_large_products_and_no_small_ones() -> None:
    half = device("h100-sxm").with_overrides({"tdp_w": 350})
    setting = resolve(half, dtype="bf16", runtime=runtime("vllm", "gpu"), cores=1)
    step = blocks.projection(8192, 8192, 8192), blocks.projection(64, 64, 64)
    table, _ = lower_blocks([(s.block, s.ports) for s in step], setting.policy)
    low = kernel_costs(table, machine_for(half, setting.runtime, setting.policy.precision, setting.policy.layout, 1))
    full = kernel_costs(table, machine("h100-sxm")[0])
    ratio = low.time_s / full.time_s
    assert ratio[0] > 1.2
    assert ratio[1] == 1.0


def test_runtimes_without_libraries_are_unchanged() -> None:
    found, policy = machine("h100-sxm", "pytorch_eager")
    assert found.libraries.products == ()
    step = blocks.projection(64, 64, 64)
    table, _ = lower_blocks([(step.block, step.ports)], policy)
    assert kernel_costs(table, found).floor_s[0] == runtime("pytorch_eager", "gpu").floor_s


def test_the_waterfall_of_a_decoder_adds_up() -> None:
    report = rf.simulate("llama-3-8b", device="h100-sxm", runtime="vllm", phase="decode", context=512)
    frame = report.waterfall()
    assert frame["time_s"].sum() == pytest.approx(report.latency_s)
    assert (frame["time_s"] >= -1e-12).all()


def test_convolutions_are_not_the_librarys() -> None:
    found, policy = machine("h100-sxm")
    step = blocks.convolution((8, 32, 32, 64), 64, (3, 3), (1, 1), (1, 1))
    table, _ = lower_blocks([(step.block, step.ports)], policy)
    without = replace(found, libraries=Libraries())
    assert (kernel_costs(table, found).time_s == kernel_costs(table, without).time_s).all()
