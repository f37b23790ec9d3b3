"""Kernels as columns: what the cost formulas evaluate, for one network or many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.dtypes import DTYPES
from roofline.graph.op import Contraction
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Tensor
from roofline.numeric import Array, Numeric
from roofline.passes.kernels import Access, Kernel
from roofline.passes.pipeline import Program
from roofline.work import work_of

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
    dtype: Index
    channels_first: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorColumns(Columns):
    """One row per op with vector work; batch, inner and channels are the shape that its layout is chosen for."""

    kernel: Index
    simple_ops: Array
    transcendental_ops: Array
    window_loads: Array
    channels_first: Array
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
    distance_bytes: Array
    result: Array
    height: Array
    batch: Array
    inner: Array
    channels: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelColumns(Columns):
    """One row per kernel: the block it belongs to, its label in reports, how often it runs, and counts of one run."""

    block: Index
    label: Index
    times: Array
    ops: Array
    copies_only: Array
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
        vectors=VectorColumns.concat([t.vectors for t in tables], kernel_offsets),
        accesses=AccessColumns.concat([t.accesses for t in tables], kernel_offsets),
        kernels=KernelColumns(**{f.name: getattr(kernels, f.name) for f in fields(kernels)} | {"label": label}),
        blocks=BlockColumns.concat([t.blocks for t in tables], block_offsets),
        labels=tuple(label for t in tables for label in t.labels),
    )


class _Collector:
    """Gathers rows of columns with `count` block rows each, and joins them at the end."""

    def __init__(self, cls: type[Columns], count: int) -> None:
        self.cls, self.count = cls, count
        self.rows: dict[str, list[Any]] = {f.name: [] for f in fields(cls)}

    def add(self, **values: Any) -> None:
        for name, column in self.rows.items():
            column.append(values[name])

    def columns(self) -> Any:
        integers = ("kernel", "block", "label", "role", "dtype")
        joined = {}
        for name, column in self.rows.items():
            kind = np.int64 if name in integers else np.float64
            table = np.empty((len(column), self.count), dtype=kind)
            for i, value in enumerate(column):
                table[i] = value
            joined[name] = table.ravel()
        return self.cls(**joined)


def build_table(source: OpGraph, program: Program, count: int) -> KernelTable:
    """Return the columns of a lowered template.

    Parameters
    ----------
    source
        The template before any pass: its parameters are the model's.
    program
        What the runtime runs of it, with `count` rows in every column.
    """
    rows = np.arange(count)
    contractions, vectors = _Collector(ContractionColumns, count), _Collector(VectorColumns, count)
    accesses, kernel_rows = _Collector(AccessColumns, count), _Collector(KernelColumns, count)
    labels: list[Label] = []
    for graph, kernel in ((phase.graph, kernel) for phase in program.phases for kernel in phase.kernels):
        owner = len(labels) * count + rows
        macs, vector_ops = _add_ops(graph, kernel, owner, contractions, vectors)
        for access in kernel.accesses:
            _add_access(accesses, access, owner)
        kernel_rows.add(
            block=rows,
            label=len(labels),
            times=kernel.times,
            ops=len(kernel.ops),
            copies_only=float(kernel.kind == "movement"),
            macs=macs,
            vector_ops=vector_ops,
            traffic_bytes=kernel.traffic_bytes,
            live_bytes=kernel.live_bytes,
        )
        labels.append(Label(name=kernel.name, kind=kernel.kind, ops=tuple(_op_text(graph, o) for o in kernel.ops)))
    blocks = _Collector(BlockColumns, count)
    blocks.add(
        params=source.params,
        weight_bytes=_weight_bytes(program),
        saved_bytes=program.saved_bytes,
        state_bytes=program.state_bytes,
    )
    return KernelTable(
        contractions=contractions.columns(),
        vectors=vectors.columns(),
        accesses=accesses.columns(),
        kernels=kernel_rows.columns(),
        blocks=blocks.columns(),
        labels=tuple(labels),
    )


def _weight_bytes(program: Program) -> Numeric:
    """Return the bytes of what the forward pass reads of the model file."""
    graph = program.phases[0].graph
    total: Numeric = 0.0
    for tensor in graph.tensors.values():
        if tensor.stored and not tensor.tied and graph.readers[tensor.id]:
            total = total + tensor.bytes
    return total


def _add_ops(
    graph: OpGraph, kernel: Kernel, owner: Index, contractions: _Collector, vectors: _Collector
) -> tuple[Numeric, Numeric]:
    macs: Numeric = 0.0
    vector_ops: Numeric = 0.0
    for op_id in kernel.ops:
        op = graph.op(op_id)
        inputs, outputs = graph.arguments(op)
        work = work_of(op, inputs, outputs)
        channels_first = float(getattr(op, "layout", "nhwc") == "nchw")
        for contraction in work.contractions:
            macs = macs + contraction.macs
            if contraction.form != "depthwise":
                _add_contraction(contractions, contraction, owner, inputs[0], channels_first)
        vector_ops = vector_ops + work.vector_ops
        largest = inputs[0] if op.reduces and not inputs[0].stored else outputs[0]
        if op.family != "movement":
            vectors.add(
                kernel=owner,
                simple_ops=work.simple_ops,
                transcendental_ops=work.transcendental_ops,
                window_loads=work.window_loads,
                channels_first=channels_first,
                **_tile(largest),
            )
    return macs, vector_ops


def _add_contraction(
    contractions: _Collector, c: Contraction, owner: Index, operand: Tensor, channels_first: float
) -> None:
    contractions.add(
        kernel=owner, batch=c.batch, m=c.m, n=c.n, k=c.k, taps=c.taps, grouped=float(c.form == "grouped"),
        dtype=DTYPE_CODES[operand.dtype.name], channels_first=channels_first,
    )  # fmt: skip


def _add_access(accesses: _Collector, access: Access, owner: Index) -> None:
    accesses.add(
        kernel=owner,
        role=ROLE_CODES[access.role],
        elements=access.elements,
        element_bytes=access.tensor.dtype.bytes,
        dtype=DTYPE_CODES[access.tensor.dtype.name],
        by_vector_unit=float(access.by_vector_unit),
        distance_bytes=access.distance_bytes,
        result=float(access.result),
        height=access.tensor.shape[-3] if len(access.tensor.shape) > 3 else 1,
        **_tile(access.tensor),
    )


def _tile(tensor: Tensor) -> dict[str, Numeric]:
    """Return the dimensions that a tiled layout can put into lanes and sublanes."""
    shape = tensor.shape or (1,)
    return {"batch": shape[0], "inner": shape[-2] if len(shape) > 2 else 1, "channels": shape[-1]}


def _op_text(graph: OpGraph, op_id: str) -> str:
    op = graph.op(op_id)
    return str(getattr(op, "function", op.kind))
