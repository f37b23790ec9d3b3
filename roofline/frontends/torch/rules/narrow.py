"""Products of narrow formats: int8 and fp8 operands, and weights that a kernel unpacks as it reads them.

The format of a product is that of its first operand; a weight of fewer bits is read in its own. The scale of the weight
is an operand; scaling is one operation for each result.
"""

from __future__ import annotations

from typing import Any

import torch

from roofline.dtypes import DTYPES
from roofline.frontends.torch import values as views
from roofline.frontends.torch.reader import Tracer
from roofline.frontends.torch.registry import aten, higher, shaped
from roofline.frontends.torch.rules.linear import product
from roofline.frontends.torch.values import Node, Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import movement


@aten("_int_mm")
def _int_mm(w: Writer, a: Any, out: Any) -> Value:
    return product(w, a.input, a.mat2, out)


@higher("out_dtype")
def out_dtype(tracer: Tracer, op: Any, dtype: torch.dtype, *args: Any) -> Any:
    """A product of int8 that sums in 32 bits; torch runs other ops on converted operands."""
    with tracer:
        if op is torch.ops.aten.mm.default and dtype == torch.int32 and all(x.dtype == torch.int8 for x in args):
            return torch.ops.aten._int_mm(*args)
        return op(*(x.to(dtype) if isinstance(x, torch.Tensor) else x for x in args))


@aten("_scaled_mm _scaled_mm_v2")
def _scaled_mm(w: Writer, a: Any, out: Any) -> Value:
    scales = a.scale_b if isinstance(a.scale_b, list) else [a.scale_b]
    further = [v for v in (a.get("bias"), *scales) if isinstance(v, Value)]
    return product(w, a.input, a.mat2, out, *further)


@aten("_weight_int8pack_mm")
def _of_int8(w: Writer, a: Any, out: Any) -> Value:
    return product(w, a.input, views.transpose(a.mat2, 0, 1), out, a.scales)


_INT4 = "_weight_int4pack_mm _weight_int4pack_mm_for_cpu _weight_int4pack_mm_with_scales_and_zeros"


@aten(_INT4)
def _of_int4(w: Writer, a: Any, out: Any) -> Value:
    packed, shape = a.mat2, (a.input.shape[-1], out.shape[-1])
    shown = Node(
        shape=shape, dtype=DTYPES["int4"], source=views.settled(packed), make=movement.Window, fields={"shape": shape}
    )
    scales = (v for v in (a.get("qScaleAndZeros"), a.get("qScale"), a.get("qZeros")) if isinstance(v, Value))
    return product(w, a.input, views.whole(shown), out, *scales)


@shaped(*(f"aten.{name}" for name in _INT4.split()))
def _shape_of_int4(
    x: torch.Tensor, packed: torch.Tensor, group: int, scales: torch.Tensor, *zeros: Any
) -> torch.Tensor:
    """The columns are the middle one of the sizes of the scales (K / group, N, 2), or the last of (K / group, N)."""
    return torch.empty((*x.shape[:-1], scales.shape[1]), dtype=x.dtype, device="meta")
