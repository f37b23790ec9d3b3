"""Attention that a program spells out: a product, a softmax of it, and a product with that, become one op."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from roofline.frontends.jax.patterns.sketch import Sketch
from roofline.frontends.jax.writer import Writer
from roofline.graph.ops import Attention, Elementwise, MatMul, Softmax

Shape = tuple[int, ...]


@dataclass(frozen=True)
class _Scores:
    """The product of queries and keys, and what was added to it."""

    product: MatMul
    biases: tuple[str, ...]
    causal: bool


def fold_attention(sketch: Sketch, notes: Writer) -> None:
    """softmax(q k^T + bias) v is one op; runtimes without a kernel for it take it apart again."""
    for op_id, op in list(sketch.ops.items()):
        if not isinstance(op, MatMul) or len(op.inputs) != 2 or op.outputs[0] not in notes.products:
            continue
        for side in (0, 1):
            weights = sketch.source(op.inputs[side])
            softmax = sketch.producer(weights)
            if isinstance(softmax, Softmax) and sketch.only_user(weights):
                scores = _scores(sketch, notes, softmax)
                if scores is not None:
                    _replace(sketch, notes, op_id, op, scores, op.inputs[1 - side])
                break


def _scores(sketch: Sketch, notes: Writer, softmax: Softmax) -> _Scores | None:
    """Walk from a softmax back to its product, over scaling, biases and masks."""
    biases: list[str] = []
    causal = False
    tensor = sketch.source(softmax.inputs[0])
    while not isinstance(op := sketch.producer(tensor), MatMul):
        if not isinstance(op, Elementwise) or op.function not in ("scale", "add", "select") or not _single(sketch, op):
            return None
        for t, small in zip(op.inputs, op.broadcast, strict=True):
            if _fill(sketch, t):
                causal = causal or sketch.source(t) in notes.causal
            elif not small:
                tensor = sketch.source(t)
            else:
                biases.append(t)
    known = op.outputs[0] in notes.products and len(op.inputs) == 2 and sketch.only_user(op.outputs[0])
    moving = not any(sketch.tensors[sketch.source(t)].stored for t in op.inputs)
    return _Scores(op, tuple(biases[::-1]), causal) if known and moving else None


def _single(sketch: Sketch, op: Elementwise) -> bool:
    full = [t for t, small in zip(op.inputs, op.broadcast, strict=True) if not small and not _fill(sketch, t)]
    return len(full) == 1 and sketch.only_user(op.outputs[0])


def _fill(sketch: Sketch, tensor: str) -> bool:
    op = sketch.producer(sketch.source(tensor))
    return op is not None and op.kind == "fill"


def _replace(sketch: Sketch, notes: Writer, op_id: str, op: MatMul, scores: _Scores, v: str) -> None:
    q, k = scores.product.inputs
    batch, rows, columns = notes.products[scores.product.outputs[0]]
    if not batch or prod(columns) == 0:
        return
    length = prod(columns)
    queries, groups = _rows(rows, length)
    kv_heads = batch[-1] if len(batch) > 1 else 1
    images = prod(batch) // kv_heads
    heads = kv_heads * groups
    depth = int(sketch.tensors[q].shape[-1])
    value = int(sketch.tensors[v].elements) // (images * kv_heads * length)
    q = _unscaled(sketch, q)
    times = op.times
    inputs = (
        sketch.view(q, (images, queries, heads * depth), f"{op_id}/q", times),
        sketch.view(k, (images, length, kv_heads * depth), f"{op_id}/k", times),
        sketch.view(v, (images, length, kv_heads * value), f"{op_id}/v", times),
    )
    out = sketch.tensors[op.outputs[0]]
    fused = f"{op_id}/attention"
    made = type(out)(id=f"{fused}:0", shape=(images, queries, heads * value), dtype=out.dtype)
    sketch.tensors[made.id] = made
    sketch.put(
        fused,
        Attention(
            inputs=(*inputs, *scores.biases),
            outputs=(made.id,),
            times=times,
            heads=heads,
            kv_heads=kv_heads,
            causal=scores.causal,
        ),
    )
    view = sketch.view(made.id, out.shape, f"{op_id}/merged", times)
    sketch.rename(out.id, view)


def _rows(rows: Shape, length: int) -> tuple[int, int]:
    """Return queries per head, and query heads per key head: the axis as long as the keys is that of positions."""
    long = [d for d in rows if d != 1]
    if len(long) < 2:
        return prod(rows), 1
    queries = length if length in long else long[0]
    return queries, prod(rows) // queries


def _unscaled(sketch: Sketch, q: str) -> str:
    """Return the queries before their scaling, which is part of attention."""
    scaled = sketch.function(q, "scale")
    shape = sketch.tensors[q].shape
    if scaled is None or len(scaled.inputs) != 1 or not sketch.only_user(scaled.outputs[0]):
        return q
    return sketch.view(scaled.inputs[0], shape, f"{scaled.outputs[0]}/unscaled", scaled.times)
