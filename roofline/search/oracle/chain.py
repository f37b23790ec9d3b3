"""A walk over a space of somebody's own blocks: the rows of its kernels, and which of them each stage adds.

A block is costed when it is known what follows it: kernels that run across the end of a module belong to the block
behind it (`roofline.search.space.own.cuts`). So what flows from block to block is the block before, as far as it waits,
and how the tensors arrive that it reads. A stage adds the rows of the blocks that its own ones follow; the last row is
the walk's own segment.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.engine.build import build_table
from roofline.errors import InputError
from roofline.graph.op import show
from roofline.passes.kernels import Kernel
from roofline.passes.pipeline import program
from roofline.passes.policy import Policy
from roofline.search.oracle.segments import MAX_ENTRIES, Flow, Segment, Walk, spread, without_idle_axes
from roofline.search.oracle.steps import MAX_ROWS, NONE, Group, Index, structure_of
from roofline.search.space.own import blocks
from roofline.search.space.own.cuts import FusedError, Moved, arrival, cut, moved
from roofline.search.space.own.fragment import Fragment, Held, stacked
from roofline.search.space.own.modules import ModuleSpace, Part, after

#: the segment of what is left when nothing follows
END = "end"
#: blocks that may wait for what follows because each runs in kernels of the next
MAX_WAITING = 4
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Waiting:
    """What has been walked and not been costed yet: a block behind what moved over its cut, and how its inputs arrive.

    `count` blocks wait together.
    """

    chain: Fragment | None
    held: tuple[Held | None, ...]
    flow: blocks.Flow
    part: Part | None = None
    entered: blocks.Flow | None = None
    count: int = 1


class Chain:
    """Distinct rows and waiting blocks, numbered as they are met."""

    def __init__(self, space: ModuleSpace, policy: Policy, batch: int) -> None:
        self.space, self.policy, self.batch = space, policy, batch
        self.groups: list[Group] = []
        self.waiting: list[Waiting] = []
        self.told_of: list[Row] = []
        self._numbers: dict[Any, int] = {}
        self._rows: dict[Any, int] = {}
        self._left: list[tuple[Held, ...] | None] = []
        self._moved: dict[Any, Moved | str] = {}
        self._cuts: dict[Any, tuple[Fragment, Fragment]] = {}
        self._joined: dict[Any, Fragment] = {}
        self._fresh: list[tuple[int, Fragment, tuple[Held | None, ...]]] = []
        self.start = self._wait(Waiting(chain=None, held=(None,), flow=space.flow(batch)))

    def told(self, row: int) -> Row:
        """Return what a table says of a row: key, kind, shapes."""
        return self.told_of[row]

    @property
    def row_count(self) -> int:
        """Number of distinct rows so far."""
        return len(self._left)

    def follow(self, pairs: Sequence[tuple[int, Part]]) -> tuple[list[int], list[int]]:
        """Return the row of each waiting block, given what follows it, and the number of what waits now."""
        found = [self._behind(self.waiting[number], part) for number, part in pairs]
        self._lower()
        rows, numbers = [], []
        for row, made in found:
            held = made.held if row == NONE else self._left[row]
            assert held is not None
            rows.append(row)
            numbers.append(self._wait(replace(made, held=held)))
        return rows, numbers

    def end(self, numbers: Sequence[int]) -> list[int]:
        """Return the rows of blocks that nothing follows; `NONE` where nothing runs."""
        rows = []
        for number in numbers:
            one = self.waiting[number]
            runs = one.chain is not None and one.chain.computes
            rows.append(self._row(one, frozenset(), None)[0] if runs else NONE)
        self._lower()
        return rows

    def _wait(self, one: Waiting) -> int:
        key = None if one.chain is None else one.chain.key, one.held, one.flow, one.count
        if key not in self._numbers:
            self._numbers[key] = len(self.waiting)
            self.waiting.append(one)
        return self._numbers[key]

    def _behind(self, one: Waiting, part: Part) -> tuple[int, Waiting]:
        block = self.space.lowered(part, one.flow)
        own, alone = block.fragment, Waiting(chain=None, held=one.held, flow=block.left, part=part, entered=one.flow)
        if one.chain is None:
            return NONE, replace(alone, chain=own)
        both = replace(alone, entered=one.entered, count=one.count)
        if not one.chain.computes:
            return NONE, replace(both, chain=self._after(one.chain, own))
        if not own.computes:
            return NONE, replace(both, chain=self._after(one.chain, own), part=one.part)
        behind = self._crossing(one, own)
        if isinstance(behind, str):
            if one.count == MAX_WAITING:
                raise InputError(
                    f"{self.space.where(part)} fuses across the cut with {one.part}, as {one.count - 1} blocks before"
                    " it do with their followers, in this runtime: make one block of them"
                )
            return NONE, replace(both, chain=self._after(one.chain, own), count=one.count + 1)
        row, tail = self._row(one, behind, part)
        return row, replace(alone, chain=self._after(tail, own))

    def _after(self, chain: Fragment, block: Fragment) -> Fragment:
        key = chain.key, block.key
        if key not in self._joined:
            self._joined[key] = after(chain, block)
        return self._joined[key]

    def _crossing(self, one: Waiting, follower: Fragment) -> Moved | str:
        """Return what of a waiting block runs behind its cut; a text where all of it does."""
        assert one.chain is not None
        key = one.chain.form, _formats(one.held), follower.form
        if key not in self._moved:
            try:
                self._moved[key] = moved(one.chain, follower, one.held, self.policy)
            except FusedError as error:
                self._moved[key] = str(error)
        return self._moved[key]

    def _row(self, one: Waiting, behind: Moved, part: Part | None) -> tuple[int, Fragment]:
        """Return the row of a waiting block without what runs behind its cut, and this."""
        assert one.chain is not None and one.part is not None and one.entered is not None
        piece, tail = self._cut(one.chain, behind)
        key = piece.key, one.held
        if key not in self._rows:
            self._rows[key] = len(self._left)
            self._left.append(None)
            self._fresh.append((self._rows[key], piece, one.held))
            self.told_of.append(_told(one.part, one.entered, one.flow, "" if part is None else part.block))
        return self._rows[key], tail

    def _cut(self, chain: Fragment, behind: Moved) -> tuple[Fragment, Fragment]:
        key = chain.key, behind
        if key not in self._cuts:
            self._cuts[key] = cut(chain, behind)
        return self._cuts[key]

    def _lower(self) -> None:
        """Lower the rows that are new: those of one form together."""
        forms: dict[Any, list[tuple[int, Fragment, tuple[Held | None, ...]]]] = {}
        for fresh in self._fresh:
            forms.setdefault((fresh[1].form, _formats(fresh[2])), []).append(fresh)
        self._fresh = []
        for members in forms.values():
            for low in range(0, len(members), MAX_ROWS):
                self._group(members[low : low + MAX_ROWS])

    def _group(self, members: Sequence[tuple[int, Fragment, tuple[Held | None, ...]]]) -> None:
        rows, pieces, held = zip(*members, strict=True)
        source, count = stacked(pieces, held, "part"), len(rows)
        computed = frozenset(t for t in source.inputs if source.tensors[t].arrival is not None)
        lowered = program(source, self.policy, computed)
        zeros = np.zeros(count)
        structure = {name: zeros + value for name, value in structure_of(source, self.batch).items()}
        table = build_table(source, lowered, count)
        self.groups.append(Group(rows=np.array(rows, dtype=np.int64), table=table, structure=structure))
        graph, kernels = lowered.phases[0].graph, lowered.phases[0].kernels
        columns = []
        for t in graph.outputs:
            distances = np.broadcast_to(_distance(graph.tensors[graph.root(t)], graph.root(t), kernels), (count,))
            columns.append([arrival(graph, t, self.policy, float(d)) for d in distances])
        for i, row in enumerate(rows):
            self._left[row] = tuple(column[i] for column in columns)


def _distance(tensor: Any, root: str, kernels: Sequence[Kernel]) -> Any:
    """Return the traffic of the kernels that have run since a tensor was written, at the end of a piece."""
    written = tensor.role != "input"
    total: Any = 0.0
    if not written:
        total = tensor.bytes if tensor.arrival is None else tensor.arrival.distance_bytes
    for kernel in kernels:
        if written and any(a.role == "write" and a.tensor.id == root for a in kernel.accesses):
            total = 0.0
        else:
            total = total + kernel.traffic_bytes
    return total


def _formats(held: Sequence[Held | None]) -> tuple[Any, ...]:
    return tuple(None if h is None else (h.dtype.name, h.arrival.layout) for h in held)


def _told(part: Part, entered: blocks.Flow, left: blocks.Flow, follower: str) -> Row:
    entering, leaving = show(entered.shape[1:]), show(left.shape[1:])
    fields = "".join(f"-{name}:{value}" for name, value in part.arguments)
    key = f"{part.block}-input:{entering}-output:{leaving}{fields}" + (f"-before:{follower}" if follower else "")
    return {"key": key, "kind": part.block, "input": entering, "output": leaving}


def walk_modules(space: ModuleSpace, policy: Policy, batch: int) -> Walk:
    """Walk a space of somebody's own blocks and return its segments.

    Raises
    ------
    InputError
        A block cannot be made or lowered, does not fit what flows into it, or fuses across its cut; or a stage hears
        too many genes.
    """
    chain = Chain(space, policy, batch)
    flow = Flow(genes=(), port=np.array(chain.start))
    segments = []
    for stage in range(len(space.stages)):
        segment, flow = _walk_stage(space, stage, flow, chain)
        segments.append(segment)
    segments.append(_end(space, flow, chain))
    return Walk(segments=tuple(segments), groups=tuple(chain.groups), row_count=chain.row_count, steps=chain)


def _walk_stage(space: ModuleSpace, stage: int, flow: Flow, chain: Chain) -> tuple[Segment, Flow]:
    own = space.genes_of_stages[stage]
    genes = tuple(sorted({*own, *flow.genes}))
    shape = tuple(space.sizes[g] for g in genes)
    if math.prod(shape) > MAX_ENTRIES:
        raise InputError(f"stage {space.stages[stage].name!r} depends on {math.prod(shape):,} combinations: too many")
    forms, form, repeats = _forms(space, stage, own)
    form, repeats = (np.broadcast_to(spread(x, own, genes), shape).ravel() for x in (form, repeats))
    port = np.array(np.broadcast_to(spread(flow.port, flow.genes, genes), shape)).ravel()
    levels: list[tuple[Index, Index]] = []
    name = space.stages[stage].name
    for index in range(int(repeats.max(initial=0))):
        entries = np.flatnonzero(repeats > index)
        distinct, back = np.unique(port[entries] * len(forms) + form[entries], return_inverse=True)
        pairs = [(int(key) // len(forms), _part(name, forms[int(key) % len(forms)], index)) for key in distinct]
        rows, numbers = (np.array(x, dtype=np.int64)[back.ravel()] for x in chain.follow(pairs))
        port[entries] = numbers
        there = rows != NONE
        levels.append((entries[there], rows[there]))
    segment = Segment(
        stage=name, genes=genes, shape=shape, levels=tuple(levels), broken=np.zeros(len(port), dtype=bool)
    )
    return segment, without_idle_axes(genes, port.reshape(shape))


def _part(stage: str, form: Mapping[str, Any], index: int) -> Part:
    arguments = tuple((name, value) for name, value in form.items() if name != "block")
    return Part(stage=stage, block=str(form["block"]), index=index, arguments=arguments)


def _forms(space: ModuleSpace, stage: int, own: tuple[int, ...]) -> tuple[list[Mapping[str, Any]], Index, Index]:
    """Return what blocks of a stage can be, and which of these, how often, for each combination of its genes."""
    sizes = tuple(space.sizes[g] for g in own)
    form, repeats = np.zeros(sizes, dtype=np.int64), np.zeros(sizes, dtype=np.int64)
    numbers: dict[tuple[Any, ...], int] = {}
    for options in itertools.product(*(range(s) for s in sizes)):
        fields = space.stage_fields(stage, options)
        repeats[options] = fields.pop("repeats")
        form[options] = numbers.setdefault(tuple(fields.items()), len(numbers))
    return [dict(fields) for fields in numbers], form, repeats


def _end(space: ModuleSpace, flow: Flow, chain: Chain) -> Segment:
    shape = tuple(space.sizes[g] for g in flow.genes)
    distinct, back = np.unique(flow.port.ravel(), return_inverse=True)
    rows = np.array(chain.end([int(number) for number in distinct]), dtype=np.int64)[back.ravel()]
    broken: NDArray[np.bool_] = rows == NONE
    entries = np.flatnonzero(~broken)
    return Segment(stage=END, genes=flow.genes, shape=shape, levels=((entries, rows[entries]),), broken=broken)
