"""From the kernels of a lowered template to the columns of a kernel table."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from roofline.graph.op import Contraction, Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Conv, Reduce
from roofline.graph.resampling import ConvTranspose
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric
from roofline.passes.kernels import Access, Kernel
from roofline.passes.pipeline import Program
from roofline.simulate.table import (
    DTYPE_CODES,
    ROLE_CODES,
    AccessColumns,
    BlockColumns,
    Columns,
    ContractionColumns,
    Index,
    KernelColumns,
    KernelTable,
    Label,
    VectorColumns,
)
from roofline.work import work_of

#: additions that one special function takes as long as, from its operand to its result: some 30 clocks against 4
#: (microbenchmarks of Volta and Turing, Jia et al., recalled)
TRANSCENDENTAL_WAIT = 8.0


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
        macs, vector_ops, waits = _add_ops(graph, kernel, owner, contractions, vectors)
        for access in kernel.accesses:
            _add_access(accesses, access, owner)
        kernel_rows.add(
            block=rows,
            label=len(labels),
            times=kernel.times,
            ops=len(kernel.ops),
            copies_only=float(kernel.kind == "movement"),
            run_bytes=_run_bytes(graph, kernel),
            sums_own=waits * _sums_own(graph, kernel),
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
) -> tuple[Numeric, Numeric, Numeric]:
    """Add the rows of a kernel's ops; return its MACs, its vector operations, and how many additions these last."""
    macs: Numeric = 0.0
    vector_ops: Numeric = 0.0
    waits: Numeric = 0.0
    for op_id in kernel.ops:
        op = graph.op(op_id)
        inputs, outputs = graph.arguments(op)
        work = work_of(op, inputs, outputs)
        channels_first = float(op.layout == "nchw")
        for contraction in work.contractions:
            macs = macs + contraction.macs
            if contraction.form != "depthwise":
                _add_contraction(contractions, contraction, owner, inputs[0], op, channels_first)
        vector_ops = vector_ops + work.vector_ops
        waits = waits + work.simple_ops + TRANSCENDENTAL_WAIT * work.transcendental_ops
        largest = inputs[0] if op.reduces and not inputs[0].stored else outputs[0]
        if op.family != "movement":
            vectors.add(
                kernel=owner,
                simple_ops=work.simple_ops,
                transcendental_ops=work.transcendental_ops,
                window_loads=work.window_loads,
                pools=float(op.family == "pool"),
                gradient_loads=work.gradient_loads,
                **_tile(largest),
            )
    return macs, vector_ops, waits


def _add_contraction(
    contractions: _Collector, c: Contraction, owner: Index, operand: Tensor, op: Op, channels_first: float
) -> None:
    contractions.add(
        kernel=owner, batch=c.batch, m=c.m, n=c.n, k=c.k, taps=c.taps, grouped=float(c.form == "grouped"),
        windowed=float(isinstance(op, Conv | ConvTranspose)), patches=c.patches, dtype=DTYPE_CODES[operand.dtype.name],
        channels_first=channels_first,
    )  # fmt: skip


def _add_access(accesses: _Collector, access: Access, owner: Index) -> None:
    accesses.add(
        kernel=owner,
        role=ROLE_CODES[access.role],
        elements=access.elements,
        element_bytes=access.tensor.dtype.bytes,
        dtype=DTYPE_CODES[access.tensor.dtype.name],
        by_vector_unit=float(access.by_vector_unit),
        by_index=access.by_index,
        fetches=access.fetches,
        distance_bytes=access.distance_bytes,
        result=float(access.result),
        height=access.tensor.shape[-3] if len(access.tensor.shape) > 3 else 1,
        **_tile(access.tensor),
    )


def _tile(tensor: Tensor) -> dict[str, Numeric]:
    """Return the dimensions that a tiled layout can put into lanes and sublanes."""
    shape = tensor.shape or (1,)
    return {"batch": shape[0], "inner": shape[-2] if len(shape) > 2 else 1, "channels": shape[-1]}


def _run_bytes(graph: OpGraph, kernel: Kernel) -> Numeric:
    """Return how many bytes stay side by side when a kernel moves them: the shortest of its runs."""
    shortest: Numeric = np.inf
    for op_id in kernel.ops:
        op = graph.op(op_id)
        if op.family == "movement":
            inputs, outputs = graph.arguments(op)
            shortest = np.minimum(shortest, op.run(inputs, outputs) * outputs[0].dtype.bytes)
    return shortest


def _sums_own(graph: OpGraph, kernel: Kernel) -> Numeric:
    """Return 1 / elements of the map where a kernel adds up over positions what it also writes, else 0."""
    written: Numeric = 0.0
    for access in kernel.accesses:
        if access.role == "write":
            written = np.maximum(written, access.elements)
    sums: Numeric = 0.0
    for op_id in kernel.ops:
        op = graph.op(op_id)
        if isinstance(op, Reduce):
            inputs, outputs = graph.arguments(op)
            own = op.over_positions(inputs[0], outputs[0]) * (written >= inputs[0].elements)
            sums = np.maximum(sums, own / inputs[0].elements)
    return sums


def _op_text(graph: OpGraph, op_id: str) -> str:
    op = graph.op(op_id)
    return str(getattr(op, "function", op.kind))
