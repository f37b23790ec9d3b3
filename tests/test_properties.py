"""What holds for any network on any machine, tried on random ones: more work takes longer, a better machine less."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline as rf
from roofline.arch.spec import Arch
from roofline.hardware.spec import Device
from roofline.software.constant import constants_of
from roofline.software.libraries.paged_attention import PagedAttentionLibrary
from roofline.software.spec import Runtime

#: relative: a sum in another order, never a real loss
ROUNDING = 1e-12
DEVICES = tuple(rf.devices())


@lru_cache(maxsize=8)
def space(name: str) -> Any:
    return rf.search_space(name)


@st.composite
def networks(draw: st.DrawFn) -> Arch:
    """A shipped network, or any of a search space."""
    if draw(st.booleans()):
        return rf.model(draw(st.sampled_from(rf.models())))
    found = space(draw(st.sampled_from(["accel-nasbench", "efficientnet-x", "resnet", "vit"])))
    arch: Arch = found.decode(found.sample(1, seed=draw(st.integers(0, 2**31)))[0])
    return arch


@st.composite
def machines(draw: st.DrawFn) -> tuple[Device, Runtime]:
    device = rf.device(draw(st.sampled_from(DEVICES)))
    fitting = [r for r in map(rf.runtime, rf.runtimes()) if device.kind in r.device_kinds]
    return device, draw(st.sampled_from(fitting))


def hertz(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def with_clock(device: Device, factor: float) -> Device:
    """Raise the clock, and with it every rate of the cores; the memories keep theirs."""
    matrix, vector = device.matrix, device.vector
    rates = {n: replace(r, peak_flops_per_s=r.peak_flops_per_s * factor) for n, r in matrix.rates.items()}
    return replace(
        device,
        clock_hz=hertz(device.clock_hz, factor),
        matrix=replace(matrix, clock_hz=hertz(matrix.clock_hz, factor), rates=rates),
        vector=replace(
            vector, clock_hz=hertz(vector.clock_hz, factor), peak_flops_per_s=vector.peak_flops_per_s * factor
        ),
    )


def with_matrix(device: Device, factor: float) -> Device:
    rates = {n: replace(r, peak_flops_per_s=r.peak_flops_per_s * factor) for n, r in device.matrix.rates.items()}
    return replace(device, matrix=replace(device.matrix, rates=rates))


def with_vector(device: Device, factor: float) -> Device:
    peak = device.vector.peak_flops_per_s * factor
    return replace(device, vector=replace(device.vector, peak_flops_per_s=peak))


def with_transcendentals(device: Device, factor: float) -> Device:
    rate = device.vector.transcendental_per_clock * factor
    return replace(device, vector=replace(device.vector, transcendental_per_clock=rate))


def with_bandwidth(device: Device, factor: float, role: str | None = None) -> Device:
    return replace(
        device,
        memory=tuple(
            replace(level, bandwidth_bytes_per_s=level.bandwidth_bytes_per_s * factor) if role in (None, level.role)
            else level
            for level in device.memory
        ),
    )  # fmt: skip


def with_capacity(device: Device, factor: float) -> Device:
    return replace(
        device,
        memory=tuple(
            replace(level, capacity_bytes=level.capacity_bytes * factor) if level.role == "shared" else level
            for level in device.memory
        ),
    )


def nearer_is_faster(device: Device) -> bool:
    rates = [level.bandwidth_bytes_per_s for level in device.memory]
    return rates == sorted(rates)


BETTER = {
    "clock": with_clock,
    "matrix rate": with_matrix,
    "vector rate": with_vector,
    "transcendental rate": with_transcendentals,
    "bandwidth of all levels": with_bandwidth,
    "bandwidth of the main memory": lambda d, f: with_bandwidth(d, f, "main"),
    "bandwidth of shared memory": lambda d, f: with_bandwidth(d, f, "shared"),
    "bandwidth of local memory": lambda d, f: with_bandwidth(d, f, "local"),
    "on-chip capacity": with_capacity,
}


@pytest.mark.parametrize("part", BETTER)
@settings(max_examples=25)
@given(network=networks(), machine=machines(), batch=st.sampled_from([1, 3, 8, 64]), factor=st.floats(1.01, 4.0))
def test_a_better_device_is_never_slower(
    part: str, network: Arch, machine: tuple[Device, Runtime], batch: int, factor: float
) -> None:
    device, runtime = machine
    better = BETTER[part](device, factor)
    if part == "on-chip capacity" and not nearer_is_faster(device):
        return  # room in a slower level is no gain
    before, after = rf.simulate_many(
        [{"model": network, "device": d, "runtime": runtime, "batch": batch} for d in (device, better)]
    )
    assert after.latency_s <= before.latency_s * (1 + ROUNDING)


@settings(max_examples=40)
@given(network=networks(), machine=machines(), batches=st.lists(st.integers(1, 300), min_size=2, max_size=4))
def test_larger_batches_are_more_work_and_take_no_less(
    network: Arch, machine: tuple[Device, Runtime], batches: list[int]
) -> None:
    device, runtime = machine
    batches = sorted(batches)
    reports = rf.simulate_many(
        [{"model": network, "device": device, "runtime": runtime, "batch": n, "cores": 1} for n in batches]
    )
    for name in ("macs", "vector_ops", "traffic_bytes", "peak_memory_bytes"):
        values = [getattr(r, name) for r in reports]
        assert values == sorted(values), name
    aligned = rf.simulate_many(
        [{"model": network, "device": device, "runtime": runtime, "batch": 128 * n, "cores": 1} for n in (1, 2, 3, 7)]
    )
    latency = np.array([r.device_s for r in aligned])
    assert (np.diff(latency) >= -ROUNDING * latency[:-1]).all()


@settings(max_examples=40)
@given(
    machine=machines(),
    kind=st.sampled_from(["linear", "conv", "depthwise", "norm", "attention"]),
    batch=st.sampled_from([1, 4, 128]),
    tiles=st.lists(st.integers(1, 24), min_size=2, max_size=5, unique=True),
)
def test_wider_layers_are_more_work_and_take_no_less(
    machine: tuple[Device, Runtime], kind: str, batch: int, tiles: list[int]
) -> None:
    """Channels in multiples of 128: aligned on every device, so that no padding is won back."""
    device, runtime = machine
    reports = [rf.simulate(layer(kind, batch, 128 * n), device, runtime=runtime, cores=1) for n in sorted(tiles)]
    for name in ("macs", "vector_ops", "traffic_bytes", "device_s"):
        values = np.array([getattr(r, name) for r in reports])
        assert (np.diff(values) >= -ROUNDING * values[:-1]).all(), name


def layer(kind: str, batch: int, channels: int) -> rf.OpGraph:
    b = rf.GraphBuilder(kind)
    if kind in ("linear", "norm", "attention"):
        x = b.input("tokens", (batch, 64, channels))
        if kind == "linear":
            return b.graph([b.linear(x, channels)])
        if kind == "norm":
            return b.graph([b.layer_norm(x)])
        return b.graph([b.attention(x, x, x, heads=channels // 64)])
    x = b.input("image", (batch, 14, 14, channels))
    groups = channels if kind == "depthwise" else 1
    return b.graph([b.conv(x, channels, kernel=3, groups=groups)])


def half_the_waits(library: PagedAttentionLibrary) -> PagedAttentionLibrary:
    waits = [c.field for c in constants_of(PagedAttentionLibrary) if c.unit == "us"]
    assert waits
    return replace(library, **{name: getattr(library, name) / 2 for name in waits})


@settings(max_examples=30)
@given(network=networks(), machine=machines(), batch=st.sampled_from([1, 8, 64]))
def test_clocks_and_bandwidths_twice_and_overheads_half_halve_the_latency(
    network: Arch, machine: tuple[Device, Runtime], batch: int
) -> None:
    """Libraries for GPUs are left out: their kernels slow down under a power limit, which nothing doubles here."""
    device, runtime = machine
    runtime = replace(runtime, products=(), fused_attention=(), experts=())
    overheads = ("program_s", "host_s", "floor_s", "trace_s", "memory_latency_s", "sequence_s")
    quick = replace(
        runtime,
        **{name: getattr(runtime, name) / 2 for name in overheads},
        paged_attention=tuple(map(half_the_waits, runtime.paged_attention)),
    )
    before = rf.simulate(network, device, runtime=runtime, batch=batch)
    after = rf.simulate(network, with_bandwidth(with_clock(device, 2.0), 2.0), runtime=quick, batch=batch)
    assert after.latency_s == before.latency_s / 2, "a power of two changes no rounding"
