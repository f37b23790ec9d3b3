"""Number formats of language models: which tensors are kept and multiplied as what.

What a tensor is, its reader says: a parameter of a product is a weight, one of a grouped product belongs to experts,
one that rows are looked up in is an embedding, and one with as many results as the largest such table has rows is the
output layer. `Tensor.part` says what readers cannot. Keys and values are the tensors
of role ``cache``, and state that attention reads.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from roofline.dtypes import DType
from roofline.graph.indexing import Gather, Update
from roofline.graph.movement import Concat, Embedding, Reshape
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Attention, Cast, GroupedMatMul, MatMul
from roofline.graph.quantize import Quantize
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric, same
from roofline.passes.policy import Policy
from roofline.passes.rewrite import Rewriter
from roofline.software.formats import Format, Number

LOOK_UPS = (Embedding, Gather)


def apply_format(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return `graph` with quantized parameters and caches, and activations that are quantized before their products.

    An activation is quantized once for all products that read it. Scales lie beside the tensor that they belong to.
    """
    if policy.format is None:
        return graph
    return _Formatter(graph, policy.format).run()


def part_of(graph: OpGraph, tensor_id: str) -> str:
    """Return which class of a format's parameters a tensor belongs to: weights, experts, embeddings, head; else ""."""
    root = graph.tensors[graph.root(tensor_id)]
    if root.role != "parameter" or not _wide(root.dtype) or len(root.shape) < 2 or root.part == "router":
        return ""
    readers = [graph.op(reader) for reader in graph.effective_readers(root.id)]
    looked_up = [op for op in readers if isinstance(op, LOOK_UPS) and graph.root(op.inputs[_table(op)]) == root.id]
    if looked_up or root.tied:  # one memory: the output layer reads the table of embeddings
        return "embeddings"
    multiplied = [op for op in readers if isinstance(op, MatMul) and graph.root(op.inputs[1]) == root.id]
    if not multiplied or len(multiplied) < len(readers):
        return ""
    if root.part:
        return root.part
    if isinstance(multiplied[0], GroupedMatMul):
        return "experts"
    return "head" if same(graph.tensors[tensor_id].shape[-1], _vocabulary(graph)) else "weights"


def _vocabulary(graph: OpGraph) -> Numeric:
    """Return the rows of the largest table that a graph looks up; 0 without one."""
    tables = [graph.tensors[graph.root(op.inputs[1])] for op in graph.ops.values() if isinstance(op, Embedding)]
    rows = [t.shape[0] for t in tables if t.role == "parameter"]
    return max(rows, key=lambda r: float(np.max(r)), default=0)


def _table(op: Op) -> int:
    return 1 if isinstance(op, Embedding) else 0


class _Formatter:
    def __init__(self, graph: OpGraph, chosen: Format) -> None:
        self.graph, self.format, self.new = graph, chosen, Rewriter(graph)
        self.quantized: dict[str, str] = {}

    def run(self) -> OpGraph:
        if self.format.cache is not None:
            self._quantize_cache(self.format.cache)
        for op_id, op in self.graph.ops.items():
            kept = self.new.keep(op_id, op)
            if isinstance(op, LOOK_UPS) and part_of(self.graph, op.inputs[_table(op)]) == "embeddings":
                self._quantize_parameter(op.inputs[_table(op)], self.format.embeddings, -1)
            elif isinstance(op, MatMul) and (kind := part_of(self.graph, op.inputs[1])):
                number: Number | None = getattr(self.format, kind)
                self._quantize_parameter(op.inputs[1], number, -2)
                del self.new.ops[op_id]  # it comes after what quantizes its operand
                x = self._rows(kept.inputs[0], None if number is None else self.format.activations, op_id)
                self.new.ops[op_id] = replace(kept, inputs=(x, *kept.inputs[1:]))
            elif isinstance(op, Attention) and self.format.queries and self.new.tensors[op.inputs[1]].scales:
                del self.new.ops[op_id]
                x = self._quantize_activation(kept.inputs[0], self.format.queries, op_id)
                self.new.ops[op_id] = replace(kept, inputs=(x, *kept.inputs[1:]))
        self._drop_unread()
        return self.new.result()

    def _drop_unread(self) -> None:
        """Leave out what sent wide rows on that nobody reads any more."""
        read = {*self.graph.outputs, *(t for op in self.new.ops.values() for t in op.inputs)}
        for t in self.quantized:
            op_id, op = self._passing_on(t)
            if op is not None and not read & set(op.outputs):
                del self.new.ops[op_id]

    def _quantize_parameter(self, tensor_id: str, number: Number | None, axis: int) -> None:
        """Let a parameter, and all views of it, be of quantized numbers; `axis` is summed over."""
        root = self.graph.root(tensor_id)
        if number is None or self.new.tensors[root].scales:
            return
        seen = self.graph.tensors[tensor_id]
        scales = number.scales(seen.shape, axis)
        share = self.graph.tensors[root].elements / seen.elements  # several products may read a part each
        scales = replace(scales, bytes=scales.bytes * share)
        for t in (root, *self._views(root)):
            self.new.put(self.new.tensors[t].quantized(number.dtype, scales))

    def _rows(self, tensor_id: str, number: Number | None, reader: str) -> str:
        """Return the rows of a product with a parameter: of `number`, else wide; what is kept may be neither yet."""
        kept = self.new.tensors[tensor_id]
        if kept.scales and number is not None and kept.dtype is number.dtype:
            return tensor_id
        if kept.scales:
            tensor_id = self._widened(tensor_id, reader)
        return tensor_id if number is None else self._quantize_activation(tensor_id, number, reader)

    def _widened(self, tensor_id: str, reader: str) -> str:
        """Return rows of a quantized cache as they were before."""
        op_id, wide = f"{reader}.widen", self.graph.tensors[tensor_id]
        made = f"{op_id}:0"
        self.new.ops[op_id] = Cast(inputs=(tensor_id,), outputs=(made,), times=self.graph.op(reader).times)
        self.new.put(Tensor(id=made, shape=wide.shape, dtype=wide.dtype))
        return made

    def _quantize_activation(self, tensor_id: str, number: Number, reader: str) -> str:
        """Return the quantized form of an activation; the first of its readers adds the op that makes it.

        Rows are quantized before they are seen in another shape, or sent to their experts, several times each.
        """
        if tensor_id not in self.quantized:
            x = self.new.tensors[tensor_id]
            op_id, op = self._passing_on(tensor_id)
            if op is not None:
                source = self._quantize_activation(op.inputs[0], number, reader)
                made = f"{op_id}.quantized:0"
                inputs = (source, *map(self.new.now, op.inputs[1:]))
                self.new.ops[f"{op_id}.quantized"] = replace(op, inputs=inputs, outputs=(made,), into=())
            else:
                op_id = f"{reader}.quantize"
                made = f"{op_id}:0"
                times = self.graph.op(reader).times
                quantize = Quantize(inputs=(tensor_id,), outputs=(made,), times=times, dynamic=number.dynamic)
                self.new.ops[op_id] = quantize
            wide = Tensor(id=made, shape=x.shape)
            self.new.put(wide.quantized(number.dtype, number.scales(x.shape, -1)))
            self.quantized[tensor_id] = made
        return self.quantized[tensor_id]

    def _passing_on(self, tensor_id: str) -> tuple[str, Op | None]:
        """Return the op that wrote a tensor, where it only shows or sends on the whole rows of another one."""
        op_id = self.graph.producers.get(tensor_id, "")
        op = self.graph.ops.get(op_id)
        if not isinstance(op, Reshape | Gather) or op.into or self._cached_rows(op):
            return op_id, None
        row, before = (self.graph.tensors[t].shape[-1] for t in (tensor_id, op.inputs[0]))
        whole = same(row, before) and (isinstance(op, Reshape) or (same(op.side_by_side, row) and same(op.combined, 1)))
        return op_id, op if whole else None

    def _cached_rows(self, op: Op) -> bool:
        """Whether an op shows or picks what is kept, not an activation."""
        return self.graph.tensors[self.graph.root(op.inputs[0])].role != "activation"

    # caches -----------------------------------------------------------------------------------------------------------

    def _quantize_cache(self, number: Number) -> None:
        for t in self._cached():
            tensor = self.new.tensors[t]
            scales = number.scales(tensor.shape, -1)
            if number.whole:  # one scale for all tokens is no part of what is kept of them: a number of the layer
                scales = replace(scales, bytes=0.0)
            self.new.put(tensor.quantized(number.dtype, scales))

    def _cached(self) -> set[str]:
        """Return the caches, and all that shows, extends or moves them: what holds keys or values of one."""
        found: set[str] = set()
        for t, tensor in self.graph.tensors.items():
            if tensor.role in ("cache", "state") and _wide(tensor.dtype) and t not in found:
                held, attended = self._held(t)
                if attended or tensor.role == "cache":
                    found |= held
        return found

    def _held(self, cache: str) -> tuple[set[str], bool]:
        """Return the tensors that hold what a cache holds, and whether a product of activations reads one."""
        held, attended, waiting = {cache}, False, [cache]
        while waiting:
            t = waiting.pop()
            for reader in self.graph.readers[t]:
                op = self.graph.op(reader)
                attended = attended or (isinstance(op, Attention | MatMul) and t in op.inputs[1:3])
                keeps = op.family in ("free", "movement") and (not isinstance(op, Update | Gather) or t == op.inputs[0])
                if keeps and not self._joined_wider(op):
                    waiting += (made := [y for y in op.outputs if y not in held and _wide(self.graph.tensors[y].dtype)])
                    held.update(made)
        return held, attended

    def _joined_wider(self, op: Op) -> bool:
        """Whether an op makes rows longer, by what was computed of them: those are not what is kept."""
        return isinstance(op, Concat) and op.axis in (-1, len(self.graph.tensors[op.outputs[0]].shape) - 1)

    def _views(self, root: str) -> list[str]:
        found: list[str] = []
        waiting = [root]
        while waiting:
            for reader in self.graph.readers[waiting.pop()]:
                op = self.graph.op(reader)
                if op.family == "free":
                    found += op.outputs
                    waiting += op.outputs
        return found


def _wide(dtype: DType) -> bool:
    return dtype.kind == "float" and dtype.bits >= 16
