"""Products whose groups of rows are data: mixtures of experts."""

from __future__ import annotations

from typing import Any

import torch

from roofline.frontends.torch.registry import lowering, shaped
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import ops


@shaped("aten._grouped_mm")
def grouped_shape(
    self: Any, mat2: Any, offs: Any = None, bias: Any = None, out_dtype: torch.dtype | None = None
) -> torch.Tensor:
    """Return the result in any format: torch's rule takes bfloat16 only, its fallback kernel what there is."""
    groups = self.shape[:-2] if offs is None else offs.shape if self.dim() == mat2.dim() else ()
    made: torch.Tensor = self.new_empty((*groups, self.shape[-2], mat2.shape[-1]), dtype=out_dtype or self.dtype)
    return made


@lowering("aten._grouped_mm", "transformers.grouped_mm_fallback")
def grouped_mm(w: Writer, a: Any, out: Any) -> Value:
    """One product for each group; without ends of groups, for each matrix."""
    left, right = a.input, a.get("mat2") or a.get("weight")
    inputs = [w.tensor(v, range(v.rank)) for v in (left, right)]
    if a.get("offs") is None:
        return w.emit(ops.MatMul, inputs, out)
    return w.emit(ops.GroupedMatMul, [*inputs, w.tensor(a.offs)], out, name="grouped_mm")
