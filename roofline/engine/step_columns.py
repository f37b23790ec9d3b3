"""Many steps of one decoder at once: its distinct layers, with the sizes of the steps as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np

from roofline.arch.block import Block, Port, Ports, build_block, wanted
from roofline.arch.spec import Arch
from roofline.arch.step import Phase, Step
from roofline.cost import fold
from roofline.engine.build import build_table
from roofline.engine.columns import Index
from roofline.engine.evaluate import block_costs, kernel_costs
from roofline.engine.lowering import steps_of
from roofline.engine.machine import Machine
from roofline.engine.table import BlockColumns, KernelParts, KernelTable
from roofline.graph.builder import GraphBuilder
from roofline.numeric import Array, Numeric
from roofline.passes.pipeline import program
from roofline.passes.policy import Policy

B = TypeVar("B", bound=Block)

#: a step that any decoder can take; its sizes differ from one another, so that shapes tell which is which
SEQUENCES, NEW, DECODING = 3, 2, 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps:
    """Steps of one phase as columns: see `roofline.arch.step.Step`."""

    phase: Phase
    sequences: Array
    new: Array
    context: Array
    decoding: Array
    decoding_context: Array

    def __len__(self) -> int:
        return len(self.sequences)

    def take(self, rows: Index | slice) -> Steps:
        """Return some of the steps."""
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "phase"}
        return replace(self, **columns)

    @property
    def rows(self) -> Array:
        """Tokens that enter each step."""
        return self.sequences * self.new + self.decoding


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A distinct block of a decoder in a phase, and how often a step runs it.

    `moving` are the places of the kernels that depend on how much is kept; what the others cost is said by the tokens
    that enter. Of kernels that are alike, in whatever layers, one is costed for all: `costed` has the places of those
    that are, and the runs that each stands for.
    """

    block: Block
    ports: Ports
    times: int
    moving: frozenset[int] = frozenset()
    costed: tuple[tuple[int, int], ...] = ()

    def fixed(self, place: int) -> bool:
        """Whether what is kept does not matter to the kernel at a place."""
        return place not in self.moving


def layers_of(arch: Arch, phase: Phase, policy: Policy) -> tuple[Layer, ...]:
    """Return the distinct blocks of a decoder in a phase, in the order in which they first run."""
    decoding = DECODING if phase == "mixed" else 0
    at = arch.at(Step(phase=phase, context=0, decoding=decoding, decoding_context=0)).with_length(NEW)
    counted = Counter(steps_of(at, SEQUENCES, policy))
    layers = [Layer(block=block, ports=ports, times=times) for (block, ports), times in counted.items()]
    stands_for: dict[tuple[bytes, ...], tuple[int, int]] = {}
    runs: list[dict[int, int]] = [{} for _ in layers]
    moving = []
    for number, layer in enumerate(layers):
        found = _moving(_table(layer, _probes(phase, decoding), policy))
        moving.append(frozenset(found))
        for place, told in found.items():
            first, there = stands_for.setdefault(told, (number, place))
            runs[first][there] = runs[first].get(there, 0) + layer.times
    return tuple(
        replace(layer, moving=places, costed=tuple(sorted(own.items())))
        for layer, places, own in zip(layers, moving, runs, strict=True)
    )


def _probes(phase: Phase, decoding: int) -> Steps:
    """Return steps that differ in nothing but in what is kept."""
    kept = np.array([1.0, 2.0, 777.0, 100_003.0])
    return Steps(
        phase=phase,
        sequences=np.full(len(kept), 1.0 * SEQUENCES),
        new=np.full(len(kept), 1.0 * NEW),
        context=kept,
        decoding=np.full(len(kept), 1.0 * decoding),
        decoding_context=2.0 * kept,
    )


def _moving(table: KernelTable) -> dict[int, tuple[bytes, ...]]:
    """Return the places of the kernels any of whose columns differs between the probes, with all of their columns."""
    probes = table.block_count
    told: dict[int, list[bytes]] = {}
    moving: set[int] = set()
    for part in table.parts.values():
        if isinstance(part, BlockColumns) or not len(part):
            continue
        kernel = part.kernel if isinstance(part, KernelParts) else np.arange(len(part))
        places = (kernel.reshape(-1, probes)[:, 0] // probes).tolist()  # rows go probe by probe
        columns = np.stack(part.values).reshape(len(part.values), -1, probes).swapaxes(0, 1)
        for place, rows in zip(places, columns, strict=True):
            told.setdefault(place, []).append(type(part).__name__.encode() + rows.tobytes())
            if (rows != rows[:, :1]).any():
                moving.add(place)
    return {place: tuple(told[place]) for place in sorted(moving)}


def step_costs_s(layers: tuple[Layer, ...], steps: Steps, policy: Policy, machine: Machine) -> tuple[Array, Array]:
    """Return device time and host time of each step [s], without what a run pays once."""
    entering = np.stack([steps.sequences, steps.new, steps.decoding])
    _, first, kind = np.unique(entering, axis=1, return_index=True, return_inverse=True)
    kinds, total = steps.take(first), np.zeros((2, len(steps)))
    for layer in layers:
        fixed = _table(layer, kinds, policy, chosen=layer.fixed)
        total = total + layer.times * _costs_s(fixed, machine)[:, kind.ravel()]
        if layer.costed:
            runs = dict(layer.costed)
            moving = _table(layer, steps, policy, chosen=runs.__contains__)
            times = moving.kernels.times * np.repeat(1.0 * np.array(list(runs.values())), len(steps))
            moving = replace(moving, kernels=replace(moving.kernels, times=times))
            total = total + _costs_s(moving, machine)
    return total[0], total[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class StepMemory:
    """What a core holds during each step [bytes]: weights, what stays for the next step, activations at the widest."""

    weight_bytes: Array
    cache_bytes: Array
    live_bytes: Array


def step_memory(layers: tuple[Layer, ...], steps: Steps, policy: Policy) -> StepMemory:
    """Return what a core holds during each step; nothing of it depends on a machine."""
    zeros = np.zeros(len(steps))
    weight_bytes, cache_bytes, live_bytes = zeros, zeros, zeros
    for layer in layers:
        table = _table(layer, steps, policy)
        weight_bytes = weight_bytes + layer.times * table.blocks.weight_bytes
        cache_bytes = cache_bytes + layer.times * table.blocks.resident_bytes
        widest = fold.segment_max(table.kernels.live_bytes, table.kernels.block, len(steps))
        live_bytes = np.maximum(live_bytes, widest)
    return StepMemory(weight_bytes=weight_bytes, cache_bytes=cache_bytes, live_bytes=live_bytes)


def _costs_s(table: KernelTable, machine: Machine) -> Array:
    costs = block_costs(table, kernel_costs(table, machine))
    return np.stack([costs.device_s, costs.host_s])


def _table(layer: Layer, steps: Steps, policy: Policy, *, chosen: Callable[[int], bool] | None = None) -> KernelTable:
    """Return the kernels of a layer, or those whose places are chosen, as a table with a block for each step."""
    columns = {"context": steps.context, "decoding": steps.decoding, "decoding_context": steps.decoding_context}
    b = GraphBuilder(type(layer.block).__name__)
    ports = tuple(_sized(port, steps) for port in layer.ports)
    source = b.graph(list(build_block(_with_columns(layer.block, columns), ports, b)))
    lowered = program(source, policy, wanted(ports))
    if chosen is not None:
        (phase,) = lowered.phases
        kernels = tuple(kernel for place, kernel in enumerate(phase.kernels) if chosen(place))
        lowered = replace(lowered, phases=(replace(phase, kernels=kernels),))
    return build_table(source, lowered, len(steps))


def _with_columns(block: B, columns: Mapping[str, Array]) -> B:
    """Return a block, and all it is made of, with the sizes that steps differ in as columns."""
    own = {name: columns[name] for name in type(block).size_fields() if name in columns}
    parts = {
        name: tuple(_with_columns(part, columns) for part in getattr(block, name)) for name in type(block).part_fields()
    }
    return replace(block, **own, **parts)


def _sized(port: Port, steps: Steps) -> Port:
    """Return a port whose sizes of the reference step are those of the steps."""
    known: dict[Numeric, Array] = {
        SEQUENCES * NEW + DECODING: steps.rows,
        SEQUENCES: steps.sequences,
        NEW: steps.new,
        DECODING: steps.decoding,
    }
    leading = tuple(known.get(size, size) for size in port.shape[:2])
    return replace(port, shape=(*leading, *port.shape[2:]))
