"""Kernels: groups of ops that run as one launch, with the tensors that cross their boundary.

Bytes live on tensors. A kernel reads each distinct outside tensor once and writes each of its tensors that somebody
outside reads once, however many of its ops share it; views are read through to the bytes they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from roofline.graph.gradients import ConvInputGrad, ConvWeightGrad
from roofline.graph.indexing import Update
from roofline.graph.movement import Move
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import BatchNorm, Conv, Norm, SlidingOp, Softmax
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric
from roofline.passes.entry import ENTRY
from roofline.passes.results import channels_second

AccessRole: TypeAlias = Literal["weight", "state", "read", "write"]
KIND_OF_FAMILY = {
    "contraction": "matmul",
    "depthwise": "depthwise",
    "attention": "attention",
    "reduction": "reduction",
    "pool": "pool",
    "movement": "movement",
    "pointwise": "pointwise",
}
CONVOLUTIONS = (Conv, ConvInputGrad, ConvWeightGrad)
#: families whose arithmetic runs on the vector unit, also inside a contraction's kernel
VECTOR_FAMILIES = frozenset({"pointwise", "reduction", "pool", "depthwise"})
#: families that slide a window over each channel by itself
WINDOWS = frozenset({"pool", "depthwise"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Access:
    """A tensor that crosses a kernel's boundary; weights, and state as the last run left it, come from the main memory.

    Attributes
    ----------
    elements
        How much of it the kernel touches.
    distance_bytes
        Reads: traffic of the kernels between the one that wrote the tensor and this one; from the block's start on
        what is known of its `arrival`, else its own size; infinite where the rest of a training step has run since.
    by_vector_unit
        The vector unit reads or writes it.
    by_index
        1 where the kernel meets its elements one by one, beside smaller operands or channel by channel; else 0.
    norm_row_bytes, softmax_row
        Longest row that a norm [bytes] or a softmax [elements] of the kernel must know whole before its first result of
        these elements; a group norm's is a group of whole maps: infinite. 0 where there is none.
    slides
        A window slides over the tensor, over each channel by itself.
    result
        Writes: an image map that the program returns in channels-first order.
    relaid
        The kernel brings images that enter the program into the order of its compiler.
    """

    tensor: Tensor
    role: AccessRole
    elements: Numeric
    distance_bytes: Numeric = 0.0
    by_vector_unit: bool = False
    by_index: Numeric = 0
    norm_row_bytes: Numeric = 0
    softmax_row: Numeric = 0
    slides: bool = False
    result: bool = False
    relaid: bool = False

    @property
    def bytes(self) -> Numeric:
        """Bytes touched, unpadded."""
        return self.elements * self.tensor.element_bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernel:
    """Ops that run as one launch."""

    name: str
    kind: str
    ops: tuple[str, ...]
    accesses: tuple[Access, ...]
    live_bytes: Numeric
    times: Numeric = 1

    @property
    def traffic_bytes(self) -> Numeric:
        """Bytes across the boundary in one run, unpadded."""
        total: Numeric = 0.0
        for access in self.accesses:
            total = total + access.bytes
        return total


def make_kernels(
    graph: OpGraph, groups: Sequence[tuple[str, ...]], *, saved: frozenset[str] = frozenset()
) -> tuple[Kernel, ...]:
    """Return the kernels of a grouped graph, with traffic, reuse distances and live memory.

    Tensors in `saved` are written even where nobody outside their kernel reads them; how long they live is a matter of
    the whole network (`saved_bytes` of the block), so here they end with their last reader.
    """
    returned = saved | graph.results
    results = saved & channels_second(graph)
    raw = [_accesses(graph, group, returned, results) for group in groups]
    traffic = [_total(accesses) for accesses in raw]
    before: list[Numeric] = [0.0]
    for amount in traffic:
        before.append(before[-1] + amount)
    written = {a.tensor.id: i for i, accesses in enumerate(raw) for a in accesses if a.role == "write"}
    live = _live_bytes(graph, raw, saved)
    kernels = []
    for i, (group, accesses) in enumerate(zip(groups, raw, strict=True)):
        distant = tuple(_with_distance(a, before, written, i) for a in accesses)
        kind, name = _describe(graph, group)
        times = graph.op(group[0]).times
        kernels.append(Kernel(name=name, kind=kind, ops=group, accesses=distant, live_bytes=live[i], times=times))
    return tuple(kernels)


def _accesses(
    graph: OpGraph, group: tuple[str, ...], returned: frozenset[str], results: frozenset[str]
) -> list[Access]:
    inside = set(group)
    by_index = _by_index(graph, group)
    touched: dict[str, Numeric] = {}
    vector_reads: set[str] = set()
    slid_over: set[str] = set()
    rows = _rows(graph, group)
    row_of: dict[str, tuple[Numeric, Numeric]] = {}
    for op_id in group:
        op = graph.op(op_id)
        arguments = graph.arguments(op)
        narrowed = op.touched(*arguments)
        for tensor in {t.id: t for t in arguments[0]}.values():
            root = graph.root(tensor.id)
            if graph.producers.get(root) in inside or _shown_by(graph, tensor.id, op.inputs):
                continue
            if op.family in VECTOR_FAMILIES:
                vector_reads.add(root)
            if op.family in WINDOWS and isinstance(op, SlidingOp) and tensor.id == op.inputs[0]:
                slid_over.add(root)
            row_of.setdefault(root, rows[op_id])  # an earlier op waits for all that a later one does
            amount = narrowed.get(tensor.id, tensor.elements)
            shown = graph.tensors[root]  # its bytes, also where they are seen as other numbers
            amount = amount * (tensor.dtype.bytes / shown.dtype.bytes)
            touched[root] = np.minimum(touched.get(root, 0.0) + amount, shown.elements)
    relaid = any(isinstance(op := graph.op(i), Move) and op.function == ENTRY for i in group)
    accesses = [
        Access(tensor=graph.tensors[t], role="weight", elements=elements)
        if graph.tensors[t].stored
        else Access(
            tensor=graph.tensors[t],
            role="state" if _of_the_last_run(graph, t) else "read",
            elements=elements,
            by_vector_unit=t in vector_reads,
            by_index=by_index,
            norm_row_bytes=row_of[t][0],
            softmax_row=row_of[t][1],
            slides=t in slid_over,
            relaid=relaid,
        )
        for t, elements in touched.items()
    ]
    computes = any(graph.op(op_id).family != "movement" for op_id in group)
    for op_id in group:
        op = graph.op(op_id)
        narrowed = op.touched(*graph.arguments(op))
        for t in op.outputs:
            if t in returned or any(reader not in inside for reader in graph.effective_readers(t)):
                access = Access(
                    tensor=graph.tensors[t],
                    role="write",
                    elements=narrowed.get(t, graph.tensors[t].elements),
                    by_vector_unit=computes,
                    by_index=by_index,
                    result=t in results,
                    relaid=relaid,
                )
                accesses.append(access)
    return accesses


def _shown_by(graph: OpGraph, tensor: str, others: tuple[str, ...]) -> bool:
    """Whether a tensor is a view of another one that the same op reads: values that are a part of the keys."""
    while tensor in graph.producers and graph.op(graph.producers[tensor]).family == "free":
        tensor = graph.op(graph.producers[tensor]).inputs[0]
        if tensor in others:
            return True
    return False


def _of_the_last_run(graph: OpGraph, tensor: str) -> bool:
    """Whether the bytes of a tensor are state of which this run has written a part at most."""
    if not graph.tensors[graph.memory(tensor)].kept:
        return False
    return tensor not in graph.producers or isinstance(graph.op(graph.producers[tensor]), Update)


def _rows(graph: OpGraph, group: tuple[str, ...]) -> dict[str, tuple[Numeric, Numeric]]:
    """Return the longest rows, of norms [bytes] and of softmaxes [elements], that each op or a later one waits for."""
    found: dict[str, tuple[Numeric, Numeric]] = {}
    norm_row_bytes: Numeric = 0
    softmax_row: Numeric = 0
    for op_id in reversed(group):
        op = graph.op(op_id)
        if isinstance(op, Norm):
            x = graph.tensors[op.inputs[0]]
            row_bytes = np.inf if op.form == "group" else x.shape[-1] * x.dtype.bytes
            norm_row_bytes = np.maximum(norm_row_bytes, row_bytes)
        elif isinstance(op, Softmax):
            softmax_row = np.maximum(softmax_row, graph.tensors[op.inputs[0]].shape[-1])
        found[op_id] = norm_row_bytes, softmax_row
    return found


def _by_index(graph: OpGraph, group: tuple[str, ...]) -> Numeric:
    """Return 1 where an op of the group meets elements one by one, else 0.

    So do point-wise ops with an operand that is smaller than the result, single numbers apart, and reductions that keep
    the channels. Channels first, a batch norm works plane by plane, and such reductions row by row: neither counts.
    """
    found: Numeric = 0
    for op_id in group:
        op = graph.op(op_id)
        inputs, outputs = graph.arguments(op)
        if op.family == "pointwise" and not (isinstance(op, BatchNorm) and op.layout == "nchw"):
            for tensor in inputs:
                found = np.maximum(found, (tensor.elements > 1) * (tensor.elements < outputs[0].elements))
        elif inputs:
            found = np.maximum(found, op.over_positions(inputs[0], outputs[0]) * (op.layout == "nhwc"))
    return found


def _total(accesses: list[Access]) -> Numeric:
    total: Numeric = 0.0
    for access in accesses:
        total = total + access.bytes
    return total


def _with_distance(access: Access, before: list[Numeric], written: dict[str, int], reader: int) -> Access:
    if access.role != "read":
        return access
    if access.tensor.role == "saved":
        return replace(access, distance_bytes=np.inf)
    writer, arrival = written.get(access.tensor.id), access.tensor.arrival
    entered = access.tensor.bytes if arrival is None else arrival.distance_bytes
    distance = entered + before[reader] if writer is None else before[reader] - before[writer + 1]
    return replace(access, distance_bytes=distance)


def _live_bytes(graph: OpGraph, raw: list[list[Access]], saved: frozenset[str]) -> list[Numeric]:
    """Return the bytes of activations that are there while each kernel runs.

    What counts is memory: from the kernel that first writes it to the last one that writes or reads it, under whatever
    name (`Dag.memory`). Inputs are there from the start, results stay. Weights, also those that are written over, saved
    tensors, and what stays in place from run to run (`Dag.stays`) are counted apart.
    """
    end = len(raw) - 1
    uses: dict[str, list[int]] = {}
    for i, accesses in enumerate(raw):
        for access in accesses:
            if access.role != "weight" and access.tensor.role != "saved" and access.tensor.id not in saved:
                uses.setdefault(graph.memory(access.tensor.id), []).append(i)
    for t in graph.outputs:
        if graph.root(t) not in saved:
            uses.setdefault(graph.memory(t), []).append(end)
    begins: dict[int, Numeric] = {}
    ends: dict[int, Numeric] = {}
    for t, used in uses.items():
        tensor = graph.tensors[t]
        if tensor.stored or graph.stays(t) or t in saved:
            continue
        made = t in graph.producers and not tensor.kept
        size, first, last = tensor.bytes, used[0] if made else 0, used[-1]
        begins[first] = begins.get(first, 0.0) + size
        ends[last] = ends.get(last, 0.0) + size
    live: list[Numeric] = []
    total: Numeric = 0.0
    for i in range(len(raw)):  # whole bytes: sums are exact
        total = total + begins.get(i, 0.0)
        live.append(total)
        total = total - ends.get(i, 0.0)
    return live


def _describe(graph: OpGraph, group: tuple[str, ...]) -> tuple[str, str]:
    """Return the kind of a kernel and a name: the anchor op's; of two convolutions that which the other one feeds."""
    convolutions = [op_id for op_id in group if isinstance(graph.op(op_id), Conv)]
    anchor = next((op_id for op_id in group if graph.op(op_id).family != "pointwise"), group[0])
    anchor = convolutions[-1] if convolutions else anchor
    op: Op = graph.op(anchor)
    kind = KIND_OF_FAMILY[op.family]
    if isinstance(op, CONVOLUTIONS) and op.form != "depthwise":
        kind = "conv"
    return kind, anchor
