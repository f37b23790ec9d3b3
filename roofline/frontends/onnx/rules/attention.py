"""Attention as one operator: the standard one of operator set 23, and the fused ones of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

from roofline.errors import GraphError, ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering
from roofline.frontends.onnx.rules.control import lowered
from roofline.frontends.onnx.rules.products import product_of
from roofline.frontends.onnx.rules.shapes import concatenated, part
from roofline.frontends.onnx.values import Value
from roofline.frontends.onnx.writer import Writer
from roofline.graph import ops
from roofline.graph.tensor import Tensor


def attend(w: Writer, q: Value, k: Value, v: Value, *, biases: tuple[Value, ...] = (), causal: bool = False) -> Value:
    """Add attention of q (..., H, Tq, D), k and v (..., Hkv, Tk, D); the result (..., H, Tq, Dv) is stored by token."""
    if not (3 <= q.rank == k.rank == v.rank):
        raise ShapeError(f"q, k, v of shapes {q.shape!r}, {k.shape!r}, {v.shape!r} do not attend")
    heads, kv_heads = q.shape[-3], k.shape[-3]
    if heads % kv_heads or v.shape[-3] != kv_heads or k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"q, k, v of shapes {q.shape!r}, {k.shape!r}, {v.shape!r} do not attend")
    lead = q.shape[:-3]
    batch = prod(lead)
    tensors = [_by_token(w, value, batch) for value in (q, k, v)]
    extra = [w.read(bias) for bias in biases if not bias.baked]
    out = w.add(ops.Attention, *tensors, *extra, heads=heads, kv_heads=kv_heads, causal=causal)
    split = w.reshaped(w.value(out), (*lead, q.shape[-2], heads, v.shape[-1]))
    rank = split.rank
    return w.transposed(split, (*range(rank - 3), rank - 2, rank - 3, rank - 1))


def attend_apart(
    w: Writer,
    q: Value,
    k: Value,
    v: Value,
    on_scores: Sequence[Callable[[Value], Value]],
    on_weights: Callable[[Value], Value] = lambda weights: weights,
) -> tuple[Value, list[Value]]:
    """Add attention as its steps; return the result (..., H, Tq, Dv), and scores and weights after every step."""
    lead, heads, kv_heads, queries, keys = q.shape[:-3], q.shape[-3], k.shape[-3], q.shape[-2], k.shape[-2]
    if q.rank < 3 or k.rank != q.rank or v.rank != q.rank or heads % kv_heads:
        raise ShapeError(f"q, k, v of shapes {q.shape!r}, {k.shape!r}, {v.shape!r} do not attend")
    rows = w.reshaped(q, (*lead, kv_heads, heads // kv_heads * queries, q.shape[-1]))  # queries that share keys
    rank = k.rank
    scores = product_of(w, rows, w.transposed(k, (*range(rank - 2), rank - 1, rank - 2)))
    steps = [w.reshaped(scores, (*lead, heads, queries, keys))]
    for change in on_scores:
        steps.append(change(steps[-1]))
    steps.append(on_weights(w.value(w.add(ops.Softmax, w.read(steps[-1])))))
    weights = w.reshaped(steps[-1], (*lead, kv_heads, heads // kv_heads * queries, keys))
    return w.reshaped(product_of(w, weights, v), (*lead, heads, queries, v.shape[-1])), steps


def _by_token(w: Writer, value: Value, batch: int) -> Tensor:
    """Return (batch, T, heads x D) of a value (..., heads, T, D): libraries read any order of axes with strides."""
    rank = value.rank
    tensor = w.read(value, (*range(rank - 3), rank - 2, rank - 3, rank - 1))
    flat = (batch, value.shape[-2], value.shape[-3] * value.shape[-1])
    return tensor if tensor.shape == flat else w.view(tensor, flat)


def heads_apart(w: Writer, value: Value, heads: int) -> Value:
    """Return (N, heads, T, D) of (N, T, heads x D)."""
    if value.rank == 4:
        return value
    if value.rank != 3 or heads < 1 or value.shape[-1] % heads:
        raise ShapeError(f"{heads} heads do not divide shape {value.shape!r}")
    n, t, c = value.shape
    return w.transposed(w.reshaped(value, (n, t, heads, c // heads)), (0, 2, 1, 3))


def merged(w: Writer, value: Value) -> Value:
    """Return (N, T, heads x D) of (N, heads, T, D)."""
    n, h, t, d = value.shape
    return w.reshaped(w.transposed(value, (0, 2, 1, 3)), (n, t, h * d))


def with_past(w: Writer, now: Value, past: Value | None) -> Value:
    """Return keys or values (N, heads, T, D) behind those of the past."""
    return now if past is None or not past.elements else concatenated(w, [past, now], -2)


@lowering("Attention")
def attention(w: Writer, node: Node) -> list[Value]:
    """Attention of operator set 23: heads apart or not, grouped queries, mask, cache; in steps if scores are read."""
    flat = node[0].rank == 3
    heads = node.integer("q_num_heads", 0) if flat else node[0].shape[1]
    kv_heads = node.integer("kv_num_heads", heads) if flat else node[1].shape[1]
    q = heads_apart(w, node[0], heads)
    k, v = (heads_apart(w, node[i], kv_heads) for i in (1, 2))
    k, v = with_past(w, k, node.get(4)), with_past(w, v, node.get(5))
    mask = node.get(3)
    causal = bool(node.integer("is_causal", 0))
    if 3 not in node.read:
        out = attend(w, q, k, v, biases=() if mask is None else (mask,), causal=causal)
        return [merged(w, out) if flat else out, k, v][: max(1, node.outputs)]

    def capped(scores: Value) -> Value:
        return w.pointwise("tanh", scores) if node.number("softcap", 0.0) else scores

    def masked(scores: Value) -> Value:
        scores = w.pointwise("add", scores, mask) if mask is not None else scores
        return w.pointwise("select", scores) if causal else scores

    out, steps = attend_apart(w, q, k, v, (capped, masked))
    mode = node.integer("qk_matmul_output_mode", 0)
    if not 0 <= mode < len(steps):
        raise ShapeError(f"scores of mode {mode!r}; allowed: 0 to {len(steps) - 1}")
    return [merged(w, out) if flat else out, k, v, steps[mode]]


@lowering("FlexAttention", domain="ai.onnx.preview")
def flexible(w: Writer, node: Node) -> Value:
    """Attention whose scores and weights graphs of the file's own change; in one kernel where there are none."""
    score, weight = (node.attributes.get(name) for name in ("score_mod", "prob_mod"))
    if score is None and weight is None:
        return attend(w, node[0], node[1], node[2])

    def changed(graph: Any, value: Value) -> Value:
        return value if graph is None else lowered(w, graph, [value])[0]

    on_scores = [partial(changed, score)]
    return attend_apart(w, node[0], node[1], node[2], on_scores, partial(changed, weight))[0]


@lowering("Attention", domain=MICROSOFT)
def packed_attention(w: Writer, node: Node) -> list[Value]:
    """Projection to q, k, v in one product, then attention."""
    x, weight, bias, heads = node[0], node[1], node.get(2), node.integer("num_heads")
    q, k, v = apart(w, node, product_of(w, x, weight, bias))
    return of_heads(w, node, q, k, v, heads, past=halves(w, node.get(4)), bias=node.get(5), together=True)


def apart(w: Writer, node: Node, qkv: Value) -> list[Value]:
    """View the three parts of a projection (..., Q + K + V); they are equally wide where no widths are stated."""
    sizes = node.integers("qkv_hidden_sizes", (qkv.shape[-1] // 3,) * 3)
    if len(sizes) != 3 or sum(sizes) != qkv.shape[-1]:
        raise ShapeError(f"widths {sizes!r} do not make up {qkv.shape[-1]}")
    starts = (0, sizes[0], sizes[0] + sizes[1])
    return [part(w, qkv, qkv.rank - 1, start, size) for start, size in zip(starts, sizes, strict=True)]


def halves(w: Writer, past: Value | None) -> tuple[Value | None, Value | None]:
    """View the keys and the values (N, heads, T, D) of a past that holds both."""
    if past is None:
        return None, None
    k, v = (w.reshaped(part(w, past, 0, i, 1), past.shape[1:]) for i in range(2))
    return k, v


@lowering("MultiHeadAttention", domain=MICROSOFT)
def multi_head(w: Writer, node: Node) -> list[Value]:
    """Attention of projected q, k, v, each (N, T, C), or k and v with heads apart; q may hold all three."""
    q, k, v, heads = node[0], node.get(1), node.get(2), node.integer("num_heads")
    if q.rank == 5:  # (N, T, heads, 3, D)
        parts = [part(w, q, 3, i, 1) for i in range(3)]
        n, t, h, _, d = q.shape
        q, k, v = (w.reshaped(p, (n, t, h * d)) for p in parts)
    elif k is not None and v is None and k.rank == 5:  # (N, T, heads, 2, D)
        n, t, h, _, d = k.shape
        k, v = (w.reshaped(part(w, k, 3, i, 1), (n, t, h * d)) for i in range(2))
    if k is None or v is None:
        raise GraphError("packed operands of this form are not supported; allowed: q, k and v apart")
    q, k, v = biased(w, (q, k, v), node.get(3))
    return of_heads(w, node, q, k, v, heads, past=(node.get(6), node.get(7)), bias=node.get(5))


def biased(w: Writer, values: Sequence[Value], bias: Value | None) -> list[Value]:
    """Add to each projection (..., C) its part of one bias; heads that are apart have got theirs."""
    start, added = 0, []
    for value in values:
        if bias is not None and value.rank < 4:
            value = w.pointwise("add", value, part(w, bias, 0, start, value.shape[-1]))
            start += value.shape[-1]
        added.append(value)
    return added


@lowering("GroupQueryAttention", domain=MICROSOFT)
def grouped(w: Writer, node: Node) -> list[Value]:
    """Causal attention whose queries share key heads, with a cache."""
    heads, kv_heads = node.integer("num_heads"), node.integer("kv_num_heads")
    q, k, v = node[0], node.get(1), node.get(2)
    if k is None or v is None:
        size = q.shape[-1] // (heads + 2 * kv_heads)
        k = part(w, q, 2, heads * size, kv_heads * size)
        v = part(w, q, 2, (heads + kv_heads) * size, kv_heads * size)
        q = part(w, q, 2, 0, heads * size)
    q = heads_apart(w, q, heads)
    k, v = heads_apart(w, k, kv_heads), heads_apart(w, v, kv_heads)
    k, v = with_past(w, k, node.get(3)), with_past(w, v, node.get(4))
    return [merged(w, attend(w, q, k, v, causal=True)), k, v][: max(1, node.outputs)]


def of_heads(
    w: Writer,
    node: Node,
    q: Value,
    k: Value,
    v: Value,
    heads: int,
    *,
    past: tuple[Value | None, Value | None] = (None, None),
    bias: Value | None = None,
    together: bool = False,
) -> list[Value]:
    """Attend; return the result, and keys and values with the past ones, in one tensor where they come `together`."""
    q, k, v = (heads_apart(w, value, heads) for value in (q, k, v))
    k, v = with_past(w, k, past[0]), with_past(w, v, past[1])
    causal = bool(node.integer("unidirectional", 0))
    out = merged(w, attend(w, q, k, v, biases=() if bias is None else (bias,), causal=causal))
    if together and 1 in node.read:
        return [out, concatenated(w, [w.reshaped(value, (1, *value.shape)) for value in (k, v)], 0)]
    return [out, k, v]
