"""What convolutions and pools share: a window that slides over an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from roofline.graph.op import Op
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import Numeric, ceil_div, floor_div, positive

Padding = Literal["same"] | tuple[Numeric, ...]
#: results on each side of the block that a processor computes of a sliding window over single channels: what timm's
#: networks show of 3 x 3 and 5 x 5 windows on two GPUs, at strides of 1 and 2
WINDOW_BLOCK = 10


def window_size(size: Numeric, kernel: Numeric, stride: Numeric, pad: Numeric | str) -> Numeric:
    """Return the output size of a sliding window; `pad` is per side, ``"same"`` gives ceil(size / stride).

    Examples
    --------
    >>> window_size(224, 7, 2, 3), window_size(299, 3, 2, 0), window_size(15, 3, 2, "same")
    (112, 149, 8)
    """
    if isinstance(pad, str):
        return ceil_div(size, stride)
    return floor_div(size + 2 * pad - kernel, stride) + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class SlidingOp(Op):
    """An op that slides a window over images (N, *spatial, C); `padding` is per side."""

    kernel: tuple[Numeric, ...]
    stride: tuple[Numeric, ...]
    padding: Padding = "same"

    def window(self, spatial: Shape) -> Shape:
        """Return the output's spatial shape."""
        if len(spatial) != len(self.kernel):
            raise self.fail(f"kernel has {len(self.kernel)} dimensions, input has {len(spatial)}")
        pads = [self.padding] * len(spatial) if isinstance(self.padding, str) else list(self.padding)
        out = tuple(
            window_size(size, kernel, stride, pad)
            for size, kernel, stride, pad in zip(spatial, self.kernel, self.stride, pads, strict=True)
        )
        if not all(positive(size) for size in out):
            raise self.fail(f"kernel {self.kernel!r} does not fit into {spatial!r}")
        return out

    def halo(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Numeric:
        """Blocks of `WINDOW_BLOCK` results on each side read the borders of their neighbours again."""
        fetched: Numeric = 1.0
        sides = zip(inputs[0].shape[1:-1], outputs[0].shape[1:-1], self.kernel, self.stride, strict=True)
        for size, out, kernel, stride in sides:
            borders = ceil_div(out, WINDOW_BLOCK) - 1.0
            fetched = fetched * (1.0 + borders * np.maximum(kernel - stride, 0.0) / size)
        return fetched
