"""From the kernels of a lowered template to the columns of a kernel table."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from roofline.engine.columns import Columns, Index
from roofline.engine.table import (
    DTYPE_CODES,
    ROLE_CODES,
    AccessColumns,
    AttentionColumns,
    BlockColumns,
    ContractionColumns,
    ExpertColumns,
    KernelColumns,
    KernelTable,
    Label,
    VectorColumns,
    WindowColumns,
)
from roofline.graph.op import Contraction, Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Attention, Conv, GroupedMatMul, Reduce, SlidingOp
from roofline.graph.quantize import Quantize
from roofline.graph.resampling import ConvTranspose
from roofline.graph.tensor import Role, Tensor
from roofline.numeric import Numeric
from roofline.passes.kernels import Access, Kernel
from roofline.passes.pipeline import Program
from roofline.passes.results import IMAGE_OPS, IMAGE_RANK
from roofline.work import work_of


class _Collector:
    """Gathers rows of columns with `count` block rows each, and joins them at the end."""

    def __init__(self, cls: type[Columns], count: int) -> None:
        self.cls, self.count = cls, count
        self.rows: dict[str, list[Any]] = {f.name: [] for f in fields(cls)}

    def add(self, **values: Any) -> None:
        for name, column in self.rows.items():
            column.append(values[name])

    def columns(self) -> Any:
        joined, dtypes = {}, self.cls.dtypes()
        for name, column in self.rows.items():
            table = np.empty((len(column), self.count), dtype=dtypes[name])
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
    windows, attentions = _Collector(WindowColumns, count), _Collector(AttentionColumns, count)
    experts = _Collector(ExpertColumns, count)
    accesses, kernel_rows = _Collector(AccessColumns, count), _Collector(KernelColumns, count)
    labels: list[Label] = []
    for graph, kernel in ((phase.graph, kernel) for phase in program.phases for kernel in phase.kernels):
        maps = any(isinstance(graph.op(op_id), IMAGE_OPS) for op_id in kernel.ops) or _enters(kernel)
        owner = len(labels) * count + rows
        macs, vector_ops = _add_ops(graph, kernel, owner, maps, contractions, windows, vectors)
        _add_attentions(attentions, graph, kernel, owner)
        _add_experts(experts, graph, kernel, owner)
        for access in kernel.accesses:
            _add_access(accesses, access, owner, maps)
        kernel_rows.add(
            block=rows,
            label=len(labels),
            times=kernel.times,
            ops=0 if _enters(kernel) else len(kernel.ops),  # the copy is no op of the program
            copies_only=float(kernel.kind == "movement"),
            run_bytes=_run_bytes(graph, kernel),
            sums_own=_sums_own(graph, kernel),
            quantized_row=_quantized_row(graph, kernel),
            macs=macs,
            vector_ops=vector_ops,
            traffic_bytes=kernel.traffic_bytes,
            live_bytes=kernel.live_bytes,
        )
        labels.append(Label(name=kernel.name, kind=kernel.kind, ops=tuple(_op_text(graph, o) for o in kernel.ops)))
    blocks = _Collector(BlockColumns, count)
    blocks.add(
        params=source.params,
        weight_bytes=_held_bytes(program, "parameter", "buffer"),
        cache_bytes=_held_bytes(program, "state", "cache"),
        resident_bytes=_held_bytes(program, "state", "cache", staying=True),
        saved_bytes=program.saved_bytes,
        state_bytes=program.state_bytes,
    )
    return KernelTable(
        contractions=contractions.columns(),
        windows=windows.columns(),
        attentions=attentions.columns(),
        experts=experts.columns(),
        vectors=vectors.columns(),
        accesses=accesses.columns(),
        kernels=kernel_rows.columns(),
        blocks=blocks.columns(),
        labels=tuple(labels),
    )


def _held_bytes(program: Program, *roles: Role, staying: bool = False) -> Numeric:
    """Return the bytes of what is there before the forward pass, and is read or written by it, in some roles.

    With `staying` only what is never let go (`Dag.stays`).
    """
    graph = program.phases[0].graph
    total: Numeric = 0.0
    for tensor in graph.tensors.values():
        if tensor.role in roles and not tensor.tied and (graph.readers[tensor.id] or tensor.id in graph.overwritten):
            if staying and not graph.stays(tensor.id):
                continue
            total = total + tensor.bytes
    return total


def _add_ops(
    graph: OpGraph,
    kernel: Kernel,
    owner: Index,
    maps: bool,
    contractions: _Collector,
    windows: _Collector,
    vectors: _Collector,
) -> tuple[Numeric, Numeric]:
    """Add the rows of a kernel's ops; return its MACs and its vector operations."""
    macs: Numeric = 0.0
    vector_ops: Numeric = 0.0
    for op_id in kernel.ops:
        op = graph.op(op_id)
        inputs, outputs = graph.arguments(op)
        work = work_of(op, inputs, outputs)
        channels_first = float(op.layout == "nchw")
        for contraction in work.contractions:
            macs = macs + contraction.macs
            if contraction.form != "depthwise":
                _add_contraction(contractions, contraction, owner, inputs, op, channels_first, outputs[0])
        vector_ops = vector_ops + work.vector_ops
        largest = inputs[0] if op.reduces and not inputs[0].stored else outputs[0]
        if op.family != "movement" or any(t.scales for t in (*inputs, *outputs)):
            vectors.add(
                kernel=owner,
                simple_ops=work.simple_ops,
                transcendental_ops=work.transcendental_ops,
                window_loads=work.window_loads,
                results=outputs[0].elements,
                pools=float(op.family == "pool"),
                gradient_loads=work.gradient_loads,
                **_tile(largest, maps),
            )
        if isinstance(op, SlidingOp):
            sides = zip(inputs[0].shape[1:-1], outputs[0].shape[1:-1], op.kernel, op.stride, strict=True)
            for elements, results, taps, stride in sides:
                windows.add(kernel=owner, elements=elements, results=results, taps=taps, stride=stride)
    return macs, vector_ops


def _add_contraction(
    contractions: _Collector,
    c: Contraction,
    owner: Index,
    operands: tuple[Tensor, ...],
    op: Op,
    channels_first: float,
    result: Tensor,
) -> None:
    image = isinstance(op, Conv) and len(result.shape) == IMAGE_RANK
    contractions.add(
        kernel=owner,
        batch=c.batch,
        m=c.m,
        n=c.n,
        k=c.k,
        taps=c.taps,
        grouped=float(c.form == "grouped"),
        windowed=float(isinstance(op, Conv | ConvTranspose)),
        dtype=DTYPE_CODES[operands[0].dtype.part.name],
        stored=DTYPE_CODES[operands[1].dtype.part.name],
        scale_run=operands[1].scales.run if operands[1].scales else np.inf,
        channels_first=channels_first,
        images=result.shape[0] if image else 1,
        width=result.shape[-2] if image else 1,
    )


def _add_attentions(attentions: _Collector, graph: OpGraph, kernel: Kernel, owner: Index) -> None:
    for op_id in kernel.ops:
        op = graph.op(op_id)
        if isinstance(op, Attention):
            q, k, v = graph.arguments(op)[0][:3]
            attentions.add(
                kernel=owner,
                batch=q.shape[0],
                queries=q.shape[1],
                keys=k.shape[1],
                heads=op.heads,
                kv_heads=op.kv_heads,
                head=q.shape[-1] / op.heads,
                value=v.shape[-1] / op.kv_heads,
                kept_width=_kept_elements(graph, k, v) / (k.elements / k.shape[-1] * op.kv_heads),
                causal=float(op.causal),
                window=np.where(np.equal(op.window, 0), np.inf, op.window),
                dtype=DTYPE_CODES[q.dtype.part.name],
                kept=DTYPE_CODES[k.dtype.name],
                kept_bytes=k.dtype.bytes,
            )


def _add_experts(experts: _Collector, graph: OpGraph, kernel: Kernel, owner: Index) -> None:
    for op_id in kernel.ops:
        op = graph.op(op_id)
        if isinstance(op, GroupedMatMul) and len((matrices := graph.arguments(op)[0][1]).shape) > 2:
            rows = graph.arguments(op)[0][0]
            experts.add(
                kernel=owner,
                rows=rows.shape[0],
                experts=matrices.shape[0],
                n=matrices.shape[2],
                k=matrices.shape[1],
                top_k=op.top_k,
                skew=op.skew,
                dtype=DTYPE_CODES[rows.dtype.part.name],
                stored=DTYPE_CODES[matrices.dtype.name],
                stored_bytes=matrices.element_bytes,
                scale_run=matrices.scales.run if matrices.scales else np.inf,
            )


def _kept_elements(graph: OpGraph, keys: Tensor, values: Tensor) -> Numeric:
    """Return the elements that keys and values have together, each counted once where they are views of one tensor."""
    both, root = keys.elements + values.elements, graph.root(keys.id)
    return np.minimum(both, graph.tensors[root].elements) if root == graph.root(values.id) else both


def _add_access(accesses: _Collector, access: Access, owner: Index, maps: bool) -> None:
    accesses.add(
        kernel=owner,
        role=ROLE_CODES[access.role],
        elements=access.elements,
        element_bytes=access.tensor.element_bytes,
        dtype=DTYPE_CODES[access.tensor.dtype.name],
        by_vector_unit=float(access.by_vector_unit),
        by_index=access.by_index,
        norm_row_bytes=access.norm_row_bytes,
        softmax_row=access.softmax_row,
        slides=float(access.slides),
        distance_bytes=access.distance_bytes,
        result=float(access.result),
        relaid=float(access.relaid),
        height=access.tensor.shape[-3] if len(access.tensor.shape) > 3 else 1,
        **(_rows(access.tensor) if access.relaid and access.role == "read" else _tile(access.tensor, maps)),
    )


def _enters(kernel: Kernel) -> bool:
    """Whether a kernel brings an image that enters the program into the compiler's order."""
    return any(access.relaid for access in kernel.accesses)


def _rows(tensor: Tensor) -> dict[str, Numeric]:
    """Return the same of an image as the program gets it: the rows of its planes lie in the lanes."""
    return {"batch": tensor.shape[-3], "inner": 1, "width": 1, "channels": tensor.shape[-2]}


def _tile(tensor: Tensor, maps: bool) -> dict[str, Numeric]:
    """Return the dimensions that a tiled layout can put into lanes and sublanes; `maps` where a kernel is of images."""
    shape = tensor.shape or (1,)
    before = shape[-2] if len(shape) > 2 else 1
    inner, width = (1, before) if maps and len(shape) == IMAGE_RANK else (before, 1)
    return {"batch": shape[0], "inner": inner, "width": width, "channels": shape[-1]}


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


def _quantized_row(graph: OpGraph, kernel: Kernel) -> Numeric:
    """Return how long the rows are that a kernel quantizes [elements], 0 where it quantizes nothing."""
    longest: Numeric = 0.0
    for op_id in kernel.ops:
        op = graph.op(op_id)
        if isinstance(op, Quantize):
            longest = np.maximum(longest, graph.tensors[op.inputs[0]].shape[-1])
    return longest


def _op_text(graph: OpGraph, op_id: str) -> str:
    op = graph.op(op_id)
    return str(getattr(op, "function", op.kind))
