"""Views: no kernel runs."""

from __future__ import annotations

from typing import Any

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import lowering
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Lowering


@lowering("aten.view", "aten._unsafe_view", "aten._reshape_alias", "aten.unsqueeze", "aten.squeeze", "aten.reshape")
def _reshape(t: Lowering, a: Any, out: Any) -> Value:
    return views.reshape(a.input, tuple(out.shape))


@lowering(
    "aten.view.dtype", "aten.view_as_real", "aten.view_as_complex", "aten.real", "aten.imag", "aten.select_backward"
)
def reinterpret(t: Lowering, a: Any, out: Any) -> Value:
    """The same bytes as other numbers."""
    return t.window(a.input, out)


@lowering("aten.alias", "aten.detach", "aten.lift_fresh", "aten.lift", "aten.resolve_conj", "aten.resolve_neg",
          "aten._conj", "aten.conj", "aten._neg_view", "aten.positive", "aten.dropout", "aten.alpha_dropout",
          "aten.feature_dropout")  # fmt: skip
def _same(t: Lowering, a: Any, out: Any) -> Any:
    return a.input


@lowering("aten.permute")
def _permute(t: Lowering, a: Any, out: Any) -> Value:
    return views.permute(a.input, tuple(a.dims))


@lowering("aten.transpose")
def _transpose(t: Lowering, a: Any, out: Any) -> Value:
    return views.transpose(a.input, a.dim0, a.dim1)


@lowering("aten.t")
def _matrix_transpose(t: Lowering, a: Any, out: Any) -> Value:
    return views.transpose(a.input, 0, -1)


@lowering("aten.expand")
def _expand(t: Lowering, a: Any, out: Any) -> Value:
    return views.expand(a.input, tuple(out.shape))


@lowering("aten.select")
def _select(t: Lowering, a: Any, out: Any) -> Value:
    return views.select(a.input, a.dim, a.index)


@lowering("aten.slice", "aten.narrow")
def _slice_(t: Lowering, a: Any, out: Any) -> Value:
    size, full = out.shape[a.dim], a.input.shape[a.dim]
    start = a.start or 0
    start = min(start + full if start < 0 else start, full)
    return views.part(a.input, a.dim, start, size)


@lowering("aten.split", "aten.split_with_sizes", "aten.chunk", "aten.unsafe_split", "aten.unsafe_split_with_sizes",
          "aten.unsafe_chunk", "aten.tensor_split")  # fmt: skip
def _split(t: Lowering, a: Any, out: Any) -> list[Value]:
    start, parts = 0, []
    for x in out:
        size = x.shape[a.dim]
        parts.append(views.part(a.input, a.dim, start, size))
        start += size
    return parts


@lowering("aten.unbind")
def _unbind(t: Lowering, a: Any, out: Any) -> list[Value]:
    return [views.select(a.input, a.dim, i) for i in range(len(out))]


@lowering("aten.as_strided", "aten.unfold", "aten.diagonal")
def _window(t: Lowering, a: Any, out: Any) -> Value:
    if out.numel() == a.input.elements and "size" in a:
        return views.reshape(a.input, tuple(out.shape))
    return t.window(a.input, out)
