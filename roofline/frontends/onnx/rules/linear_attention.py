"""Attention whose state has a fixed size: a recurrence over tokens, and the short causal convolution before it."""

from __future__ import annotations

import numpy as np

from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering
from roofline.frontends.onnx.rules.control import stacked
from roofline.frontends.onnx.rules.products import product_of
from roofline.frontends.onnx.rules.shapes import concatenated, part
from roofline.frontends.onnx.values import Value, known
from roofline.frontends.onnx.views import identity
from roofline.frontends.onnx.writer import Writer
from roofline.graph.indexing import Fill
from roofline.graph.ops import Conv
from roofline.graph.resampling import Pad
from roofline.graph.views import channels_last

_DELTA, _GATED = ("delta", "gated_delta"), ("gated", "gated_delta")


@lowering("LinearAttention")
@lowering("LinearAttention", domain=MICROSOFT)
def linear_attention(w: Writer, node: Node) -> list[Value]:
    """For each token: the state decays, takes k times v (in the delta rules what it lacks of v), and is read by q."""
    q, k, v, past = node[0], node[1], node[2], node.get(3)
    rule = node.text("update_rule", "gated_delta")
    heads, kv_heads = node.integer("q_num_heads"), node.integer("kv_num_heads")
    if rule not in ("linear", *_DELTA, *_GATED):
        raise ShapeError(f"unknown update rule {rule!r}; allowed: linear, gated, delta, gated_delta")
    if not (q.rank == k.rank == v.rank == 3) or min(heads, kv_heads) < 1 or heads % kv_heads:
        raise ShapeError(f"q, k, v of shapes {q.shape!r}, {k.shape!r}, {v.shape!r} with {heads} and {kv_heads} heads")
    batch, tokens, _ = q.shape
    group, width, depth = heads // kv_heads, k.shape[2] // kv_heads, v.shape[2] // kv_heads
    if past is None:
        past = w.value(w.add(Fill, dtype=q.dtype, shape=(batch, kv_heads, width, depth)))

    def now(value: Value, shape: tuple[int, ...]) -> Value:
        return w.reshaped(part(w, value, 1, 0, 1), shape)

    with w.repeated(tokens):
        key = now(k, (batch, kv_heads, width, 1))
        row = w.transposed(key, (0, 1, 3, 2))
        fresh, state = now(v, (batch, kv_heads, 1, depth)), past
        if rule in _GATED:
            decay = now(node[4], (batch, kv_heads, node[4].shape[2] // kv_heads, 1))
            state = w.pointwise("mul", state, w.pointwise("exp", decay))
        if rule in _DELTA:
            rate = now(node[5], (batch, node[5].shape[2], 1, 1))
            fresh = w.pointwise("mul", w.pointwise("sub", fresh, product_of(w, row, state)), rate)
        state = w.pointwise("add", state, product_of(w, key, fresh))
        out = w.pointwise("scale", product_of(w, now(q, (batch, kv_heads, group, width)), state))
    every = stacked(w, w.reshaped(out, (batch, heads * depth)), tokens, 1)
    return [every, state][: max(1, node.outputs)]


@lowering("CausalConvWithState")
@lowering("CausalConvWithState", domain=MICROSOFT)
def causal_convolution(w: Writer, node: Node) -> list[Value]:
    """Depthwise convolution of each token and those before it; the last of them are the state."""
    x, weight, bias, past = node[0], node[1], node.get(2), node.get(3)
    if x.rank != 3 or weight.rank != 3 or weight.shape[:2] != (x.shape[1], 1):
        raise ShapeError(f"x of shape {x.shape!r} and weight of {weight.shape!r}; allowed: (N, C, T) and (C, 1, K)")
    before = weight.shape[2] - 1
    if past is not None and before:
        x = concatenated(w, [past, x], 2)
    order, padding = channels_last(3), 0.0 if past is not None else before / 2
    tensors = [w.read(x, order), w.read(weight, (2, 1, 0), role="parameter")]
    if bias is not None:
        tensors.append(w.read(bias, role="parameter" if bias.known else None))
    out = w.value(
        w.add(
            Conv,
            *tensors,
            kernel=(before + 1,),
            stride=(1,),
            padding=(padding,),
            groups=x.shape[1],
            form="depthwise",
        ),
        order,
    )
    if node.text("activation", "none") in ("silu", "swish"):
        out = w.pointwise("swish", out)
    if node.outputs < 2:
        return [out]
    if not before:
        return [out, known(np.zeros((*x.shape[:2], 0)), x.dtype, w.unique(w.place))]
    if x.shape[2] < before:
        missing = before - x.shape[2]
        x = w.value(w.add(Pad, w.read(x), before=(0, 0, missing), after=(0, 0, 0)), identity(3))
    return [out, part(w, x, 2, x.shape[2] - before, before)]
