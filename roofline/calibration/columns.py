"""Parts of kernel tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from roofline.simulate.table import Index, KernelTable


def take_blocks(table: KernelTable, blocks: Index) -> KernelTable:
    """Return the table of some of its blocks, in the order given."""
    place = np.full(table.block_count, -1, dtype=np.int64)
    place[blocks] = np.arange(len(blocks))
    kernels = np.flatnonzero(place[table.kernels.block] >= 0)
    return replace(
        _keep_kernels(table, kernels),
        kernels=_pick(table.kernels, kernels, block=place[table.kernels.block[kernels]]),
        blocks=_pick(table.blocks, blocks),
    )


def _keep_kernels(table: KernelTable, kept: Index) -> KernelTable:
    """Return the table of some of its kernels, in the order given; its blocks are as they were."""
    place = np.full(table.kernel_count, -1, dtype=np.int64)
    place[kept] = np.arange(len(kept))

    def owned(columns: Any) -> Any:
        rows = np.flatnonzero(place[columns.kernel] >= 0)
        return _pick(columns, rows, kernel=place[columns.kernel[rows]])

    return replace(
        table,
        contractions=owned(table.contractions),
        windows=owned(table.windows),
        vectors=owned(table.vectors),
        accesses=owned(table.accesses),
        kernels=_pick(table.kernels, kept),
    )


def _pick(columns: Any, rows: Index, **changed: Index) -> Any:
    values = {name: getattr(columns, name)[rows] for name in columns.__dataclass_fields__}
    return type(columns)(**values | changed)


def merge_equal_kernels(table: KernelTable) -> KernelTable:
    """Return a table of one block in which kernels that cost the same stand once, with the sum of their runs.

    Networks repeat their blocks: a tenth of the rows says the same. Live memory is no longer told.
    """
    kinds = {kind: i for i, kind in enumerate(sorted({label.kind for label in table.labels}))}
    kind = np.array([kinds[label.kind] for label in table.labels])[table.kernels.label]
    parts = (table.contractions, table.windows, table.vectors, table.accesses)
    whole = (kind, table.kernels.ops, table.kernels.run_bytes, table.kernels.sums_own)
    of_kernels = (column.astype(np.float64).view(np.uint64) for column in whole)
    keys = np.stack([*of_kernels, *(_digest(part, table.kernel_count) for part in parts)], axis=1)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    times = np.bincount(group.ravel(), weights=table.kernels.times).astype(np.float64)
    kept = np.sort(first)
    found = _keep_kernels(table, kept)
    kernels = replace(found.kernels, times=times[np.argsort(first)], live_bytes=np.zeros(len(kept)))
    return replace(found, kernels=kernels)


def _digest(columns: Any, kernels: int) -> Any:
    """Return a number for each kernel that is equal where its rows are, in any order."""
    names = [name for name in columns.__dataclass_fields__ if name != "kernel"]
    rows = np.stack([getattr(columns, name).astype(np.float64) for name in names], axis=1)
    digests = np.zeros(kernels, dtype=np.uint64)
    if len(rows):
        _, kind_of_row = np.unique(rows, axis=0, return_inverse=True)
        drawn = np.random.default_rng(0).integers(1, 2**63, size=len(rows), dtype=np.uint64)
        np.add.at(digests, columns.kernel, drawn[kind_of_row.ravel()])
    return digests
