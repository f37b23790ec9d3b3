"""The look-up tables of a space on its devices: per stage and entry what the folds add up, and their gathers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.engine.evaluate import block_costs, kernel_costs
from roofline.engine.machine import Machine
from roofline.numeric import Array
from roofline.search.oracle.entries import entries_in
from roofline.search.oracle.segments import Segment, Walk
from roofline.search.oracle.steps import STRUCTURE

#: what every block adds, apart from its time
COSTED = ("macs", "params", "vector_ops", "traffic_bytes", "weight_traffic_bytes", "weight_bytes", "resident_bytes")
COUNTS = (*COSTED, "blocks", *STRUCTURE)
#: what the widest block sets
MAXIMA = ("live_bytes",)
#: candidates that are gathered together: their genes and entries stay in the second cache
CHUNK = 1 << 15
#: stages are joined while their common table stays this small
JOINED_ENTRIES = 1 << 14


@dataclass(frozen=True, kw_only=True, eq=False)
class StageTable:
    """One stage, or some joined: the genes it hears, and a flat column per name, NaN where there is no network."""

    stages: tuple[str, ...]
    genes: tuple[int, ...]
    shape: tuple[int, ...]
    columns: dict[str, Array]

    @cached_property
    def idle(self) -> frozenset[str]:
        """Names of the columns that are zero wherever there is a network."""
        return frozenset(name for name, column in self.columns.items() if not (np.abs(column) > 0).any())


def time_columns(device: int) -> tuple[str, str]:
    """Return the names of the time columns of device number `device`."""
    return f"device_s.{device}", f"host_s.{device}"


def build_tables(walk: Walk, machines: Sequence[Machine]) -> tuple[StageTable, ...]:
    """Cost the distinct blocks of a walk on machines of one policy, and add them up per stage and entry."""
    rows = {name: np.zeros(walk.row_count) for name in (*COUNTS, *MAXIMA)}
    for device in range(len(machines)):
        rows |= {name: np.zeros(walk.row_count) for name in time_columns(device)}
    rows["blocks"][:] = 1.0
    for group in walk.groups:
        for name in STRUCTURE:
            rows[name][group.rows] = group.structure[name]
        for device, machine in enumerate(machines):
            costs = block_costs(group.table, kernel_costs(group.table, machine))
            device_name, host_name = time_columns(device)
            rows[device_name][group.rows], rows[host_name][group.rows] = costs.device_s, costs.host_s
            for name in (*COSTED, *MAXIMA):
                rows[name][group.rows] = getattr(costs, name)
    return tuple(_stage(segment, rows) for segment in walk.segments)


def _stage(segment: Segment, rows: dict[str, Array]) -> StageTable:
    columns = {}
    for name, values in rows.items():
        column = np.zeros(prod(segment.shape))
        for entries, at in segment.levels:
            column[entries] = (
                np.maximum(column[entries], values[at]) if name in MAXIMA else column[entries] + values[at]
            )
        column[segment.broken] = np.nan
        columns[name] = column
    return StageTable(stages=(segment.stage,), genes=segment.genes, shape=segment.shape, columns=columns)


def join(tables: Sequence[StageTable], names: Sequence[str]) -> tuple[StageTable, ...]:
    """Join neighbouring stages whose common table stays small, for the columns `names`: fewer gathers a candidate."""
    joined: list[StageTable] = []
    for table in tables:
        table = StageTable(
            stages=table.stages, genes=table.genes, shape=table.shape, columns={n: table.columns[n] for n in names}
        )
        if joined and (both := _union(joined[-1], table)) is not None:
            joined[-1] = both
        else:
            joined.append(table)
    return tuple(joined)


def _union(a: StageTable, b: StageTable) -> StageTable | None:
    sizes = dict(zip(a.genes, a.shape, strict=True)) | dict(zip(b.genes, b.shape, strict=True))
    genes = tuple(sorted(sizes))
    shape = tuple(sizes[g] for g in genes)
    if prod(shape) > max(JOINED_ENTRIES, prod(a.shape), prod(b.shape)):
        return None
    columns = {}
    for name in a.columns:
        left, right = (t.columns[name].reshape([sizes[g] if g in t.genes else 1 for g in genes]) for t in (a, b))
        both = np.maximum(left, right) if name in MAXIMA else left + right
        columns[name] = np.ascontiguousarray(np.broadcast_to(both, shape)).ravel()
    return StageTable(stages=a.stages + b.stages, genes=genes, shape=shape, columns=columns)


def gather(tables: Sequence[StageTable], genomes: NDArray[np.integer[Any]], names: Sequence[str]) -> list[Array]:
    """Return the fold of each named column for genomes (N, L): a sum over stages, or a maximum; see `gathered`."""
    out = [np.empty(len(genomes)) for _ in names]
    for rows, sums in gathered(tables, genomes, names):
        for column, part in zip(out, sums, strict=True):
            column[rows] = part
    return out


def gathered(
    tables: Sequence[StageTable], genomes: NDArray[np.integer[Any]], names: Sequence[str]
) -> Iterator[tuple[slice, list[Array]]]:
    """Yield rows of genomes (N, L), and the fold of each named column for them, a chunk at a time.

    Genomes must have been checked. What is yielded is written over by the next chunk.
    """
    count, length = genomes.shape
    size = min(CHUNK, count)
    found = entries_in(tuple((table.genes, table.shape) for table in tables), length, size)
    parts = np.empty((len(names) + 1, size))
    columns = [[table.columns[name] for name in names] for table in tables]
    folds = [np.maximum if name in MAXIMA else np.add for name in names]
    for low in range(0, count, CHUNK):
        n = min(size, count - low)
        found.load(genomes[low : low + n])
        *sums, part = parts[:, :n]
        for number, own in enumerate(columns):
            places = found.of(number)
            for column, target, fold_in in zip(own, sums, folds, strict=True):
                column.take(places, out=part if number else target, mode="clip")
                if number:
                    fold_in(target, part, out=target)
        yield slice(low, low + n), sums
