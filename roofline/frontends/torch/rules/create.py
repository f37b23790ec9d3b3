"""Tensors made from nothing: a kernel that writes."""

from __future__ import annotations

from typing import Any

from roofline.frontends.torch.registry import lowering
from roofline.frontends.torch.values import Node, Value, whole
from roofline.frontends.torch.writer import Lowering, dtype_of
from roofline.graph import indexing


@lowering("aten.empty", "aten.empty_like", "aten.new_empty", "aten.empty_strided", "aten.empty_permuted",
          "aten.new_empty_strided", "aten.resize")  # fmt: skip
def empty(t: Lowering, a: Any, out: Any) -> Value:
    """Memory without a kernel; it is written where somebody reads it all the same."""
    shape = tuple(out.shape)
    fields = {"shape": shape, "function": "empty"}
    return whole(Node(shape=shape, dtype=dtype_of(out), make=indexing.Fill, fields=fields))


@lowering("aten.zeros", "aten.ones", "aten.full", "aten.arange", "aten.linspace", "aten.eye", "aten.scalar_tensor",
          "aten.zeros_like", "aten.ones_like", "aten.full_like", "aten.new_zeros", "aten.new_ones", "aten.new_full",
          "aten.rand", "aten.randn", "aten.randint", "aten.rand_like", "aten.randn_like", "aten.randint_like",
          "aten.randperm", "aten.fill", "aten.zero", "aten.bernoulli", "aten.normal", "aten.uniform", "aten.logspace",
          "aten.tril_indices", "aten.triu_indices", "aten.hann_window", "aten.exponential", "aten.multinomial",
          "aten.normal_functional", "aten.bartlett_window", "aten.hamming_window", "aten.range",
          "aten.random")  # fmt: skip
def _fill(t: Lowering, a: Any, out: Any) -> Value:
    return t.emit(indexing.Fill, [], out, function=t.op_name)
