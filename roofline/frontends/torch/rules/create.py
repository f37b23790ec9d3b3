"""Tensors made from nothing: a kernel that writes."""

from __future__ import annotations

from typing import Any

from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.values import Node, Value, whole
from roofline.frontends.torch.writer import Writer, dtype_of
from roofline.graph import indexing


def unwritten(out: Any) -> Value:
    """Return memory without a kernel; it is written where somebody reads it all the same."""
    shape = tuple(out.shape)
    fields = {"shape": shape, "function": "empty"}
    return whole(Node(shape=shape, dtype=dtype_of(out), make=indexing.Fill, fields=fields))


@aten("empty empty_like new_empty empty_strided empty_permuted new_empty_strided resize")
def empty(w: Writer, a: Any, out: Any) -> Value:
    """Memory without a kernel."""
    return unwritten(out)


@aten(
    "zeros ones full arange linspace eye scalar_tensor zeros_like ones_like full_like new_zeros new_ones new_full rand "
    "randn randint rand_like randn_like randint_like randperm fill zero bernoulli normal uniform logspace tril_indices "
    "triu_indices hann_window exponential multinomial normal_functional log_normal "
    "geometric cauchy bartlett_window hamming_window range random"
)
def _fill(w: Writer, a: Any, out: Any) -> Value:
    return w.emit(indexing.Fill, [], out, function=w.op_name)
