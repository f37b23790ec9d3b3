"""Products of a runtime's library inside a run: which kernels they are, and that extrapolated chips make sense."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import roofline as rf
from roofline.calibration.measured import blocks
from roofline.engine.evaluate import kernel_costs
from roofline.engine.libraries.products import kernel, rounding_s
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


def simulated_s(format_name: str, device_name: str = "h100-sxm", stack: str = "tensorrt_llm", **asked: Any) -> float:
    return rf.simulate("llama-3-8b", device=device_name, runtime=stack, format=format_name, **asked).latency_s


def test_decoding_gains_what_narrow_weights_save() -> None:
    wide = simulated_s("bf16", phase="decode", context=64)
    for name, most in {"fp8": 0.85, "w8a16": 0.8, "w4a16": 0.65}.items():
        assert 0.3 * wide < simulated_s(name, phase="decode", context=64) < most * wide, name


def test_rounding_activations_of_blocks_walks_along_rows() -> None:
    found = machine("h100-sxm", "tensorrt_llm")[0]
    blocks_of_fp8 = kernel(found, "fp8", "fp8", blocks=True)
    whole = kernel(found, "fp8", "fp8", blocks=False)
    launch_s = float(rounding_s(found, whole, row=4096.0, dynamic=0.0))
    assert 2e-6 < launch_s < 3e-6
    walked_s = float(rounding_s(found, blocks_of_fp8, row=4096.0, dynamic=1.0)) - launch_s
    assert walked_s == pytest.approx(blocks_of_fp8.rounding_cycles * 4096 / 1.83e9)


def test_kernels_are_the_nearest_of_what_is_asked_for() -> None:
    (library,) = runtime("tensorrt_llm", "gpu").products
    for compute, stored, scaled, capability, found in [
        ("bf16", "bf16", False, 9.0, ("bf16", "bf16")),
        ("fp16", "fp16", False, 8.0, ("bf16", "bf16")),
        ("fp16", "int4", True, 9.0, ("bf16", "int4")),
        ("bf16", "fp8", False, 8.0, ("bf16", "int8")),
        ("mxfp4", "mxfp4", True, 10.0, ("nvfp4", "nvfp4")),
    ]:
        facts = library.kernel(compute, stored, scaled, capability=capability)
        assert (facts.compute, facts.stored) == found, (compute, stored)
    assert library.kernel("fp8", "fp8", True, capability=8.9).capabilities == (8.9, 8.9)
    assert library.kernel("fp8", "fp8", True, capability=9.0).capabilities == (9.0, 9.0)
    assert not library.kernel("fp8", "fp8", False, capability=9.0).blocks


def test_both_16_bit_floats_have_the_same_kernels() -> None:
    found = runtime("vllm", "gpu")
    libraries: list[Any] = [*found.products, *found.experts]
    for library in libraries:
        for stored, scaled in (("int4", True), ("int8", False), ("nvfp4", True)):
            wide, narrow = (library.kernel(c, stored, scaled, capability=8.9) for c in ("bf16", "fp16"))
            assert wide is narrow
            assert stored != "int4" or narrow.stored == "int4", library.name


@pytest.mark.parametrize("name", ["a100-80gb", "h100-sxm", "l40s", "rtx-4090"])
@pytest.mark.parametrize("stack", ["vllm", "tensorrt_llm"])
def test_weights_that_are_widened_gain_nothing_in_long_prompts(name: str, stack: str) -> None:
    wide, *narrow = (
        rf.simulate("llama-3-8b", name, runtime=stack, length=4096, format=f).latency_s
        for f in (None, "w8a16", "w4a16")
    )
    for found in narrow:
        assert 0.98 * wide < found < 1.3 * wide
