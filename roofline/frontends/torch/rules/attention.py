"""Attention: caught before it is taken apart, or as the fused ops that exported programs hold."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from roofline.errors import UnknownOpError
from roofline.frontends.torch import values as views
from roofline.frontends.torch.catch import caught
from roofline.frontends.torch.reader import Tracer
from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.rules.create import unwritten
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import ops


@caught("scaled_dot_product_attention", "aten.scaled_dot_product_attention")
def scaled_dot_product_attention(
    tracer: Tracer,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """One op; the result lies in memory as (N, T, heads, D), as the fused kernels leave it."""
    shapes = [tuple(x.shape) for x in (query, key, value)]
    heads_differ = len(shapes[0]) > 3 and shapes[0][-3] != shapes[1][-3]
    if not _fits(shapes) or (heads_differ and not enable_gqa):
        return NotImplemented  # let torch say what is wrong, or broadcast
    *lead, rows, _ = shapes[0]
    features = shapes[2][-1]
    if lead:
        lead_and_rows = (*lead[:-1], rows, lead[-1])
        out = torch.empty((*lead_and_rows, features), dtype=query.dtype, device="meta").transpose(-2, -3)
    else:
        out = torch.empty((rows, features), dtype=query.dtype, device="meta")
    tracer.begin("attention")
    mask = [] if attn_mask is None else [tracer.value(attn_mask)]
    operands = [tracer.value(x) for x in (query, key, value)]
    tracer.bind(out, attend(tracer.writer, operands[0], operands[1], operands[2], mask, out, causal=is_causal))
    return out


def _fits(shapes: list[tuple[int, ...]]) -> bool:
    q, k, v = shapes
    same_lead = q[:-3] == k[:-3] == v[:-3] and (len(q) < 3 or k[-3] == v[-3])
    return len(q) == len(k) == len(v) >= 2 and q[-1] == k[-1] and k[-2] == v[-2] and same_lead


def attend(w: Writer, q: Value, k: Value, v: Value, biases: list[Value], out: Any, *, causal: bool) -> Value:
    """Q, k and v (..., heads, T, D) as (N, T, heads x D)."""
    heads = q.shape[-3] if q.rank > 3 else 1
    kv_heads = k.shape[-3] if k.rank > 3 else 1
    rows, features = q.shape[-2], v.shape[-1]
    batch = prod(q.shape[: -3 if q.rank > 3 else -2])
    inputs = [w.tensor(_merged(x), (0, 1, 2)) for x in (q, k, v)]
    inputs += [w.tensor(b, range(b.rank)) for b in biases]  # in the order of the scores
    made = w.emit(
        ops.Attention,
        inputs,
        out,
        torch_shape=(batch, rows, heads * features),
        heads=heads,
        kv_heads=kv_heads,
        causal=causal,
    )
    if q.rank <= 3:
        return views.reshape(made, tuple(out.shape))
    apart = views.reshape(made, (batch, rows, heads, features))
    return views.reshape(views.permute(apart, (0, 2, 1, 3)), tuple(out.shape))


def _merged(x: Value) -> Value:
    heads = x.shape[-3] if x.rank > 3 else 1
    tokens, features = x.shape[-2:]
    batch = prod(x.shape[: -3 if x.rank > 3 else -2])
    apart = views.permute(views.reshape(x, (batch, heads, tokens, features)), (0, 2, 1, 3))
    return views.reshape(apart, (batch, tokens, heads * features))


@aten(
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math "
    "_scaled_dot_product_attention_math_for_mps scaled_dot_product_attention"
)
def _fused_attention(w: Writer, a: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    bias = a.get("attn_mask") or a.get("attn_bias")
    return attend(w, a.query, a.key, a.value, [bias] if bias else [], first, causal=bool(a.get("is_causal")))


@aten("_flash_attention_forward _efficient_attention_forward")
def rows_first(w: Writer, a: Any, out: Any) -> Any:
    """The kernels themselves take (N, T, heads, D); sequences packed into one row are told apart by data."""
    if any(isinstance(a.get(name), Value) for name in ("cum_seq_q", "cu_seqlens_q")):
        raise UnknownOpError(f"{w.op_name} of packed sequences has no lowering rule: their lengths are data")
    first, *rest = out
    like = torch.empty(tuple(first.shape), dtype=first.dtype, device="meta").transpose(1, 2)
    q, k, v = (views.transpose(x, 1, 2) for x in (a.query, a.key, a.value))
    biases = [a.bias] if isinstance(a.get("bias"), Value) else []
    made = attend(w, q, k, v, biases, like, causal=bool(a.get("is_causal") or a.get("custom_mask_type")))
    return (views.transpose(made, 1, 2), *(unwritten(x) if isinstance(x, torch.Tensor) else None for x in rest))
