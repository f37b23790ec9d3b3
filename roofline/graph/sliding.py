"""What convolutions and pools share: a window that slides over an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roofline.graph.op import Op
from roofline.graph.tensor import Shape
from roofline.numeric import Numeric, ceil_div, floor_div, positive

Padding = Literal["same"] | tuple[Numeric, ...]


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
