"""Views: no kernel runs."""

from __future__ import annotations

from typing import Any

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer


@aten("view _unsafe_view _reshape_alias unsqueeze squeeze reshape")
def _reshape(w: Writer, a: Any, out: Any) -> Value:
    return views.reshape(a.input, tuple(out.shape))


@aten("view.dtype view_as_real view_as_complex real imag select_backward")
def reinterpret(w: Writer, a: Any, out: Any) -> Value:
    """The same bytes as other numbers."""
    return w.window(a.input, out)


@aten(
    "alias detach lift_fresh lift resolve_conj resolve_neg _conj conj _neg_view positive dropout alpha_dropout "
    "feature_dropout"
)
def _same(w: Writer, a: Any, out: Any) -> Any:
    return a.input


@aten("permute")
def _permute(w: Writer, a: Any, out: Any) -> Value:
    return views.permute(a.input, tuple(a.dims))


@aten("transpose")
def _transpose(w: Writer, a: Any, out: Any) -> Value:
    return views.transpose(a.input, a.dim0, a.dim1)


@aten("t")
def _matrix_transpose(w: Writer, a: Any, out: Any) -> Value:
    return views.transpose(a.input, 0, -1)


@aten("expand")
def _expand(w: Writer, a: Any, out: Any) -> Value:
    return views.expand(a.input, tuple(out.shape))


@aten("select")
def _select(w: Writer, a: Any, out: Any) -> Value:
    return views.select(a.input, a.dim, a.index)


@aten("slice narrow")
def _slice_(w: Writer, a: Any, out: Any) -> Value:
    size, full = out.shape[a.dim], a.input.shape[a.dim]
    start = a.start or 0
    start = min(start + full if start < 0 else start, full)
    return views.part(a.input, a.dim, start, size)


@aten("split split_with_sizes chunk unsafe_split unsafe_split_with_sizes unsafe_chunk tensor_split")
def _split(w: Writer, a: Any, out: Any) -> list[Value]:
    start, parts = 0, []
    for x in out:
        size = x.shape[a.dim]
        parts.append(views.part(a.input, a.dim, start, size))
        start += size
    return parts


@aten("unbind")
def _unbind(w: Writer, a: Any, out: Any) -> list[Value]:
    return [views.select(a.input, a.dim, i) for i in range(len(out))]


@aten("as_strided unfold diagonal")
def _window(w: Writer, a: Any, out: Any) -> Value:
    if out.numel() == a.input.elements and "size" in a:
        return views.reshape(a.input, tuple(out.shape))
    return w.window(a.input, out)
