"""`simulate_many` is the primitive; `simulate` is `simulate_many` of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar, Unpack

import numpy as np

from roofline.arch.load import model as load_model
from roofline.arch.spec import Arch
from roofline.arch.step import Step
from roofline.cost import fold
from roofline.engine.asked import sized
from roofline.engine.costs import BlockCosts, KernelCosts
from roofline.engine.evaluate import block_costs, kernel_costs
from roofline.engine.lowering import Lowered, lower_arch, lower_graph
from roofline.engine.options import OPTIONS, RunOptions, check_known
from roofline.engine.setting import Setting, of_graph, resolve
from roofline.engine.table import concat_tables
from roofline.errors import DoesNotFitError, InputError
from roofline.graph.opgraph import OpGraph
from roofline.hardware.spec import Device
from roofline.numeric import Array
from roofline.report.report import Report

Network: TypeAlias = str | Path | Arch | OpGraph
R = TypeVar("R")


def _with_options(request: type[R]) -> type[R]:
    """Return a request as a dataclass that has every option, too, as a field and in its documentation."""
    said = "".join(f"{name}\n        {option.text}\n    " for name, option in OPTIONS.items())
    return make_dataclass(
        request.__name__,
        [(name, Any, option.default) for name, option in OPTIONS.items()],
        bases=(dataclass(frozen=True, kw_only=True)(request),),
        namespace={"__module__": request.__module__, "__doc__": f"{request.__doc__}{said}"},
        frozen=True,
        kw_only=True,
    )


@_with_options
class Request:
    """One simulation: a network on a device. None means the default of the device, runtime or network.

    Attributes
    ----------
    model
        Name or file of a network, an `Arch`, or an `OpGraph`: its batch is what it was built with, or another one where
        `OpGraph.with_batch` can prove what grows; else it runs as it is, on one core unless more are asked for.
    device
        Name, file, or the spec itself, as for a runtime.
    """

    model: Network
    device: str | Path | Device

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

        def __init__(self, *, model: Network, device: str | Path | Device, **options: Unpack[RunOptions]) -> None: ...
        def __getattr__(self, option: str) -> Any: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    setting: Setting
    lowered: Lowered
    image_size: int | None = None
    length: int | None = None
    step: Step | None = None


def simulate(model: Network, device: str | Path | Device, **options: Unpack[RunOptions]) -> Report:
    """Predict how long a network takes on a device, and why.

    Parameters
    ----------
    model, device
        See `Request`.
    **options
        See `Options`.

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
        An unknown option; no model or no device.
    """
    check_known(fields, Request.__dataclass_fields__)
    if not {"model", "device"} <= fields.keys():
        raise InputError(f"a request has a model and a device, got {', '.join(fields) or 'nothing'}")
    return Request(**fields)


def simulate_many(requests: Iterable[Request | Mapping[str, Any]]) -> list[Report]:
    """Simulate many networks, devices, batches and runtimes together; equal to `simulate` of each to the last bit.

    Networks on the same machine are costed in one call of each formula.
    """
    jobs = [_job(r if isinstance(r, Request) else request_of(**r)) for r in requests]
    groups: dict[int, list[int]] = {}
    for i, job in enumerate(jobs):
        groups.setdefault(id(job.setting.machine), []).append(i)
    reports: dict[int, Report] = {}
    for indices in groups.values():
        unique = list({id(jobs[i].lowered): jobs[i].lowered for i in indices}.values())
        machine = jobs[indices[0]].setting.machine
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
    options: dict[str, Any] = {name: getattr(request, name) for name in OPTIONS}
    setting, network = resolve(request.device, **options), request.model
    if isinstance(network, OpGraph):
        graph, setting = of_graph(setting, network, [name for name, value in options.items() if value is not None])
        return _Job(setting=setting, lowered=lower_graph(graph, setting.policy))
    found = sized(load_model(network), setting.ask, setting.core_batch / setting.batch)
    lowered = lower_arch(found.arch, setting.core_batch, setting.policy)
    return _Job(setting=setting, lowered=lowered, image_size=found.image_size, length=found.length, step=found.step)


def _program_s(job: _Job) -> float:
    sequences = 0.0 if job.step is None else job.setting.core_batch + job.step.decoding
    return float(job.setting.runtime.run_s(sequences))


def _report(job: _Job, blocks: BlockCosts, costs: KernelCosts, first_block: int, kernels: slice) -> Report:
    setting, order = job.setting, job.lowered.order + first_block
    whole = np.zeros(len(order), dtype=np.int64)

    def total(column: Array) -> float:
        return float(fold.segment_sum(column[order], whole, 1)[0])

    device_s, host_s, program_s = total(blocks.device_s), total(blocks.host_s), _program_s(job)
    weight_bytes, saved_bytes = total(blocks.weight_bytes), total(blocks.saved_bytes)
    state_bytes, resident_bytes = total(blocks.state_bytes), total(blocks.resident_bytes)
    live_bytes = float(fold.segment_max(blocks.live_bytes[order], whole, 1)[0])
    weight_traffic = total(blocks.weight_traffic_bytes)  # every busy core reads its own copy of the weights
    examples = setting.batch / setting.core_batch  # the fullest core's work stands for this many cores' worth
    report = Report(
        lowered=job.lowered,
        machine=setting.machine,
        costs=costs.part(kernels),
        image_size=job.image_size,
        length=job.length,
        step=job.step,
        mode=setting.policy.mode,
        optimizer=setting.policy.optimizer,
        recompute=setting.policy.recompute,
        numbers=setting.policy.format,
        batch=setting.batch,
        busy_cores=setting.busy_cores,
        latency_s=float(fold.latency_s(device_s, host_s, program_s=program_s)),
        device_s=device_s,
        host_s=host_s,
        program_s=program_s,
        macs=total(blocks.macs) * examples,
        vector_ops=total(blocks.vector_ops) * examples,
        traffic_bytes=(total(blocks.traffic_bytes) - weight_traffic) * examples + weight_traffic * setting.busy_cores,
        ideal_memory_s=total(blocks.ideal_memory_s) * setting.busy_cores / setting.device.cores,
        params=total(blocks.params),
        weight_bytes=weight_bytes,
        cache_bytes=total(blocks.cache_bytes) * setting.busy_cores,
        saved_bytes=saved_bytes * setting.busy_cores,
        state_bytes=state_bytes,
        peak_memory_bytes=float(
            fold.peak_memory_bytes(weight_bytes, live_bytes, resident_bytes, saved_bytes, state_bytes)
        )
        * setting.busy_cores,
    )
    if setting.strict and not report.fits:
        raise DoesNotFitError(report.warnings[0])
    return report
