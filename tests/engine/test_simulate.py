"""Simulation: many equals one by one, blocks equal the whole graph, time scales with machine, batch and cores."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from families import SAMPLE, whole

import roofline as rf
from roofline.hardware.spec import Device
from roofline.report.report import Report
from roofline.software.spec import Runtime


def same_to_the_last_bit(a: Report, b: Report) -> None:
    assert a.to_dict() == b.to_dict()
    left, right = a.kernels, b.kernels
    assert list(left.columns) == list(right.columns) and len(left) == len(right)
    for column in left.columns:
        assert (left[column] == right[column]).all(), column


# many and one --------------------------------------------------------------------------------------------------------


def mixed_requests() -> list[dict[str, Any]]:
    """Networks on both kinds of device, with runtimes, batches, precisions and layouts of their own, and duplicates."""
    requests: list[dict[str, Any]] = [
        {"model": model, "device": device, "batch": batch}
        for model in ("efficientnet-b0", "efficientnet-x-b0", "vit-ti-16")
        for device in ("tpu-v3", "v100")
        for batch in (1, 8)
    ]
    for runtime in ("pytorch_eager", "pytorch_compile", "tensorrt", "xla", "tensorflow"):
        requests.append({"model": "resnet-18", "device": "a100-40gb", "batch": 4, "runtime": runtime})
        requests.append({"model": "gpt2", "device": "h100-sxm", "runtime": runtime, "length": 64})
    for dtype in ("fp16", "fp32", "amp_fp16", "int8"):
        requests.append({"model": "mobilenetv2-0.35", "device": "t4", "batch": 16, "dtype": dtype})
    requests += [
        {"model": "efficientnet-b0", "device": "tpu-v3", "batch": 3, "cores": 1},
        {"model": "efficientnet-b0", "device": "tpu-v3", "batch": 6},  # the same work on each core as 3 on one
        {"model": "efficientnet-b0", "device": "v100", "batch": 8, "layout": "nchw"},
        {"model": "efficientnet-b0", "device": "v100", "batch": 8, "image_size": 160},
        {"model": "swin-t", "device": "tpu-v4i"},
    ]
    requests += requests[::4]
    random.Random(0).shuffle(requests)
    return requests


def test_many_equal_each_to_the_last_bit() -> None:
    requests = mixed_requests()
    together = rf.simulate_many(requests)
    assert len(together) == len(requests)
    for request, report in zip(requests, together, strict=True):
        same_to_the_last_bit(report, rf.simulate(**request))


def test_many_take_requests_and_any_iterable() -> None:
    request = rf.Request(model="resnet-18", device="v100", batch=2)
    first, second = rf.simulate_many(r for r in (request, {"model": "resnet-18", "device": "v100", "batch": 2}))
    same_to_the_last_bit(first, second)
    assert rf.simulate_many([]) == []


def test_specs_and_names_are_the_same_request() -> None:
    by_name = rf.simulate("resnet-18", "TPU_v3", batch=4, runtime="xla", dtype="bfloat16")
    by_spec = rf.simulate(
        rf.model("resnet-18"), rf.device("tpu-v3"), batch=4, runtime=rf.runtime("xla", "tpu"), dtype="bf16"
    )
    same_to_the_last_bit(by_name, by_spec)


# blocks and the whole graph -------------------------------------------------------------------------------------------


def without_on_chip_memory(device: Device) -> Device:
    """Nothing stays on chip between kernels: no reuse distance has an effect."""
    return replace(device, memory=tuple(level for level in device.memory if level.role != "shared"))


WHOLE_ON = [("tpu-v4i", "xla"), ("a100-40gb", "tensorrt"), ("v100", "pytorch_eager")]


@pytest.mark.parametrize("name", ["efficientnet-b0", "resnet-50", "inception-v3", "vit-ti-16", "swin-t", "bert-base"])
@pytest.mark.parametrize(("device_name", "runtime"), WHOLE_ON)
def test_blocks_equal_the_whole_graph(name: str, device_name: str, runtime: str) -> None:
    """Only reuse distances may differ: a whole graph counts them beyond the blocks. Without residency all is equal."""
    device = rf.device(device_name)
    blocks, graph = rf.simulate(name, device, runtime=runtime), rf.simulate(whole(name), device, runtime=runtime)
    assert len(blocks.kernels) == len(graph.kernels)
    assert list(blocks.kernels["kind"]) == list(graph.kernels["kind"])
    for field in ("macs", "vector_ops", "traffic_bytes", "params", "weight_bytes"):
        assert getattr(blocks, field) == getattr(graph, field), field
    for column in ("matrix_time_s", "vector_time_s", "traffic_bytes", "padded_bytes"):
        assert np.array_equal(blocks.kernels[column], graph.kernels[column]), column
    assert graph.latency_s == pytest.approx(blocks.latency_s, rel=0.1)
    bare = without_on_chip_memory(device)
    slow_blocks, slow_graph = rf.simulate(name, bare, runtime=runtime), rf.simulate(whole(name), bare, runtime=runtime)
    assert np.array_equal(slow_blocks.kernels["time_s"], slow_graph.kernels["time_s"])
    assert slow_graph.latency_s == pytest.approx(slow_blocks.latency_s, rel=1e-12), "summed in another order"
    assert blocks.latency_s <= slow_blocks.latency_s * (1 + 1e-12), "on-chip memory never slows down"


@pytest.mark.parametrize("name", ["efficientnet-b0", "resnet-50", "vit-ti-16"])
def test_blocks_need_as_much_memory_as_the_whole_graph(name: str) -> None:
    """Nothing lives longer than one block and the input of the next."""
    blocks, graph = rf.simulate(name, "a100-40gb"), rf.simulate(whole(name), "a100-40gb")
    assert blocks.peak_memory_bytes == graph.peak_memory_bytes


# scaling -------------------------------------------------------------------------------------------------------------


def twice_as_fast(device: Device) -> Device:
    def doubled(clock_hz: float | None) -> float | None:
        return None if clock_hz is None else 2 * clock_hz

    rates = {
        name: replace(rate, peak_flops_per_s=2 * rate.peak_flops_per_s) for name, rate in device.matrix.rates.items()
    }
    return replace(
        device,
        clock_hz=doubled(device.clock_hz),
        matrix=replace(device.matrix, rates=rates, clock_hz=doubled(device.matrix.clock_hz)),
        vector=replace(
            device.vector,
            peak_flops_per_s=2 * device.vector.peak_flops_per_s,
            clock_hz=doubled(device.vector.clock_hz),
        ),
        memory=tuple(replace(m, bandwidth_bytes_per_s=2 * m.bandwidth_bytes_per_s) for m in device.memory),
    )


def half_the_overheads(runtime: Runtime) -> Runtime:
    names = ("program_s", "host_s", "floor_s", "trace_s", "memory_latency_s")
    return replace(runtime, **{name: getattr(runtime, name) / 2 for name in names})


@pytest.mark.parametrize("device_name", ["tpu-v3", "tpu-v7x", "v100", "mi300x", "t4"])
@pytest.mark.parametrize("name", ["efficientnet-b0", "bert-base"])
def test_a_machine_twice_as_fast_halves_the_latency(name: str, device_name: str) -> None:
    device = rf.device(device_name)
    runtime = rf.runtime(device.default_runtime, device.kind)
    before = rf.simulate(name, device, runtime=runtime, batch=4)
    after = rf.simulate(name, twice_as_fast(device), runtime=half_the_overheads(runtime), batch=4)
    assert after.latency_s == before.latency_s / 2, "a power of two changes no rounding"
    assert after.bound_shares == before.bound_shares


@pytest.mark.parametrize("device_name", ["tpu-v3", "v100"])
@pytest.mark.parametrize("name", ["efficientnet-b0", "resnet-50", "vit-ti-16", "mobilenetv1-0.25"])
def test_larger_batches_take_longer_and_gain_throughput(name: str, device_name: str) -> None:
    batches = [1, 2, 4, 8, 16, 64]
    reports = rf.simulate_many([{"model": name, "device": device_name, "batch": n, "cores": 1} for n in batches])
    latency = [r.latency_s for r in reports]
    assert latency == sorted(latency)
    assert [r.macs for r in reports] == [n * reports[0].macs for n in batches]
    assert {r.params for r in reports} == {reports[0].params}
    assert max(r.throughput_per_s for r in reports) > reports[0].throughput_per_s


@pytest.mark.parametrize(
    "change",
    [
        {"overlap": 0.0},
        {"floor_s": 1e-3},
        {"program_s": 1.0},
        {"host_s": 1.0},
        {"matrix_fraction": 0.01},
        {"vector_fraction": 0.01},
        {"bandwidth_fraction": 0.01},
        {"memory_latency_s": 1e-3},
        {"residency_share": 0.0},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("device_name", ["tpu-v4i", "a100-40gb"])
def test_a_worse_runtime_is_never_faster(change: dict[str, Any], device_name: str) -> None:
    device = replace(rf.device(device_name), overrides={})
    runtime = replace(rf.runtime(device.default_runtime, device.kind), overlap=0.9, host_s=0.0)
    before = rf.simulate("efficientnet-b0", device, runtime=runtime, batch=8)
    after = rf.simulate("efficientnet-b0", device, runtime=replace(runtime, **change), batch=8)
    assert after.latency_s > before.latency_s


@pytest.mark.parametrize("device_name", ["tpu-v4i", "v100", "h100-sxm"])
@pytest.mark.parametrize("name", ["efficientnet-b0", "convnext-t"])
def test_larger_inputs_never_take_less(name: str, device_name: str) -> None:
    """Padding, tiles and waves make steps, but only upwards."""
    base = {"model": name, "device": device_name, "cores": 1}
    by_batch = rf.simulate_many([base | {"batch": n} for n in range(1, 40)])
    by_size = rf.simulate_many([base | {"image_size": size, "batch": 2} for size in range(64, 256, 12)])
    for reports in (by_batch, by_size):
        assert (np.diff([r.device_s for r in reports]) >= 0).all()


# cores ---------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def on_v3(batch: int, cores: int | None = None) -> Report:
    return rf.simulate("efficientnet-b0", "tpu-v3", batch=batch, cores=cores)


def test_two_cores_take_a_batch_as_one_takes_half() -> None:
    one, two = on_v3(64, cores=1), on_v3(128)
    assert two.cores == 2 and two.idle_cores == 0 and one.cores == 1 and one.idle_cores == 1
    assert two.latency_s == one.latency_s, "a core has its own half of the bandwidth either way"
    assert two.throughput_per_s == 2 * one.throughput_per_s
    assert two.macs == 2 * one.macs and two.traffic_bytes == 2 * one.traffic_bytes
    assert two.peak_memory_bytes == 2 * one.peak_memory_bytes, "each core has its own copy of the weights"
    assert two.params == one.params and two.weight_bytes == one.weight_bytes


def test_one_example_leaves_a_core_idle() -> None:
    report = on_v3(1)
    assert report.cores == 2 and report.idle_cores == 1
    assert report.latency_s == on_v3(1, cores=1).latency_s
    assert report.macs == report.macs_per_example == on_v3(2).macs / 2


def test_three_examples_on_two_cores_take_as_long_as_four() -> None:
    three, four = on_v3(3), on_v3(4)
    assert three.latency_s == four.latency_s == on_v3(2, cores=1).latency_s  # the fuller core has two
    assert three.idle_cores == 0
    assert three.macs == 3 * on_v3(1).macs
    assert three.throughput_per_s == pytest.approx(0.75 * four.throughput_per_s)


def test_a_gpu_is_one_program() -> None:
    report = rf.simulate("efficientnet-b0", "v100", batch=3)
    assert report.cores == 1 and report.idle_cores == 0


# everything that is shipped ------------------------------------------------------------------------------------------


def test_the_sample_is_shipped() -> None:
    assert set(SAMPLE) <= set(rf.models())


@pytest.mark.parametrize("device", rf.devices())
def test_every_network_runs_on_every_device(device: str) -> None:
    models = [rf.model(name) for name in rf.models()]
    for batch in (1, 8):
        for report in rf.simulate_many([{"model": m, "device": device, "batch": batch} for m in models]):
            spec = report.device_spec
            nearest = max(level.bandwidth_bytes_per_s for level in (spec.main_memory, *spec.shared_memory))
            assert np.isfinite(report.latency_s) and report.latency_s > 0
            above = spec.overrides.get(report.runtime, {}).get("clock_ratio", 1.0)  # the clock that it really runs at
            peak_flops_per_s = report.peak_flops_per_s * max(above, 1.0)
            assert report.latency_s >= report.flops / peak_flops_per_s, "no faster than the matrix peak"
            assert report.latency_s >= report.traffic_bytes / nearest, "nor than the nearest memory"
            assert 0 < report.efficiency <= max(above, 1.0) or nearest > spec.main_memory.bandwidth_bytes_per_s
            assert min(report.macs, report.params, report.vector_ops, report.peak_memory_bytes) > 0
