"""Fourier transforms: one along several dimensions is a kernel for each."""

from __future__ import annotations

from typing import Any

import torch

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import sampling


def _along(w: Writer, v: Value, dim: int, out: Any, length: int, *, real: bool = False) -> Value:
    x = views.settled(v)
    order = x.stored
    return w.emit(
        sampling.Fourier,
        [w.tensor(x, order)],
        out,
        order=order,
        name="fft",
        axis=order.index(dim % x.rank),
        length=length,
        real=real,
    )


@aten("_fft_c2c")
def complex_to_complex(w: Writer, a: Any, out: Any) -> Value:
    """The same shape before and after."""
    made: Value = a.input
    for dim in reversed(a.dim):
        made = _along(w, made, dim, out, out.shape[dim])
    return made


@aten("_fft_r2c")
def real_to_complex(w: Writer, a: Any, out: Any) -> Value:
    """Real along the last dimension first, which may halve it; complex along the others."""
    *others, last = a.dim
    made = _along(w, a.input, last, out, a.input.shape[last], real=True)
    for dim in reversed(others):
        made = _along(w, made, dim, out, out.shape[dim])
    return made


@aten("_fft_c2r")
def complex_to_real(w: Writer, a: Any, out: Any) -> Value:
    """Complex along the others first, then to real numbers along the last dimension."""
    *others, last = a.dim
    made: Value = a.input
    between = torch.empty(made.shape, dtype=out.dtype.to_complex(), device="meta")
    for dim in reversed(others):
        made = _along(w, made, dim, between, made.shape[dim])
    return _along(w, made, last, out, a.last_dim_size, real=True)
