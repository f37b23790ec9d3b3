"""Kernels as columns: what the cost formulas evaluate, for one network or many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.dtypes import DTYPES
from roofline.numeric import Array

Index = NDArray[np.int64]
DTYPE_CODES = {name: code for code, name in enumerate(DTYPES)}
ROLE_CODES = {"weight": 0, "read": 1, "write": 2}
WEIGHT, READ, WRITE = 0, 1, 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """Equally long arrays; the field ``kernel`` (or ``block``) says which kernel (block) a row belongs to."""

    @classmethod
    def concat(cls, parts: Sequence[Any], offsets: Sequence[int]) -> Any:
        """Return the parts one after another, with the owner's index moved by each part's offset."""
        joined: dict[str, Any] = {}
        for f in fields(cls):
            columns = [getattr(part, f.name) for part in parts]
            if f.name in ("kernel", "block"):
                columns = [column + offset for column, offset in zip(columns, offsets, strict=True)]
            joined[f.name] = np.concatenate(columns)
        return cls(**joined)


@dataclass(frozen=True, kw_only=True, eq=False)
class ContractionColumns(Columns):
    """One row per dense or grouped product."""

    kernel: Index
    batch: Array
    m: Array
    n: Array
    k: Array
    taps: Array
    grouped: Array
    windowed: Array
    dtype: Index
    channels_first: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowColumns(Columns):
    """One row per side of an image that a window slides along: elements, results, and the window's taps and stride."""

    kernel: Index
    elements: Array
    results: Array
    taps: Array
    stride: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorColumns(Columns):
    """One row per op with vector work; batch, inner and channels are the shape that its layout is chosen for."""

    kernel: Index
    simple_ops: Array
    transcendental_ops: Array
    window_loads: Array
    pools: Array
    gradient_loads: Array
    batch: Array
    inner: Array
    channels: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class AccessColumns(Columns):
    """One row per tensor that crosses a kernel's boundary."""

    kernel: Index
    role: Index
    elements: Array
    element_bytes: Array
    dtype: Index
    by_vector_unit: Array
    by_index: Array
    norm_row_bytes: Array
    softmax_row: Array
    slides: Array
    distance_bytes: Array
    result: Array
    height: Array
    batch: Array
    inner: Array
    channels: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelColumns(Columns):
    """One row per kernel: the block it belongs to, its label in reports, how often it runs, and counts of one run.

    `run_bytes` stay side by side when the kernel moves them; `sums_own` is 1 / elements of a map that it adds up over
    positions and also writes, 0 where there is none.
    """

    block: Index
    label: Index
    times: Array
    ops: Array
    copies_only: Array
    run_bytes: Array
    sums_own: Array
    macs: Array
    vector_ops: Array
    traffic_bytes: Array
    live_bytes: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockColumns(Columns):
    """One row per block: what no kernel knows."""

    params: Array
    weight_bytes: Array
    saved_bytes: Array
    state_bytes: Array


@dataclass(frozen=True, kw_only=True)
class Label:
    """What a kernel is called, inside its block."""

    name: str
    kind: str
    ops: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelTable:
    """All columns of some blocks. Kernels of a block are in execution order."""

    contractions: ContractionColumns
    windows: WindowColumns
    vectors: VectorColumns
    accesses: AccessColumns
    kernels: KernelColumns
    blocks: BlockColumns
    labels: tuple[Label, ...]

    @property
    def kernel_count(self) -> int:
        """Number of kernel rows."""
        return len(self.kernels.block)

    @property
    def block_count(self) -> int:
        """Number of blocks."""
        return len(self.blocks.params)


def concat_tables(tables: Sequence[KernelTable]) -> KernelTable:
    """Return one table with the blocks of all, in order."""
    if len(tables) == 1:
        return tables[0]
    kernel_offsets = np.cumsum([0] + [t.kernel_count for t in tables[:-1]]).tolist()
    block_offsets = np.cumsum([0] + [t.block_count for t in tables[:-1]]).tolist()
    label_offsets = np.cumsum([0] + [len(t.labels) for t in tables[:-1]]).tolist()
    kernels: KernelColumns = KernelColumns.concat([t.kernels for t in tables], block_offsets)
    label = np.concatenate([t.kernels.label + offset for t, offset in zip(tables, label_offsets, strict=True)])
    return KernelTable(
        contractions=ContractionColumns.concat([t.contractions for t in tables], kernel_offsets),
        windows=WindowColumns.concat([t.windows for t in tables], kernel_offsets),
        vectors=VectorColumns.concat([t.vectors for t in tables], kernel_offsets),
        accesses=AccessColumns.concat([t.accesses for t in tables], kernel_offsets),
        kernels=KernelColumns(**{f.name: getattr(kernels, f.name) for f in fields(kernels)} | {"label": label}),
        blocks=BlockColumns.concat([t.blocks for t in tables], block_offsets),
        labels=tuple(label for t in tables for label in t.labels),
    )
