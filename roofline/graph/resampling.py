"""The ops that change the grid of an image: transposed convolution, resizing, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import ClassVar, Literal

import numpy as np

from roofline.families import Family
from roofline.graph.op import Contraction, ContractionForm, OfNothing, Op
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import Numeric, floor_div, positive, product


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvTranspose(Op):
    """Transposed convolution. Inputs: x (N, *spatial, C), weight (*kernel, C, K / groups), optionally bias (K,)."""

    kernel: tuple[Numeric, ...]
    shape: Shape
    groups: Numeric = 1
    form: ContractionForm = "dense"
    kind: ClassVar[str] = "conv_transpose"

    @property
    def family(self) -> Family:
        """Depthwise ones fuse by rules of their own."""
        return "depthwise" if self.form == "depthwise" else "contraction"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`: stride, padding and output padding have been applied by whoever knows them."""
        x, weight = shapes[0], shapes[1]
        self.need_rank(weight, len(self.kernel) + 2, "weight")
        self.need_rank(x, len(self.kernel) + 2)
        self.need_same(weight[-2], x[-1], "input channels of weight and of x")
        self.need_same(weight[-1] * self.groups, self.shape[-1], "output channels of weight and of the result")
        return (self.shape,)

    def contractions(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Contraction, ...]:
        """M = input positions, N = taps x output channels per group, K = input channels per group."""
        x, weight = inputs[0].shape, inputs[1].shape
        taps = product(self.kernel)
        if self.form == "depthwise":
            return (Contraction(batch=self.groups, m=product(x[:-1]), n=weight[-1], k=1, taps=taps, form="depthwise"),)
        return (
            Contraction(
                batch=self.groups, m=product(x[:-1]), n=weight[-1] * taps, k=x[-1] / self.groups, form=self.form
            ),
        )


#: input elements along an axis that a result is made of
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}


def widened_taps(function: str, before: Sequence[int], after: Sequence[int]) -> tuple[int, ...]:
    """Return the input elements along each axis of a filter that is widened where the image becomes smaller.

    The filter covers as many results as without, so ``before / after`` times as many input elements (``antialias`` of
    ONNX Resize 18 and of ``torch.nn.functional.interpolate``).

    Examples
    --------
    >>> widened_taps("linear", (224, 100), (64, 200))
    (7, 2)
    """
    sizes = zip(before, after, strict=True)
    return tuple(ceil(TAPS[function] * max(1.0, b / a)) if function != "nearest" else 1 for b, a in sizes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Resize(Op):
    """Interpolation of (N, *spatial, C) to another grid.

    `taps`: input elements along each axis that a result is made of. Without, 1, 2 or 4 by `function`; more where an
    image is made smaller and the filter is widened against aliasing.
    """

    size: tuple[Numeric, ...]
    function: Literal["nearest", "linear", "cubic"] = "linear"
    taps: tuple[int, ...] = ()
    kind: ClassVar[str] = "resize"

    @property
    def family(self) -> Family:
        """A window of its own."""
        return "pool"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return (N, *size, C)."""
        x = shapes[0]
        self.need_rank(x, len(self.size) + 2)
        return ((x[0], *self.size, x[-1]),)

    @property
    def neighbours(self) -> int:
        """Input elements that each output is made of, over all dimensions."""
        return prod(self.taps or (TAPS[self.function],) * len(self.size))


@dataclass(frozen=True, kw_only=True, eq=False)
class Pad(Op):
    """A copy with a border, or with one cut off: `before` and `after` elements per dimension."""

    before: tuple[Numeric, ...]
    after: tuple[Numeric, ...]
    kind: ClassVar[str] = "pad"

    @property
    def of_nothing(self) -> OfNothing:
        """Nothing but border."""
        return "constant"

    @property
    def family(self) -> Family:
        """Copies bytes."""
        return "movement"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the input's shape with the borders added."""
        self.need_rank(shapes[0], len(self.before))
        shape = tuple(d + b + a for d, b, a in zip(shapes[0], self.before, self.after, strict=True))
        if not all(map(positive, shape)):
            raise self.fail(f"padding {self.before!r}, {self.after!r} leaves nothing of {shapes[0]!r}")
        return (shape,)

    def run(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Numeric:
        """From the last padded dimension on."""
        shape = inputs[0].shape
        shortest: Numeric = product(shape)
        for axis, (before, after) in enumerate(zip(self.before, self.after, strict=True)):
            if np.any(np.not_equal(before, 0) | np.not_equal(after, 0)):
                shortest = np.minimum(shortest, self.behind(shape, axis))
        return shortest


def transposed_size(
    size: Numeric, kernel: Numeric, stride: Numeric, pad: Numeric, output_pad: Numeric = 0, dilation: Numeric = 1
) -> Numeric:
    """Return the output size of a transposed convolution.

    Examples
    --------
    >>> transposed_size(14, 4, 2, 1)
    28
    """
    return floor_div((size - 1) * stride - 2 * pad + dilation * (kernel - 1) + output_pad + 1, 1)
