"""Interpolation."""

from __future__ import annotations

from typing import Any

from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import resampling
from roofline.graph.views import channels_last
from roofline.text import words

_KINDS = {
    "nearest": "upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d",
    "linear": "upsample_linear1d upsample_bilinear2d upsample_trilinear3d _upsample_bilinear2d_aa",
    "cubic": "upsample_bicubic2d _upsample_bicubic2d_aa _upsample_lanczos2d_aa",
}


def _register(function: str, name: str) -> None:
    @aten(name)
    def resize(w: Writer, a: Any, out: Any) -> Value:
        order = channels_last(out.dim())
        wide = name.endswith("_aa")
        return w.emit(
            resampling.Resize,
            [w.tensor(a.input, order)],
            out,
            order=order,
            name="resize",
            size=tuple(out.shape[2:]),
            function=function,
            taps=resampling.widened_taps(function, a.input.shape[2:], out.shape[2:]) if wide else (),
        )


for _function, _names in _KINDS.items():
    for _name in words(_names):
        _register(_function, _name)
