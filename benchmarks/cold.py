"""The oracle without tables: whole networks as columns, for what a warm table is compared with.

The rows of a template are its uses by all candidates, and a candidate is a segmented sum over its rows. Uses that are
equal are costed once for all candidates (``distinct=True``) or each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np

from roofline.cost import fold
from roofline.engine.columns import Columns
from roofline.engine.evaluate import block_costs, kernel_costs
from roofline.engine.table import KernelTable
from roofline.numeric import Array
from roofline.search.oracle.entries import entries_in
from roofline.search.oracle.latency import Oracle
from roofline.search.oracle.segments import Segment, Walk
from roofline.search.oracle.steps import Index

#: candidates costed together, with equal uses costed once and each time
CHUNKS = {True: 1 << 17, False: 1 << 11}


class ColdOracle:
    """Latency of genomes on the devices of an oracle, their blocks costed anew at every question."""

    def __init__(self, oracle: Oracle, *, distinct: bool = True) -> None:
        self.oracle, self.distinct = oracle, distinct
        self.walks: list[Walk] = []
        self._rows: dict[int, list[Index]] = {}
        for members in oracle.profiles():
            first = oracle.targets[members[0]]
            self.walks.append(oracle.walked(first))

    def latency_s(self, genomes: Any) -> Array:
        """Return seconds per run, (N, D), equal to the oracle's."""
        checked = self.oracle.space.check(genomes)
        out = np.empty((len(checked), len(self.oracle.targets)))
        for walked, members in zip(self.walks, self.oracle.profiles(), strict=True):
            for low in range(0, len(checked), CHUNKS[self.distinct]):
                part = checked[low : low + CHUNKS[self.distinct]]
                for i in members:
                    take = self._distinct if self.distinct else self._latency
                    out[low : low + len(part), i] = take(walked, part, i)
        return out

    def _distinct(self, walked: Walk, genomes: Any, target: int) -> Array:
        """Cost every row that some candidate has once, and add up by level; row -1 is no block and costs nothing."""
        machine = self.oracle.targets[target].machine
        levels = [row[entry] for entry, rows in self._entries(walked, genomes) for row in rows]
        used = np.zeros(walked.row_count + 1, dtype=bool)
        for row in levels:
            used[row] = True
        device_s, host_s = np.zeros(walked.row_count + 1), np.zeros(walked.row_count + 1)
        for group in walked.groups:
            picks = np.flatnonzero(used[group.rows])
            if len(picks):
                table = group.table if len(picks) == len(group.rows) else spread(group.table, picks)
                found = block_costs(table, kernel_costs(table, machine))
                device_s[group.rows[picks]], host_s[group.rows[picks]] = found.device_s, found.host_s
        total_s = np.zeros((2, len(genomes)))
        for row in levels:
            total_s += device_s[row], host_s[row]
        return fold.latency_s(*total_s, program_s=machine.runtime.program_s)

    def _entries(self, walked: Walk, genomes: Any) -> Iterator[tuple[Index, list[Index]]]:
        """Yield, for each segment, the entry of each candidate, and the row of each entry at each level."""
        found = entries_in(tuple((s.genes, s.shape) for s in walked.segments), genomes.shape[1], len(genomes))
        found.load(genomes)
        for number, segment in enumerate(walked.segments):
            if id(segment) not in self._rows:
                self._rows[id(segment)] = [row_of_entry(segment, *level) for level in segment.levels]
            yield found.of(number), self._rows[id(segment)]

    def _latency(self, walked: Walk, genomes: Any, target: int) -> Array:
        machine, count = self.oracle.targets[target].machine, len(genomes)
        candidates, rows = uses(walked, genomes)
        device_s, host_s = np.zeros(count), np.zeros(count)
        for group in walked.groups:
            place = np.full(walked.row_count, -1, dtype=np.int64)
            place[group.rows] = np.arange(len(group.rows))
            mine = np.flatnonzero(place[rows] >= 0)
            if len(mine):
                table = spread(group.table, place[rows[mine]])
                found = block_costs(table, kernel_costs(table, machine))
                device_s += fold.segment_sum(found.device_s, candidates[mine], count)
                host_s += fold.segment_sum(found.host_s, candidates[mine], count)
        return fold.latency_s(device_s, host_s, program_s=machine.runtime.program_s)


def row_of_entry(segment: Segment, entries: Index, rows: Index) -> Index:
    """Return the row of each entry of a segment at a level, -1 where it has no such block."""
    found = np.full(int(np.prod(segment.shape)), -1, dtype=np.int64)
    found[entries] = rows
    return found


def uses(walked: Walk, genomes: Any) -> tuple[Index, Index]:
    """Return (candidate, row of the block) for every block of every candidate."""
    candidates, rows = [], []
    for segment in walked.segments:
        entry = np.zeros(len(genomes), dtype=np.int64)
        for gene, size in zip(segment.genes, segment.shape, strict=True):
            entry = entry * size + genomes[:, gene]
        for entries, at in segment.levels:
            row = row_of_entry(segment, entries, at)
            has = np.flatnonzero(row[entry] >= 0)
            candidates.append(has)
            rows.append(row[entry[has]])
    return np.concatenate(candidates), np.concatenate(rows)


def spread(table: KernelTable, picks: Index) -> KernelTable:
    """Return a template's table with one row per pick, repeated ones too."""
    count, wanted = table.block_count, len(picks)

    def picked(columns: Columns) -> Columns:
        values = {}
        owners = columns.pointers()
        for f in fields(columns):
            column = getattr(columns, f.name).reshape(-1, count)
            if owners.get(f.name) in ("kernels", "blocks"):  # owner = position x count + row
                values[f.name] = (column[:, :1] // count * wanted + np.arange(wanted)).ravel()
            else:
                values[f.name] = column[:, picks].ravel()
        return type(columns)(**values)

    spread_parts: dict[str, Any] = {name: picked(part) for name, part in table.parts.items()}
    return replace(table, **spread_parts)
