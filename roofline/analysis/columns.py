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
    kernel_place = np.full(table.kernel_count, -1, dtype=np.int64)
    kernel_place[kernels] = np.arange(len(kernels))

    def owned(columns: Any) -> Any:
        rows = np.flatnonzero(kernel_place[columns.kernel] >= 0)
        return _pick(columns, rows, kernel=kernel_place[columns.kernel[rows]])

    return replace(
        table,
        contractions=owned(table.contractions),
        vectors=owned(table.vectors),
        accesses=owned(table.accesses),
        kernels=_pick(table.kernels, kernels, block=place[table.kernels.block[kernels]]),
        blocks=_pick(table.blocks, blocks),
    )


def _pick(columns: Any, rows: Index, **changed: Index) -> Any:
    values = {name: getattr(columns, name)[rows] for name in columns.__dataclass_fields__}
    return type(columns)(**values | changed)
