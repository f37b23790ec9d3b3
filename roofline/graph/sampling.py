"""The ops that look at a signal elsewhere than on its own grid: in its frequencies, and between its points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from roofline.families import Family
from roofline.graph.op import Op
from roofline.graph.resampling import TAPS
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import Numeric, positive


@dataclass(frozen=True, kw_only=True, eq=False)
class Fourier(Op):
    """Fast Fourier transforms of `length` points along `axis`; the result has `shape`.

    One along several axes is an op for each, as libraries run a kernel for each. `real` says that the numbers before or
    after it are real: the other side then holds about half the frequencies. With `pairs` complex numbers are two
    elements of the last dimension, else one of a format of twice the size.
    """

    axis: int
    length: Numeric
    shape: Shape
    real: bool = False
    pairs: bool = False
    kind: ClassVar[str] = "fourier"

    @property
    def family(self) -> Family:
        """Needs a whole row before its first result, like a norm."""
        return "reduction"

    @property
    def reduces(self) -> bool:
        """As many numbers go in as come out."""
        return False

    def over_positions(self, x: Tensor, y: Tensor) -> Numeric:
        """It sums up nothing, whatever the shapes say."""
        return 0

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`, which differs along the axis only, and in how complex numbers are written."""
        x, rank = shapes[0], len(shapes[0])
        if not -rank <= self.axis < rank or len(self.shape) != rank:
            raise self.fail(f"axis {self.axis!r} and result {self.shape!r} do not fit {x!r}")
        if not positive(self.length):
            raise self.fail(f"transforms of {self.length!r} points")
        free = {self.axis % rank, rank - 1} if self.pairs else {self.axis % rank}
        for i, (before, after) in enumerate(zip(x, self.shape, strict=True)):
            if i not in free:
                self.need_same(before, after, "rows")
        return (self.shape,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample(Op):
    """An image looked at between its points. Inputs: image (N, *sides, C), what places are computed of, any factors.

    The places come from a grid, from offsets, or from boxes; the result has `shape`, channels last. The factors are
    those by which every sample is multiplied (the mask of a deformable convolution).

    Attributes
    ----------
    sides
        Dimensions that are interpolated.
    function
        ``linear`` and ``cubic`` weigh 2 and 4 neighbours in each of them, ``nearest`` takes one.
    together
        Elements of the result's last dimension that are taken from one place: the channels.
    averaged
        Samples whose mean one element of the result is.
    """

    shape: Shape
    sides: int = 2
    function: Literal["nearest", "linear", "cubic"] = "linear"
    together: Numeric = 1
    averaged: Numeric = 1
    kind: ClassVar[str] = "sample"

    @property
    def family(self) -> Family:
        """A window of its own."""
        return "pool"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        self.need_rank(shapes[0], self.sides + 2, "image")
        return (self.shape,)

    @property
    def neighbours(self) -> int:
        """Elements of the image that each sample is made of."""
        return int(TAPS[self.function] ** self.sides)

    def touched(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> dict[str, Numeric]:
        """Only the neighbours, and no element of the image twice."""
        wanted = outputs[0].elements * self.averaged * float(self.neighbours)
        return {inputs[0].id: np.minimum(wanted, inputs[0].elements)}
