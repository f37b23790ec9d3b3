"""`simulate_many` is the primitive; `simulate` is `simulate_many` of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from roofline.arch.build import MAX_BATCH
from roofline.arch.load import model as load_model
from roofline.arch.spec import Arch
from roofline.cost import fold
from roofline.device.load import device as load_device
from roofline.device.spec import Device
from roofline.dtypes import Precision, precision
from roofline.errors import DoesNotFitError, InputError, nearest
from roofline.graph.op import Layout
from roofline.graph.opgraph import OpGraph
from roofline.numeric import Array, ceil_div, whole_number
from roofline.passes.layout import check_layout
from roofline.passes.pipeline import Policy, policy
from roofline.runtime.load import runtime as load_runtime
from roofline.runtime.spec import Runtime
from roofline.simulate.evaluate import BlockCosts, KernelCosts, block_costs, kernel_costs
from roofline.simulate.lowering import Lowered, lower_arch, lower_graph
from roofline.simulate.machine import Machine, machine_for
from roofline.simulate.report import Report
from roofline.simulate.table import concat_tables


@dataclass(frozen=True, kw_only=True)
class Request:
    """One simulation: a network on a device. None means the default of the device, runtime or network.

    Attributes
    ----------
    model
        Name or file of a network, an `Arch`, or an `OpGraph`: its batch is what it was built with, or another one where
        `OpGraph.with_batch` can prove what grows; else it runs as it is, on one core unless more are asked for.
    device, runtime
        Names, files, or the specs themselves.
    batch
        Examples per run, spread over the cores.
    dtype
        ``fp32``, ``bf16``, ``fp16``, ``int8`` ..., or ``amp_fp16``, ``amp_bf16``.
    layout
        ``nhwc`` or ``nchw``.
    image_size
        Pixels per side, or tokens per sequence.
    cores
        Program instances to use; all of the chip by default.
    mode
        ``inference``; ``training``: forward pass, backward pass and the optimizer's step; or ``forward_saving``: the
        forward pass alone, which writes what a backward pass would read.
    optimizer
        Of a training step: ``sgd``, ``momentum`` or ``adam`` (the default).
    recompute
        A training step keeps the inputs of blocks only, and runs each block again before its backward pass.
    strict
        Refuse a network that does not fit into the device's memory, instead of a warning.
    """

    model: str | Path | Arch | OpGraph
    device: str | Path | Device
    batch: int | None = None
    dtype: str | Precision | None = None
    runtime: str | Path | Runtime | None = None
    layout: str | None = None
    image_size: int | None = None
    cores: int | None = None
    mode: str = "inference"
    optimizer: str | None = None
    recompute: bool = False
    strict: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    request: Request
    policy: Policy
    machine: Machine
    lowered: Lowered
    arch: Arch | None
    batch: int
    core_batch: int
    busy_cores: int


def simulate(model: str | Path | Arch | OpGraph, device: str | Path | Device, **options: Any) -> Report:
    """Predict how long a network takes on a device, and why.

    Parameters
    ----------
    model, device
        See `Request`.
    **options
        batch, dtype, runtime, layout, image_size, cores, mode, optimizer, recompute, strict: see `Request`.

    Returns
    -------
    Report
        Latency with its reasons; ``report.kernels`` has a row per kernel.

    Raises
    ------
    UnknownNameError
        No such model, device, runtime or dtype.
    InputError
        A value is out of range, or the device lacks the dtype.
    DoesNotFitError
        With ``strict=True``, the network needs more memory than the device has.

    Examples
    --------
    >>> report = simulate("efficientnet-b0", "tpu-v3", batch=128)
    >>> report.macs_per_example
    385814752.0
    """
    return simulate_many([request_of(model=model, device=device, **options)])[0]


def request_of(**fields: Any) -> Request:
    """Return a request; a misspelt option is an error with the nearest name.

    Raises
    ------
    InputError
        An unknown option.
    """
    known = Request.__dataclass_fields__
    for name in fields:
        if name not in known:
            raise InputError(f"unknown option {name!r}{nearest(name, known)}")
    return Request(**fields)


def simulate_many(requests: Iterable[Request | Mapping[str, Any]]) -> list[Report]:
    """Simulate many networks, devices, batches and runtimes together; equal to `simulate` of each to the last bit.

    Networks on the same machine are costed in one call of each formula.
    """
    jobs = [_job(r if isinstance(r, Request) else request_of(**r)) for r in requests]
    groups: dict[int, list[int]] = {}
    for i, job in enumerate(jobs):
        groups.setdefault(id(job.machine), []).append(i)
    reports: dict[int, Report] = {}
    for indices in groups.values():
        unique = list({id(jobs[i].lowered): jobs[i].lowered for i in indices}.values())
        machine = jobs[indices[0]].machine
        table = concat_tables([lowered.table for lowered in unique])
        costs = kernel_costs(table, machine)
        blocks = block_costs(table, costs)
        first_block = np.cumsum([0] + [lowered.table.block_count for lowered in unique])
        first_kernel = np.cumsum([0] + [lowered.table.kernel_count for lowered in unique])
        place = {id(lowered): i for i, lowered in enumerate(unique)}
        for i in indices:
            at = place[id(jobs[i].lowered)]
            kernel_rows = slice(int(first_kernel[at]), int(first_kernel[at + 1]))
            reports[i] = _report(jobs[i], blocks, costs, int(first_block[at]), kernel_rows)
    return [reports[i] for i in range(len(jobs))]


def _job(request: Request) -> _Job:
    device = load_device(request.device)
    runtime = load_runtime(request.runtime or device.default_runtime, device.kind)
    wanted = request.dtype or device.default_dtype
    found = wanted if isinstance(wanted, Precision) else precision(wanted)
    layout = check_layout(request.layout) if request.layout else runtime.default_layout
    if isinstance(request.model, OpGraph):
        return _graph_job(request, request.model, device, runtime, found, layout)
    arch = load_model(request.model).with_image_size(request.image_size)
    batch = 1 if request.batch is None else whole_number(request.batch, "batch", most=MAX_BATCH)
    cores = device.cores
    if request.cores is not None:
        cores = whole_number(request.cores, f"cores of {device.name!r}", most=device.cores)
    machine = _machine(device, runtime, found, layout, cores)
    core_batch = int(ceil_div(batch, cores))
    rules = _policy(request, runtime, found, layout)
    lowered = lower_arch(arch, core_batch, rules)
    return _Job(
        request=request, policy=rules, machine=machine, lowered=lowered, arch=arch, batch=batch, core_batch=core_batch,
        busy_cores=int(ceil_div(batch, core_batch)),
    )  # fmt: skip


def _policy(request: Request, runtime: Runtime, found: Precision, layout: Layout) -> Policy:
    return policy(runtime, found, layout, request.mode, request.optimizer, request.recompute)


def _graph_job(
    request: Request, graph: OpGraph, device: Device, runtime: Runtime, found: Precision, layout: Layout
) -> _Job:
    if request.image_size is not None:
        raise InputError("image_size is fixed in a graph: lower the network again")
    shapes = [graph.tensors[t].shape for t in graph.inputs]
    built = int(np.max(shapes[0][0])) if shapes and shapes[0] else 1
    batch = built if request.batch is None else whole_number(request.batch, "batch", most=MAX_BATCH)
    cores = device.cores
    if request.cores is not None:
        cores = whole_number(request.cores, f"cores of {device.name!r}", most=device.cores)
    core_batch, whole = int(ceil_div(batch, cores)), graph
    try:
        whole, graph = graph.with_batch(batch), graph.with_batch(core_batch)
        if graph.macs * batch != whole.macs * core_batch:
            raise InputError(f"{graph.name}: examples meet each other in products: cores cannot share them out")
    except InputError:
        if request.cores is not None or (batch != built and whole is graph):
            raise
        graph, cores, core_batch = whole, 1, batch  # its examples cannot be told apart: one core runs it as it is
    machine = _machine(device, runtime, found, layout, cores)
    rules = _policy(request, runtime, found, layout)
    if rules.mode == "training" and not graph.params:
        raise InputError(f"{graph.name}: no parameters, so nothing to train")
    lowered = lower_graph(graph, rules)
    return _Job(
        request=request, policy=rules, machine=machine, lowered=lowered, arch=None, batch=batch, core_batch=core_batch,
        busy_cores=int(ceil_div(batch, core_batch)),
    )  # fmt: skip


@lru_cache(maxsize=256)
def _machine(device: Device, runtime: Runtime, found: Precision, layout: Layout, cores: int) -> Machine:
    return machine_for(device, runtime, found, layout, cores)


def _report(job: _Job, blocks: BlockCosts, costs: KernelCosts, first_block: int, kernels: slice) -> Report:
    order = job.lowered.order + first_block
    whole = np.zeros(len(order), dtype=np.int64)

    def total(column: Array) -> float:
        return float(fold.segment_sum(column[order], whole, 1)[0])

    device_s, host_s, program_s = total(blocks.device_s), total(blocks.host_s), job.machine.runtime.program_s
    weight_bytes, saved_bytes = total(blocks.weight_bytes), total(blocks.saved_bytes)
    state_bytes = total(blocks.state_bytes)
    live_bytes = float(fold.segment_max(blocks.live_bytes[order], whole, 1)[0])
    weight_traffic = total(blocks.weight_traffic_bytes)  # every busy core reads its own copy of the weights
    examples = job.batch / job.core_batch  # the fullest core's work stands for this many cores' worth
    report = Report(
        lowered=job.lowered,
        machine=job.machine,
        costs=costs.part(kernels),
        image_size=job.arch.image_size if job.arch else None,
        mode=job.policy.mode,
        optimizer=job.policy.optimizer,
        recompute=job.policy.recompute,
        batch=job.batch,
        busy_cores=job.busy_cores,
        latency_s=float(fold.latency_s(device_s, host_s, program_s=program_s)),
        device_s=device_s,
        host_s=host_s,
        program_s=program_s,
        macs=total(blocks.macs) * examples,
        vector_ops=total(blocks.vector_ops) * examples,
        traffic_bytes=(total(blocks.traffic_bytes) - weight_traffic) * examples + weight_traffic * job.busy_cores,
        ideal_memory_s=total(blocks.ideal_memory_s) * job.busy_cores / job.machine.device.cores,
        params=total(blocks.params),
        weight_bytes=weight_bytes,
        saved_bytes=saved_bytes * job.busy_cores,
        state_bytes=state_bytes,
        peak_memory_bytes=float(fold.peak_memory_bytes(weight_bytes, live_bytes, saved_bytes, state_bytes))
        * job.busy_cores,
    )
    if job.request.strict and not report.fits:
        raise DoesNotFitError(report.warnings[0])
    return report
