"""Predictions for many measured rows at once: rows become columns, and constants may vary from call to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.arch.block import out_ports
from roofline.arch.spec import Arch
from roofline.calibration.measured.graphs import GraphSource
from roofline.calibration.measured.types import (
    ImagePipeline,
    LibraryCall,
    Measurement,
    Rejected,
    SavedGraph,
    SingleOp,
)
from roofline.cost import fold
from roofline.engine.columns import Index
from roofline.engine.evaluate import block_costs, kernel_costs
from roofline.engine.lowering import Step, lower_blocks, steps_of
from roofline.engine.machine import Machine, machine_for
from roofline.engine.setting import Setting, resolve
from roofline.engine.table import KernelTable, concat_tables, take_blocks
from roofline.errors import RooflineError
from roofline.hardware.load import device as load_device
from roofline.hardware.spec import Device
from roofline.measure.timm_graphs import TimmNetwork
from roofline.numeric import Array
from roofline.passes.policy import Policy
from roofline.software.load import runtime as load_runtime
from roofline.software.spec import Runtime
from roofline.stats import Agreement, agreement

AdaptRuntime = Callable[[Runtime], Runtime]
AdaptMachine = Callable[[Machine], Machine]


def agreement_per_example(measurements: Sequence[Measurement], predicted_s: Array) -> Agreement:
    """Return how predictions [s] compare with rows, per example: large networks run with smaller batches."""
    examples = np.array([1.0 * m.batch for m in measurements])
    measured_s = np.array([m.latency_s for m in measurements])
    return agreement(predicted_s / examples, measured_s / examples)


def _machine(setting: Setting, runtime: Runtime, device: Device) -> Machine:
    return machine_for(device, runtime, setting.policy.precision, setting.policy.layout, setting.cores)


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Rows on one machine: their distinct blocks as a table, and the blocks that each row runs.

    Attributes
    ----------
    setting
        Theirs but for the batch.
    places
        Position of each row in the list that was prepared.
    step_row, owner
        Block of the table, and row of the group, of every step of every row.
    networks
        Which rows are whole networks: they pay the program and the host too.
    """

    setting: Setting
    table: KernelTable
    places: Index
    step_row: Index
    owner: Index
    networks: Array

    @property
    def device(self) -> Device:
        """What the rows were measured on."""
        return self.setting.device

    @property
    def runtime(self) -> Runtime:
        """The software that ran them."""
        return self.setting.runtime

    def machine(self, runtime: Runtime, device: Device) -> Machine:
        """Return one core of the device under another set of constants."""
        return _machine(self.setting, runtime, device)

    def total(self, per_block: Array) -> Array:
        """Return a column of blocks summed over the blocks of each row."""
        return fold.segment_sum(per_block[self.step_row], self.owner, len(self.places))

    def total_of_kernels(self, per_kernel: Array) -> Array:
        """Return a column of kernels summed over the kernels of each row."""
        return self.total(fold.segment_sum(per_kernel, self.table.kernels.block, self.table.block_count))

    def part(self, inside: NDArray[np.bool_], places: Index) -> Group:
        """Return the group of some of its rows, at new places."""
        steps = inside[self.owner]
        used, step_row = np.unique(self.step_row[steps], return_inverse=True)
        return replace(
            self,
            places=places,
            step_row=step_row,
            owner=(np.cumsum(inside) - 1)[self.owner[steps]],
            table=take_blocks(self.table, used),
            networks=self.networks[inside],
        )

    def latency_s(self, runtime: Runtime, device: Device, machines: AdaptMachine | None = None) -> Array:
        """Return the predicted time of each row [s]."""
        machine = self.machine(runtime, device)
        blocks = block_costs(self.table, kernel_costs(self.table, machines(machine) if machines else machine))
        device_s, host_s = self.total(blocks.device_s), self.total(blocks.host_s)
        whole = fold.latency_s(device_s, host_s, program_s=runtime.program_s)
        return np.where(self.networks > 0, whole, device_s)


@dataclass(frozen=True, kw_only=True, eq=False)
class CallGroup:
    """Calls of a library on one machine: the library's own formulas answer, without a table of kernels.

    Attributes
    ----------
    setting, places
        As those of a `Group`.
    calls
        What each row asked of the library.
    """

    setting: Setting
    places: Index
    calls: tuple[LibraryCall, ...]

    @property
    def device(self) -> Device:
        """What the rows were measured on."""
        return self.setting.device

    @property
    def runtime(self) -> Runtime:
        """The software that ran them."""
        return self.setting.runtime

    def part(self, inside: NDArray[np.bool_], places: Index) -> CallGroup:
        """Return the group of some of its rows, at new places."""
        kept = tuple(call for call, wanted in zip(self.calls, inside, strict=True) if wanted)
        return replace(self, places=places, calls=kept)

    def latency_s(self, runtime: Runtime, device: Device, machines: AdaptMachine | None = None) -> Array:
        """Return the predicted time of each row [s]."""
        machine = _machine(self.setting, runtime, device)
        return type(self.calls[0]).times_s(self.calls, machines(machine) if machines else machine)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """Measured rows that can be predicted, as columns.

    Attributes
    ----------
    measurements
        The rows, in the order of every array that the methods return.
    rejected
        Rows that cannot be built, with the reason.
    """

    measurements: tuple[Measurement, ...]
    groups: tuple[Group | CallGroup, ...]
    rejected: tuple[Rejected, ...] = ()

    def __len__(self) -> int:
        return len(self.measurements)

    @property
    def measured_s(self) -> Array:
        """Measured time of each row."""
        return np.array([m.latency_s for m in self.measurements], dtype=np.float64)

    def predict(
        self,
        runtimes: AdaptRuntime | None = None,
        devices: Mapping[str, Device] | None = None,
        machines: AdaptMachine | None = None,
    ) -> Array:
        """Return the predicted time of each row [s], without what the measuring program adds.

        Parameters
        ----------
        runtimes
            Gives the runtime to use in place of each row's own; it must have the same fusion policy.
        devices
            Devices to use in place of those of the same name.
        machines
            Gives the machine to use in place of the one that device and runtime make.
        """
        found = np.empty(len(self.measurements))
        for group in self.groups:
            runtime = runtimes(group.runtime) if runtimes else group.runtime
            device = (devices or {}).get(group.device.name, group.device)
            found[group.places] = group.latency_s(runtime, device, machines)
        return found

    @property
    def tabled(self) -> bool:
        """Whether all rows have tables of kernels: calls of libraries have none."""
        return all(isinstance(group, Group) for group in self.groups)

    def gather(self, column: Callable[[Group], Array]) -> Array:
        """Return one number per row from a function that gives those of a group; NaN where it has no table."""
        found = np.full(len(self.measurements), np.nan)
        for group in self.groups:
            if isinstance(group, Group):
                found[group.places] = column(group)
        return found

    def subset(self, keep: Sequence[bool] | Array) -> Prepared:
        """Return only some rows; the columns are shared, not computed again."""
        mask = np.asarray(keep, dtype=bool)
        new_place = np.cumsum(mask) - 1
        insides = [(group, mask[group.places]) for group in self.groups]
        groups = [group.part(inside, new_place[group.places[inside]]) for group, inside in insides if inside.any()]
        kept = tuple(m for m, wanted in zip(self.measurements, mask, strict=True) if wanted)
        return Prepared(measurements=kept, groups=tuple(groups), rejected=self.rejected)


def prepare(
    measurements: Sequence[Measurement], *, graphs: GraphSource | None = None, adapt: AdaptRuntime | None = None
) -> Prepared:
    """Return the rows as columns; those that cannot be built are rejected one by one.

    Parameters
    ----------
    graphs
        Builds networks that files name; by default without keeping them.
    adapt
        Gives the runtime to lower each row for, in place of its own (another fusion policy, say).
    """
    graphs = graphs or GraphSource()
    keys: dict[tuple[Any, ...], list[Measurement]] = {}
    for m in measurements:
        key = (m.device, m.runtime, m.dtype, m.layout, m.cores, m.mode, m.optimizer, m.power_share, type(m.workload))
        keys.setdefault(key, []).append(m)
    kept: list[Measurement] = []
    groups: list[Group | CallGroup] = []
    rejected: list[Rejected] = []
    for rows in keys.values():
        known = len(rejected)
        try:
            made = _group(rows, graphs, adapt, rejected)
        except RooflineError as error:
            rejected[known:] = [Rejected(row=m.row, reason=str(error)) for m in rows]
            continue
        if made is not None:
            group, good = made
            groups.append(replace(group, places=np.arange(len(good)) + len(kept)))
            kept.extend(good)
    return Prepared(measurements=tuple(kept), groups=tuple(groups), rejected=tuple(rejected))


def _group(
    rows: list[Measurement], graphs: GraphSource, adapt: AdaptRuntime | None, rejected: list[Rejected]
) -> tuple[Group | CallGroup, list[Measurement]] | None:
    first = rows[0]
    device = load_device(first.device)
    if device.tdp_w is not None:
        device = replace(device, tdp_w=device.tdp_w * first.power_share)
    runtime = load_runtime(first.runtime, device.kind)
    single = not isinstance(first.workload, Arch)
    setting = resolve(
        device,
        dtype=first.dtype,
        runtime=adapt(runtime) if adapt else runtime,
        layout=first.layout,
        cores=1 if single and first.cores is None else first.cores,
        mode=first.mode,
        optimizer=first.optimizer,
    )
    calls = tuple(m.workload for m in rows if isinstance(m.workload, LibraryCall))
    if calls:  # rows are grouped by what their workload is: all of them
        return CallGroup(setting=setting, places=np.arange(len(rows)), calls=calls), rows
    kernel_policy = setting.policy
    good: list[Measurement] = []
    tables: list[list[tuple[KernelTable, int]]] = []
    steps: list[list[Step]] = []
    for m in rows:
        try:
            if isinstance(m.workload, TimmNetwork | SavedGraph | ImagePipeline):
                tables.append(graphs.tables(m.workload, m.batch, kernel_policy))
            elif isinstance(m.workload, SingleOp):
                steps.append([(m.workload.block, m.workload.ports)])
            elif isinstance(m.workload, Arch):
                steps.append(steps_of(m.workload, setting.with_batch(m.batch).core_batch, kernel_policy))
            good.append(m)
        except RooflineError as error:
            rejected.append(Rejected(row=m.row, reason=str(error)))
    if not good:
        return None
    if tables:
        runs = [count for parts in tables for _, count in parts]
        table = concat_tables([part for parts in tables for part, _ in parts])
        step_row = np.repeat(np.arange(len(runs)), runs)
        owner = np.repeat(np.arange(len(tables)), [sum(count for _, count in parts) for parts in tables])
    else:
        good, table, step_row, owner = _lower(good, steps, kernel_policy, rejected)
    group = Group(
        setting=setting,
        table=table,
        places=np.arange(len(good)),
        step_row=step_row,
        owner=owner,
        networks=np.array([1.0 * m.network for m in good]),
    )
    return group, good


def _lower(
    rows: list[Measurement], steps: list[list[Step]], kernel_policy: Policy, rejected: list[Rejected]
) -> tuple[list[Measurement], KernelTable, Index, Index]:
    """Return the rows that build, the table of their blocks, and the block and row of every step."""
    flat = [step for of_row in steps for step in of_row]
    try:
        table, row_of = lower_blocks(flat, kernel_policy)
    except RooflineError as error:  # a whole template failed: find the rows that are to blame
        good = []
        for m, of_row in zip(rows, steps, strict=True):
            try:
                for block, ports in of_row:
                    out_ports(block, ports)
                good.append((m, of_row))
            except RooflineError as reason:
                rejected.append(Rejected(row=m.row, reason=str(reason)))
        if not good or len(good) == len(rows):
            raise error
        return _lower([m for m, _ in good], [of_row for _, of_row in good], kernel_policy, rejected)
    step_row = np.array([row_of[step] for step in flat], dtype=np.int64)
    return rows, table, step_row, np.repeat(np.arange(len(steps)), [len(of_row) for of_row in steps])
