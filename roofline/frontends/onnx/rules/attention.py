"""Attention as one operator: the standard one of operator set 23, and the fused ones of ONNX Runtime."""

from __future__ import annotations

from math import prod

from roofline.errors import GraphError, ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering
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


def _by_token(w: Writer, value: Value, batch: int) -> Tensor:
    """Return (batch, T, heads x D) of a value (..., heads, T, D): libraries read any order of axes with strides."""
    rank = value.rank
    tensor = w.read(value, (*range(rank - 3), rank - 2, rank - 3, rank - 1))
    flat = (batch, value.shape[-2], value.shape[-3] * value.shape[-1])
    return tensor if tensor.shape == flat else w.view(tensor, flat)


def _heads_apart(w: Writer, value: Value, heads: int) -> Value:
    """Return (N, heads, T, D) of (N, T, heads x D)."""
    if value.rank == 4:
        return value
    if value.rank != 3 or heads < 1 or value.shape[-1] % heads:
        raise ShapeError(f"{heads} heads do not divide shape {value.shape!r}")
    n, t, c = value.shape
    return w.transposed(w.reshaped(value, (n, t, heads, c // heads)), (0, 2, 1, 3))


def _merged(w: Writer, value: Value) -> Value:
    """Return (N, T, heads x D) of (N, heads, T, D)."""
    n, h, t, d = value.shape
    return w.reshaped(w.transposed(value, (0, 2, 1, 3)), (n, t, h * d))


def _with_past(w: Writer, now: Value, past: Value | None) -> Value:
    return now if past is None or not past.elements else concatenated(w, [past, now], -2)


@lowering("Attention")
def attention(w: Writer, node: Node) -> list[Value]:
    """Attention of operator set 23: heads apart or merged, grouped queries, mask, cache."""
    flat = node[0].rank == 3
    heads = node.integer("q_num_heads", 0) if flat else node[0].shape[1]
    kv_heads = node.integer("kv_num_heads", heads) if flat else node[1].shape[1]
    q = _heads_apart(w, node[0], heads)
    k, v = (_heads_apart(w, node[i], kv_heads) for i in (1, 2))
    k, v = _with_past(w, k, node.get(4)), _with_past(w, v, node.get(5))
    mask = node.get(3)
    causal = bool(node.integer("is_causal", 0))
    if node.read > 3:
        out, scores = _in_pieces(w, q, k, v, mask, node.integer("qk_matmul_output_mode", 0))
        return [_merged(w, out) if flat else out, k, v, scores]
    out = attend(w, q, k, v, biases=() if mask is None else (mask,), causal=causal)
    return [_merged(w, out) if flat else out, k, v][: max(1, node.outputs)]


def _in_pieces(w: Writer, q: Value, k: Value, v: Value, mask: Value | None, mode: int) -> tuple[Value, Value]:
    """Write attention whose scores are a result too: products and softmax apart; `mode` says which scores."""
    (n, heads, rows, _), kv_heads = q.shape, k.shape[1]
    q = w.reshaped(q, (n, kv_heads, heads // kv_heads, *q.shape[2:]))
    k, v = (w.reshaped(x, (n, kv_heads, 1, *x.shape[2:])) for x in (k, v))
    raw = w.reshaped(product_of(w, q, w.transposed(k, (0, 1, 2, 4, 3))), (n, heads, rows, k.shape[-2]))
    masked = raw if mask is None else w.pointwise("add", raw, mask)
    weights = w.value(w.add(ops.Softmax, w.read(masked)))
    out = product_of(w, w.reshaped(weights, (n, kv_heads, heads // kv_heads, rows, k.shape[-2])), v)
    chosen = {0: raw, 3: weights}.get(mode, masked)
    return w.reshaped(out, (n, heads, rows, v.shape[-1])), chosen


@lowering("Attention", domain=MICROSOFT)
def packed_attention(w: Writer, node: Node) -> Value:
    """Projection to q, k, v in one product, then attention."""
    x, weight, bias, heads = node[0], node[1], node.get(2), node.integer("num_heads")
    qkv = product_of(w, x, weight, bias)
    sizes = node.integers("qkv_hidden_sizes", (qkv.shape[-1] // 3,) * 3)
    if len(sizes) != 3 or sum(sizes) != qkv.shape[-1]:
        raise ShapeError(f"widths {sizes!r} do not make up {qkv.shape[-1]}")
    starts = (0, sizes[0], sizes[0] + sizes[1])
    q, k, v = (part(w, qkv, 2, start, size) for start, size in zip(starts, sizes, strict=True))
    return _of_heads(w, q, k, v, heads, heads, bool(node.integer("unidirectional", 0)), node.get(5))


@lowering("MultiHeadAttention", domain=MICROSOFT)
def multi_head(w: Writer, node: Node) -> Value:
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
    bias = node.get(3)
    if bias is not None:
        start = 0
        added = []
        for value in (q, k, v):
            if value.rank == 3:
                value = w.pointwise("add", value, part(w, bias, 0, start, value.shape[-1]))
                start += value.shape[-1]
            added.append(value)
        q, k, v = added
    return _of_heads(w, q, k, v, heads, heads, bool(node.integer("unidirectional", 0)), node.get(5))


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
    q = _heads_apart(w, q, heads)
    k, v = _heads_apart(w, k, kv_heads), _heads_apart(w, v, kv_heads)
    k, v = _with_past(w, k, node.get(3)), _with_past(w, v, node.get(4))
    return [_merged(w, attend(w, q, k, v, causal=True)), k, v][: max(1, node.outputs)]


def _of_heads(
    w: Writer, q: Value, k: Value, v: Value, heads: int, kv_heads: int, causal: bool, bias: Value | None
) -> Value:
    q, k, v = _heads_apart(w, q, heads), _heads_apart(w, k, kv_heads), _heads_apart(w, v, kv_heads)
    return _merged(w, attend(w, q, k, v, biases=() if bias is None else (bias,), causal=causal))
