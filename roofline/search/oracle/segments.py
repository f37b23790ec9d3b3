"""What each stage of a space depends on, found by walking it once: the axes of its table and the blocks of each entry.

A stage hears its own genes and what flows into it. What flows out of a stage depends on few genes (width, resolution,
precision of the last block); a gene along which it never changes is dropped. So a stage's table has one axis for each
gene that matters to it and no other, and a candidate's row in it is a sum of genes x strides.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from roofline.arch.block import Block, Stage
from roofline.errors import InputError, RooflineError
from roofline.passes.policy import Policy
from roofline.search.oracle.steps import NONE, Group, Index, Steps
from roofline.search.space.spec import Space

#: entries of a stage's table; beyond it a stage hears too many genes to be tabled
MAX_ENTRIES = 20_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """One stage: the genes it hears, sorted, and the rows of blocks in each entry of its table.

    `levels` holds, for block number i of the stage, (entries that have such a block, row of that block).
    """

    stage: str
    genes: tuple[int, ...]
    shape: tuple[int, ...]
    levels: tuple[tuple[Index, Index], ...]
    broken: NDArray[np.bool_]


class Namer(Protocol):
    """What knows the rows of a walk."""

    def told(self, row: int) -> dict[str, Any]:
        """Return what a table says of a row: key, kind, shapes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Walk:
    """What a walk over a space meets, at one batch size under one policy: stages, and kernels of distinct blocks."""

    segments: tuple[Segment, ...]
    groups: tuple[Group, ...]
    row_count: int
    steps: Namer


@dataclass(frozen=True, kw_only=True, eq=False)
class Flow:
    """Number of the ports behind a stage, as an array over the genes it depends on."""

    genes: tuple[int, ...]
    port: Index


def walk(space: Space, policy: Policy, batch: int, image_size: int | None = None) -> Walk:
    """Walk a space and return its segments.

    Raises
    ------
    InputError
        The space chooses its input size and another one is wanted, or a stage hears too many genes.
    """
    steps = Steps(policy, batch)
    flow = _inputs(space, steps, image_size)
    segments = []
    for stage in range(len(space.stages)):
        segment, flow = _walk_stage(space, stage, flow, steps)
        segments.append(segment)
    return Walk(segments=tuple(segments), groups=tuple(steps.lower()), row_count=len(steps.blocks), steps=steps)


def _inputs(space: Space, steps: Steps, image_size: int | None) -> Flow:
    gene = space.size_gene
    if gene is not None and image_size is not None:
        raise InputError(f"space {space.name!r} chooses its own input size: leave image_size out")
    arch = space.network([0] * space.length, space.name)
    options = [None] if gene is None else list(range(space.sizes[gene]))
    sizes = [image_size or space.input_size(option) for option in options]
    ports = [steps.input_id(replace(arch, image_size=1).with_image_size(size)) for size in sizes]
    return Flow(genes=() if gene is None else (gene,), port=np.array(ports if gene is not None else ports[0]))


def _walk_stage(space: Space, stage: int, flow: Flow, steps: Steps) -> tuple[Segment, Flow]:
    own = space.genes_of_stages[stage]
    genes = tuple(sorted({*own, *flow.genes}))
    shape = tuple(space.sizes[g] for g in genes)
    if math.prod(shape) > MAX_ENTRIES:
        raise InputError(
            f"stage {space.stages[stage]['name']!r} depends on {math.prod(shape):,} combinations: too many"
        )
    stages = _Cores(space, stage, own)
    core = np.broadcast_to(spread(stages.core, own, genes), shape).ravel()
    repeats = np.broadcast_to(spread(stages.repeats, own, genes), shape).ravel()
    port = np.array(np.broadcast_to(spread(flow.port, flow.genes, genes), shape)).ravel()
    broken = (core == NONE) | (port == NONE)
    fine = ~broken
    differs = stages.last_differs(core[fine], port[fine], steps)
    levels: list[tuple[Index, Index]] = []
    for index in range(int(repeats.max(initial=0))):
        entries = np.flatnonzero((repeats > index) & ~broken)
        if not len(entries):
            break
        last = (repeats[entries] == index + 1) & differs[core[entries]]
        key = (core[entries] * len(steps.ports) + port[entries]) * 2 + last
        distinct, back = np.unique(key, return_inverse=True)
        rows = stages.rows(distinct, len(steps.ports), index, steps)[back]
        fits = rows != NONE
        fits[fits] = np.array(steps.out, dtype=np.int64)[rows[fits]] != NONE
        broken[entries[~fits]] = True
        entries, rows = entries[fits], rows[fits]
        port[entries] = np.array(steps.out, dtype=np.int64)[rows]
        levels.append((entries, rows))
    port[broken] = NONE
    segment = Segment(
        stage=str(space.stages[stage]["name"]), genes=genes, shape=shape, levels=tuple(levels), broken=broken
    )
    return segment, without_idle_axes(genes, port.reshape(shape))


class _Cores:
    """The forms of a stage, repeats apart: a block of it is first, in the middle or last, whatever their number."""

    def __init__(self, space: Space, stage: int, own: tuple[int, ...]) -> None:
        sizes = tuple(space.sizes[g] for g in own)
        self.core, self.repeats = np.full(sizes, NONE, dtype=np.int64), np.zeros(sizes, dtype=np.int64)
        self._met: dict[int, tuple[Index, Index]] = {}
        self.forms: list[Stage] = []
        numbers: dict[Stage, int] = {}
        for options in itertools.product(*(range(s) for s in sizes)):
            try:
                made = space.stage_value(stage, options)
            except RooflineError:
                continue
            form = made.model_copy(update={"repeats": 1})
            if form not in numbers:
                numbers[form] = len(self.forms)
                self.forms.append(form)
            self.core[options], self.repeats[options] = numbers[form], made.repeats

    def last_differs(self, core: Index, port: Index, steps: Steps) -> NDArray[np.bool_]:
        """Return for each form whether its last block is another one (it pools, say), tried on inputs it meets."""
        differs = np.zeros(len(self.forms), dtype=bool)
        for form, entry in zip(*np.unique(core, return_index=True), strict=True):
            inputs = steps.ports[port[entry]]
            try:
                alone, first = (self._form(int(form), n).make(0, inputs) for n in (1, 2))
            except RooflineError:
                continue
            differs[form] = alone != first
        return differs

    def _form(self, core: int, repeats: int) -> Stage:
        return self.forms[core].model_copy(update={"repeats": repeats})

    def rows(self, keys: Index, port_count: int, index: int, steps: Steps) -> Index:
        """Return the row of block number `index` for each (form, ports, whether it is the last), in that order."""
        last, rest = keys % 2 == 1, keys // 2
        cores, ports = rest // port_count, rest % port_count
        rows = np.full(len(keys), NONE, dtype=np.int64)
        stated = ((cores << 32) + ports) * 2 + last  # holds however many ports are to come
        known = self._known(stated, index, rows)
        wanted: list[tuple[Block, int]] = []
        places: list[int] = []
        forms: dict[tuple[int, bool], Stage] = {}
        for i in np.flatnonzero(~known).tolist():
            core, port, final = int(cores[i]), int(ports[i]), bool(last[i])
            form = forms.get((core, final))
            if form is None:
                form = forms[core, final] = self._form(core, index + 1 if final else index + 2)
            try:
                wanted.append((form.make(index, steps.ports[port]), port))
            except RooflineError:
                continue
            places.append(i)
        rows[places] = steps.add(wanted)
        self._met[index] = stated, rows
        return rows

    def _known(self, stated: Index, index: int, out: Index) -> NDArray[np.bool_]:
        """Write the rows of blocks that equal one that was met a period ago, and return which."""
        period = math.lcm(*(form.period for form in self.forms))
        keys, rows = self._met.get(index - period, (stated[:0], stated[:0]))
        if index - period < 1 or not len(keys):
            return np.zeros(len(stated), dtype=bool)
        place = np.minimum(np.searchsorted(keys, stated), len(keys) - 1)
        known: NDArray[np.bool_] = keys[place] == stated
        out[known] = rows[place[known]]
        return known


def spread(values: NDArray[np.int64], genes: tuple[int, ...], over: tuple[int, ...]) -> NDArray[np.int64]:
    """Return an array over `genes` as one over more genes; `genes` need not be sorted, `over` is."""
    order = np.argsort(genes)
    arranged = np.transpose(values, order) if len(genes) else np.asarray(values)
    return arranged.reshape([values.shape[genes.index(g)] if g in genes else 1 for g in over])


def without_idle_axes(genes: tuple[int, ...], port: Index) -> Flow:
    """Drop the genes along which what flows on never changes, entries that are no network apart."""
    kept = list(genes)
    for gene in genes:
        axis = kept.index(gene)
        high = port.max(axis=axis, keepdims=True)
        if bool(np.all((port == high) | (port == NONE))):
            port = high.squeeze(axis=axis)
            kept.remove(gene)
    return Flow(genes=tuple(kept), port=port)
