"""Interpolation."""

from __future__ import annotations

from typing import Any

from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import resampling
from roofline.graph.views import channels_last

_KINDS = {
    "nearest": "upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d",
    "linear": "upsample_linear1d upsample_bilinear2d upsample_trilinear3d _upsample_bilinear2d_aa",
    "cubic": "upsample_bicubic2d _upsample_bicubic2d_aa _upsample_lanczos2d_aa",
}


def _register(function: str, names: str) -> None:
    @aten(names)
    def resize(w: Writer, a: Any, out: Any) -> Value:
        order = channels_last(out.dim())
        return w.emit(
            resampling.Resize,
            [w.tensor(a.input, order)],
            out,
            order=order,
            name="resize",
            size=tuple(out.shape[2:]),
            function=function,
        )


for _function, _names in _KINDS.items():
    _register(_function, _names)
