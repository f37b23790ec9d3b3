"""Ops that take functions: branches on data that cost the same either way, attention with functions of its scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch

from roofline.errors import InputError
from roofline.frontends.torch.catch import caught
from roofline.frontends.torch.reader import Tracer
from roofline.frontends.torch.registry import higher
from roofline.frontends.torch.rules.attention import attend
from roofline.frontends.torch.rules.create import unwritten
from roofline.graph.op import Op


@higher("cond")
def cond(tracer: Tracer, predicate: Any, true_branch: Any, false_branch: Any, operands: Any) -> Any:
    """Run the branch that is taken; where that is data, either, if both run the same ops on the same shapes."""
    known = tracer.known.of(predicate) if isinstance(predicate, torch.Tensor) else predicate
    with tracer:
        if known is not None:
            return (true_branch if bool(known) else false_branch)(*operands)
        out, taken = _recorded(tracer, true_branch, operands)
        kept = dict(tracer.writer.ops)
        _, other = _recorded(tracer, false_branch, operands)
    if taken != other:
        raise InputError(
            f"{tracer.place or 'the program'!r} depends on data: torch.cond has branches of {len(taken)} and "
            f"{len(other)} ops that differ, and there are only shapes: call the branch that runs"
        )
    tracer.writer.ops.clear()
    tracer.writer.ops.update(kept)
    return out


def _recorded(tracer: Tracer, branch: Callable[..., Any], operands: Any) -> tuple[Any, list[Any]]:
    """Return what a branch returns, and what it ran: kinds, fields and shapes, in their order."""
    before = set(tracer.writer.ops)
    out = branch(*operands)
    return out, [_described(tracer, op) for op_id, op in tracer.writer.ops.items() if op_id not in before]


def _described(tracer: Tracer, op: Op) -> tuple[Any, ...]:
    tensors = [tracer.writer.tensors[t] for t in (*op.inputs, *op.outputs)]
    stated = tuple((f.name, getattr(op, f.name)) for f in fields(op) if f.name not in ("inputs", "outputs"))
    return type(op), stated, tuple((t.shape, t.dtype) for t in tensors)


@caught("flex_attention")
def flex_attention(
    tracer: Tracer,
    query: Any,
    key: Any,
    value: Any,
    score_mod: Any = None,
    block_mask: Any = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: Any = None,
    *,
    return_aux: Any = None,
) -> Any:
    """One op with every score counted: which blocks a mask leaves out is data, what is done to a score is its own."""
    if query.dim() != 4 or (query.shape[1] != key.shape[1] and not enable_gqa):
        raise InputError(f"flex_attention takes (N, heads, T, D), got {tuple(query.shape)!r}, {tuple(key.shape)!r}")
    images, heads, rows, _ = query.shape
    out = torch.empty((images, rows, heads, value.shape[-1]), dtype=query.dtype, device="meta").transpose(1, 2)
    tracer.begin("attention")
    q, k, v = (tracer.value(x) for x in (query, key, value))
    tracer.bind(out, attend(tracer.writer, q, k, v, [], out, causal=False))
    if not return_lse and return_aux is None:
        return out
    sums = torch.empty((images, heads, rows), dtype=torch.float32, device="meta")
    tracer.bind(sums, unwritten(sums))
    if return_aux is None:
        return out, sums
    from torch.nn.attention.flex_attention import AuxOutput

    return out, AuxOutput(lse=sums if return_aux.lse else None, max_scores=sums if return_aux.max_scores else None)
