"""Kernels as columns: what the cost formulas evaluate, for one network or many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.cost.fold import segment_sum
from roofline.dtypes import DTYPES
from roofline.engine.columns import Columns, Index, merged_by, rows_of
from roofline.numeric import Array

DTYPE_CODES = {name: code for code, name in enumerate(DTYPES)}
ROLE_CODES = {"weight": 0, "read": 1, "write": 2, "state": 3}
WEIGHT, READ, WRITE, STATE = 0, 1, 2, 3


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelParts(Columns):
    """Rows that belong to kernels."""

    kernel: Index = field(metadata=rows_of("kernels"))


@dataclass(frozen=True, kw_only=True, eq=False)
class ContractionColumns(KernelParts):
    """One row per dense or grouped product, of the positions of `images` of `width` columns, or both are 1.

    `stored` is the format in which the second operand lies in memory, multiplied or not; where it is quantized,
    `scale_run` of its elements in a row of the sum share a scale, else infinitely many.
    """

    batch: Array
    m: Array
    n: Array
    k: Array
    taps: Array
    grouped: Array
    windowed: Array
    dtype: Index
    stored: Index
    scale_run: Array
    channels_first: Array
    images: Array
    width: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowColumns(KernelParts):
    """One row per side of an image that a window slides along: elements, results, and the window's taps and stride."""

    elements: Array
    results: Array
    taps: Array
    stride: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionColumns(KernelParts):
    """One row per fused attention of `batch` sequences: the last `queries` positions look at `keys`, which hold them.

    `head` and `value` are the widths of a head of queries (and keys) and of values. `dtype` is that of the queries;
    `kept_width` counts the elements of a key and its value: fewer than both where values are a part of keys.
    `kept` and `kept_bytes` are the format of keys and values and the bytes of one of their elements. `window` is the
    number of keys that a query sees at most, infinite where there is no limit.
    """

    batch: Array
    queries: Array
    keys: Array
    heads: Array
    kv_heads: Array
    head: Array
    value: Array
    kept_width: Array
    causal: Array
    window: Array
    dtype: Index
    kept: Index
    kept_bytes: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class ExpertColumns(KernelParts):
    """One row per grouped product: `rows` over `experts` matrices (k, n), of which each token takes `top_k`.

    `skew` is how unequally; where `top_k` is 0 rows are spread evenly. `dtype` is that of the rows, `stored` that of
    the matrices, whose elements take `stored_bytes` with their scales, one for `scale_run` in a row of the sum.
    """

    rows: Array
    experts: Array
    n: Array
    k: Array
    top_k: Array
    skew: Array
    dtype: Index
    stored: Index
    stored_bytes: Array
    scale_run: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorColumns(KernelParts):
    """One row per op with vector work, of `results` elements; the rest is the shape that its layout is chosen for."""

    simple_ops: Array
    transcendental_ops: Array
    window_loads: Array
    results: Array
    pools: Array
    gradient_loads: Array
    batch: Array
    inner: Array
    width: Array
    channels: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class AccessColumns(KernelParts):
    """One row per tensor that crosses a kernel's boundary."""

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
    relaid: Array
    height: Array
    batch: Array
    inner: Array
    width: Array
    channels: Array


def _untold(values: Array, groups: Index, count: int) -> Array:
    """Return zeros: what kernels leave alive is told by their order."""
    return np.zeros(count)


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelColumns(Columns):
    """One row per kernel: the block it belongs to, its label in reports, how often it runs, and counts of one run.

    `run_bytes` stay side by side when the kernel moves them; `sums_own` is 1 / elements of a map that it adds up over
    positions and also writes, 0 where there is none. Rows of `quantized_row` elements are quantized; 0 where none are.
    """

    block: Index = field(metadata=rows_of("blocks"))
    label: Index = field(metadata=rows_of("labels"))
    times: Array = field(metadata=merged_by(segment_sum))
    ops: Array
    copies_only: Array
    run_bytes: Array
    sums_own: Array
    quantized_row: Array
    macs: Array
    vector_ops: Array
    traffic_bytes: Array
    live_bytes: Array = field(metadata=merged_by(_untold))


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockColumns(Columns):
    """One row per block: what no kernel knows."""

    params: Array
    weight_bytes: Array
    cache_bytes: Array
    resident_bytes: Array
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
    attentions: AttentionColumns
    experts: ExpertColumns
    vectors: VectorColumns
    accesses: AccessColumns
    kernels: KernelColumns
    blocks: BlockColumns
    labels: tuple[Label, ...]

    @property
    def parts(self) -> dict[str, Columns]:
        """The columns, by what they are rows of."""
        return {f.name: part for f in fields(self) if isinstance(part := getattr(self, f.name), Columns)}

    @property
    def kernel_count(self) -> int:
        """Number of kernel rows."""
        return len(self.kernels)

    @property
    def block_count(self) -> int:
        """Number of blocks."""
        return len(self.blocks)


def concat_tables(tables: Sequence[KernelTable]) -> KernelTable:
    """Return one table with the blocks of all, in order."""
    if len(tables) == 1:
        return tables[0]
    lengths = {f.name: [len(getattr(table, f.name)) for table in tables] for f in fields(KernelTable)}
    offsets = {name: np.cumsum([0, *counts[:-1]]).tolist() for name, counts in lengths.items()}
    labels = tuple(label for table in tables for label in table.labels)
    parts = {
        name: type(part).concat([table.parts[name] for table in tables], offsets)
        for name, part in tables[0].parts.items()
    }
    return KernelTable(labels=labels, **parts)  # type: ignore[arg-type]


def take_blocks(table: KernelTable, blocks: Index) -> KernelTable:
    """Return the table of some of its blocks, in the order given."""
    chosen = _places(blocks, table.block_count)[table.kernels.block] >= 0
    return _take(table, kernels=np.flatnonzero(chosen), blocks=blocks)


def merge_equal_kernels(table: KernelTable) -> KernelTable:
    """Return a table in which kernels of a block that cost the same stand once, with the sum of their runs.

    Kernels are equal where their kind and every value in every part of the table are, but for columns that say how they
    are merged. Networks repeat their blocks: a tenth of the rows says the same.
    """
    kernels, count = table.kernels, table.kernel_count
    kind = np.unique([label.kind for label in table.labels], return_inverse=True)[1][kernels.label]
    told = (column.astype(np.float64).view(np.uint64) for column in (kernels.block, kind, *kernels.values))
    digests = (_digest(part, count) for part in table.parts.values() if isinstance(part, KernelParts))
    _, first, group = np.unique(np.stack([*told, *digests], axis=1), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    found = _take(table, kernels=first[order], blocks=np.arange(table.block_count))
    merged: dict[str, Any] = {
        name: merge(getattr(kernels, name), group.ravel(), len(first))[order]
        for name, merge in kernels.merges().items()
    }
    return replace(found, kernels=replace(found.kernels, **merged))


def _take(table: KernelTable, *, kernels: Index, blocks: Index) -> KernelTable:
    """Return the table of some of its kernels and blocks, in the orders given, with all that belongs to them."""
    chosen = {"kernels": kernels, "blocks": blocks}
    places = {name: _places(rows, len(table.parts[name])) for name, rows in chosen.items()}
    for name, part in table.parts.items():
        if isinstance(part, KernelParts):
            chosen[name] = np.flatnonzero(places["kernels"][part.kernel] >= 0)
    taken: dict[str, Any] = {name: part.take(chosen[name], places) for name, part in table.parts.items()}
    return replace(table, **taken)


def _places(rows: Index, count: int) -> Index:
    """Return the position of each of `count` rows among those that are chosen, -1 where it is not."""
    places = np.full(count, -1, dtype=np.int64)
    places[rows] = np.arange(len(rows))
    return places


def _digest(part: KernelParts, kernels: int) -> NDArray[np.uint64]:
    """Return a number for each kernel that is equal where its rows are, in any order."""
    digests = np.zeros(kernels, dtype=np.uint64)
    if len(part):
        _, kind_of_row = np.unique(np.stack(part.values, axis=1), axis=0, return_inverse=True)
        drawn = np.random.default_rng(0).integers(1, 2**63, size=len(part), dtype=np.uint64)
        np.add.at(digests, part.kernel, drawn[kind_of_row.ravel()])
    return digests
