"""The oracle without tables: whole networks as columns, for what a warm table is compared with.

The rows of a template are its uses by all candidates, and a candidate is a segmented sum over its rows. Uses that are
equal are costed once for all candidates (``distinct=True``) or each time.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from roofline.cost import fold
from roofline.engine.columns import Columns
from roofline.engine.evaluate import block_costs, kernel_costs
from roofline.engine.table import KernelTable
from roofline.numeric import Array
from roofline.search.oracle.latency import Oracle
from roofline.search.oracle.segments import Walk, walk
from roofline.search.oracle.steps import Index

#: candidates costed together, with equal uses costed once and each time
CHUNKS = {True: 1 << 17, False: 1 << 11}


class ColdOracle:
    """Latency of genomes on the devices of an oracle, their blocks costed anew at every question."""

    def __init__(self, oracle: Oracle, *, distinct: bool = True) -> None:
        self.oracle, self.distinct = oracle, distinct
        self.walks: list[Walk] = []
        for members in oracle.profiles():
            first = oracle.targets[members[0]]
            self.walks.append(walk(oracle.space, first.policy, first.core_batch, oracle.image_size))

    def latency_s(self, genomes: Any) -> Array:
        """Return seconds per run, (N, D), equal to the oracle's."""
        checked = self.oracle.space.check(genomes)
        out = np.empty((len(checked), len(self.oracle.targets)))
        for walked, members in zip(self.walks, self.oracle.profiles(), strict=True):
            for low in range(0, len(checked), CHUNKS[self.distinct]):
                part = checked[low : low + CHUNKS[self.distinct]]
                candidates, rows = uses(walked, part)
                for i in members:
                    out[low : low + len(part), i] = self._latency(walked, candidates, rows, len(part), i)
        return out

    def _latency(self, walked: Walk, candidates: Index, rows: Index, count: int, target: int) -> Array:
        machine = self.oracle.targets[target].machine
        device_s, host_s = np.zeros(count), np.zeros(count)
        for group in walked.groups:
            place = np.full(walked.row_count, -1, dtype=np.int64)
            place[group.rows] = np.arange(len(group.rows))
            mine = np.flatnonzero(place[rows] >= 0)
            if len(mine):
                picks, back = place[rows[mine]], np.arange(len(mine))
                if self.distinct:
                    picks, back = np.unique(picks, return_inverse=True)
                table = spread(group.table, picks)
                found = block_costs(table, kernel_costs(table, machine))
                device_s += fold.segment_sum(found.device_s[back], candidates[mine], count)
                host_s += fold.segment_sum(found.host_s[back], candidates[mine], count)
        return fold.latency_s(device_s, host_s, program_s=machine.runtime.program_s)


def uses(walked: Walk, genomes: Any) -> tuple[Index, Index]:
    """Return (candidate, row of the block) for every block of every candidate."""
    candidates, rows = [], []
    for segment in walked.segments:
        entry = np.zeros(len(genomes), dtype=np.int64)
        for gene, size in zip(segment.genes, segment.shape, strict=True):
            entry = entry * size + genomes[:, gene]
        for entries, at in segment.levels:
            row = np.full(int(np.prod(segment.shape)), -1, dtype=np.int64)
            row[entries] = at
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
