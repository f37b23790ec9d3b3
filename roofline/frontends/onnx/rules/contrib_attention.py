"""Fused attention of ONNX Runtime that is quantized, packed without padding, or decodes with a cache."""

from __future__ import annotations

import math

from roofline.dtypes import DTYPES
from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering
from roofline.frontends.onnx.rules.attention import apart, attend, biased, halves, heads_apart, merged, of_heads
from roofline.frontends.onnx.rules.products import product_of
from roofline.frontends.onnx.rules.shapes import concatenated, part
from roofline.frontends.onnx.values import Value
from roofline.frontends.onnx.views import identity
from roofline.frontends.onnx.writer import Writer
from roofline.graph.indexing import Update


@lowering("QAttention", domain=MICROSOFT)
def quantized(w: Writer, node: Node) -> list[Value]:
    """Projection of integers to numbers, then attention."""
    x, weight, bias = node[0], node[1], node[2]
    q, k, v = apart(w, node, product_of(w, x, weight, bias, dtype=DTYPES["fp32"]))
    return of_heads(w, node, q, k, v, node.integer("num_heads"), past=halves(w, node.get(8)), together=True)


# without padding -------------------------------------------------------------------


@lowering("PackedAttention", domain=MICROSOFT)
def packed(w: Writer, node: Node) -> Value:
    """Projection of the tokens (T, C) of all examples, then attention within each."""
    q, k, v = apart(w, node, product_of(w, node[0], node[1], node.get(2)))
    return _within_examples(w, node, q, k, v, examples=node[3].shape[0], bias=node.get(5))


@lowering("PackedMultiHeadAttention", domain=MICROSOFT)
def packed_heads(w: Writer, node: Node) -> Value:
    """Attention of projected tokens within each example; one tensor (T, heads, 3, D) may hold q, k and v."""
    q, k, v = node[0], node.get(1), node.get(2)
    if k is None or v is None:
        if q.rank != 4:
            raise ShapeError(f"one tensor of shape {q.shape!r}; allowed: (T, heads, 3, D)")
        tokens, heads, _, width = q.shape
        q, k, v = (w.reshaped(part(w, q, 2, i, 1), (tokens, heads * width)) for i in range(3))
    q, k, v = biased(w, (q, k, v), node.get(3))
    return _within_examples(w, node, q, k, v, examples=node[4].shape[0], bias=node.get(6))


def _within_examples(
    w: Writer, node: Node, q: Value, k: Value, v: Value, *, examples: int, bias: Value | None
) -> Value:
    """Attend within examples of mean length: how the tokens are divided among them is known only during the run."""
    tokens = q.shape[0]
    if tokens % examples:
        raise ShapeError(f"{tokens} tokens of {examples} examples; allowed: as many of each")
    q, k, v = (w.reshaped(x, (examples, tokens // examples, x.shape[-1])) for x in (q, k, v))
    out = of_heads(w, node, q, k, v, node.integer("num_heads"), bias=bias)[0]
    return w.reshaped(out, (tokens, out.shape[-1]))


# one token -------------------------------------------------------------------------


@lowering("DecoderMaskedMultiHeadAttention", domain=MICROSOFT)
def decoded(w: Writer, node: Node) -> list[Value]:
    """Attention of new tokens over a cache; keys and values with heads apart are those of an encoder."""
    heads = node.integer("num_heads")
    q, k, v = biased(w, (node[0], node.get(1) or node[0], node.get(2) or node[0]), node.get(10))
    return _over_cache(w, node, (q, k, v), heads, past=(node.get(5), node.get(6)), length=node.get(7), bias=node.get(4))


@lowering("DecoderMaskedSelfAttention", domain=MICROSOFT)
def decoded_self(w: Writer, node: Node) -> list[Value]:
    """Projection of new tokens, then attention over a cache that holds keys and values."""
    parts = apart(w, node, product_of(w, node[0], node[1], node.get(2)))
    past = halves(w, node.get(4))
    out, k, v = _over_cache(w, node, parts, node.integer("num_heads"), past=past, length=node.get(6), bias=node.get(5))
    return [out, concatenated(w, [w.reshaped(x, (1, *x.shape)) for x in (k, v)], 0)]


def _over_cache(
    w: Writer,
    node: Node,
    projected: tuple[Value, ...] | list[Value],
    heads: int,
    *,
    past: tuple[Value | None, Value | None],
    length: Value | None,
    bias: Value | None,
) -> list[Value]:
    """Write new keys and values into their places of a cache of fixed size, or behind a past; attend."""
    q, k, v = projected
    if past[0] is None or past[1] is None or not node.integer("past_present_share_buffer", 0):
        return of_heads(w, node, q, k, v, heads, past=past, bias=bias)
    q, k, v = (heads_apart(w, x, heads) for x in (q, k, v))
    filled = past[0].shape[-2] if length is None or length.data is None else int(length.data.item()) + k.shape[-2]
    caches = [_written(w, cache, now) for cache, now in zip((past[0], past[1]), (k, v), strict=True)]
    seen = [part(w, cache, 2, 0, min(filled, cache.shape[2])) for cache in caches]
    out = merged(w, attend(w, q, *seen, biases=() if bias is None else (bias,)))
    return [out, *caches]


def _written(w: Writer, cache: Value, now: Value) -> Value:
    order = cache.order or identity(cache.rank)
    if math.prod(now.shape) > cache.elements:
        raise ShapeError(f"{now.shape!r} does not fit into a cache of {cache.shape!r}")
    return w.value(w.add(Update, w.read(cache, order), w.read(now)), order)
