"""Every network on every device under every runtime in every precision it has: finite, positive, under its roofs.

The blocks of all networks at all batches are one table per way of lowering them, and each machine costs that table at
once: a few hundred thousand simulations in as many columns. A sample of them is held against `simulate`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

import roofline as rf
from roofline.cost import fold
from roofline.dtypes import PRECISIONS, Precision
from roofline.engine.evaluate import block_costs, kernel_costs, winograd_patches
from roofline.engine.lowering import lower_blocks, steps_of
from roofline.engine.machine import Machine, machine_for
from roofline.engine.table import DTYPE_CODES, KernelTable
from roofline.hardware.spec import Device
from roofline.numeric import Array
from roofline.passes.policy import Policy, policy
from roofline.software.spec import Runtime

BATCHES = (1, 8, 128)
#: relative; sums of thousands of kernels in another order
ROUNDING = 1e-9
MODELS = tuple(rf.models())
#: 1 for those that pay for each of their sequences, else 0
DECODES = np.array([1.0 * rf.model(name).decodes for name in MODELS])


@dataclass(frozen=True, kw_only=True, eq=False)
class Crowd:
    """Every network at some batch per core, as one table; a network is a segment of `order`."""

    table: KernelTable
    order: NDArray[np.int64]
    network: NDArray[np.int64]


@lru_cache(maxsize=8)
def crowd(how: Policy, core_batch: int) -> Crowd:
    programs = [steps_of(rf.model(name), core_batch, how) for name in MODELS]
    table, row_of = lower_blocks([step for steps in programs for step in steps], how)
    return Crowd(
        table=table,
        order=np.array([row_of[step] for steps in programs for step in steps], dtype=np.int64),
        network=np.repeat(np.arange(len(programs)), [len(steps) for steps in programs]),
    )


def runtimes_of(device: Device) -> list[Runtime]:
    return [r for r in map(rf.runtime, rf.runtimes()) if device.kind in r.device_kinds]


def precisions_of(device: Device) -> list[Precision]:
    """The precisions a device multiplies in; autocast also keeps fp32 tensors, and networks of ours are of them."""
    rates = device.matrix.rates
    return [
        p for p in PRECISIONS.values() if p.compute.name in rates and (not (p.autocast or p.own) or "fp32" in rates)
    ]


@lru_cache(maxsize=1)
def machines() -> list[tuple[Policy, Device, Runtime, Precision]]:
    """Every device, runtime and precision; neighbours share the policy that their networks are lowered for."""
    found = [
        (policy(runtime, precision), device.joined() if runtime.joins_cores else device, runtime, precision)
        for device in map(rf.device, rf.devices())
        for runtime in runtimes_of(device)
        for precision in precisions_of(device)
    ]
    names = {how: i for i, (how, *_) in enumerate(found)}
    return sorted(found, key=lambda row: names[row[0]])


def latencies(batch: int) -> Iterator[tuple[Device, Runtime, Precision, Array]]:
    for how, device, runtime, precision in machines():
        core_batch = -(-batch // device.cores)
        everyone = crowd(how, core_batch)
        machine = machine_for(device, runtime, precision, how.layout, device.cores)
        costs = kernel_costs(everyone.table, machine)
        blocks = block_costs(everyone.table, costs)
        check_roofs(everyone.table, costs.time_s, machine)

        def total(column: Array, everyone: Crowd = everyone) -> Array:
            return fold.segment_sum(column[everyone.order], everyone.network, len(MODELS))

        run_s = runtime.run_s(core_batch * DECODES)
        latency = fold.latency_s(total(blocks.device_s), total(blocks.host_s), program_s=run_s)
        assert np.isfinite(latency).all() and (latency > 0).all()
        # no network outruns its traffic at the nominal bandwidth of the nearest level that can hold it
        assert (latency >= total(blocks.ideal_memory_s) * (1 - ROUNDING)).all()
        yield device, runtime, precision, latency


def check_roofs(table: KernelTable, time_s: Array, machine: Machine) -> None:
    """Each kernel takes as long as its products at the peak of their dtype, and its vector work at the vector peak.

    Of causal attention only what queries may see counts: libraries leave out the rest.

    Winograd's algorithm multiplies 6 x 6 times for 4 x 4 outputs of 3 x 3 windows, a fourth of 4 x 4 x 3 x 3.
    """
    assert np.isfinite(time_s).all() and (time_s > 0).all()
    c, v, device = table.contractions, table.vectors, machine.device
    fewer = np.where(machine.runtime.winograd & (machine.on_lanes[c.dtype] * winograd_patches(table) > 0), 4.0, 1.0)
    seen = seen_share(table)
    ideal_s = c.batch * c.m * c.n * c.k * c.taps / fewer / (machine.unit_macs_per_s * machine.units)[c.dtype]
    share = 1.0 / device.cores
    transcendental_s = v.transcendental_ops / (device.vector_transcendental_ops_per_s * share)
    simple_s = v.simple_ops / (device.vector_simple_ops_per_s * share)
    for work_s, kernel in ((ideal_s, c.kernel), (transcendental_s, v.kernel), (simple_s, v.kernel)):
        assert (time_s >= fold.segment_sum(work_s, kernel, len(time_s)) * seen * (1 - ROUNDING)).all()


def seen_share(table: KernelTable) -> Array:
    """Return for each kernel the share of its scores that queries may see: 1 for all but causal attention."""
    share, a = np.ones(len(table.kernels.block)), table.attentions
    for row in np.flatnonzero(a.causal).tolist():
        queries, keys = int(a.queries[row]), int(a.keys[row])
        visible = np.minimum(keys - queries + 1 + np.arange(queries), a.window[row])
        share[a.kernel[row]] = visible.sum() / (queries * keys)
    return share


@pytest.mark.parametrize("batch", BATCHES)
def test_everything_simulates_under_its_roofs(batch: int) -> None:
    count = 0
    random = np.random.default_rng(batch)
    for device, runtime, precision, latency in latencies(batch):
        count += len(latency)
        if random.random() < 0.02:
            row = int(random.integers(len(MODELS)))
            report = rf.simulate(MODELS[row], device, batch=batch, runtime=runtime, dtype=precision)
            assert latency[row] == pytest.approx(report.latency_s, rel=ROUNDING)
    pairs = sum(len(runtimes_of(d)) * len(precisions_of(d)) for d in map(rf.device, rf.devices()))
    assert count == len(MODELS) * pairs > 10_000


def test_precisions_that_a_device_lacks_are_refused() -> None:
    refused = 0
    for name in rf.devices():
        device = rf.device(name)
        for precision in set(PRECISIONS.values()) - set(precisions_of(device)):
            with pytest.raises(rf.RooflineError, match=r"allowed|has no"):
                rf.simulate("resnet-18", device, dtype=precision)
            refused += 1
    assert refused
    assert set(DTYPE_CODES) >= {p.compute.name for p in PRECISIONS.values()}
