"""The ops that move data by index: look-ups, updates in place, sorting, running sums; and tensors made from nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from roofline.families import Family
from roofline.graph.op import OfNothing, Op
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import Numeric


@dataclass(frozen=True, kw_only=True, eq=False)
class Gather(Op):
    """Elements of a tensor picked by index. Inputs: source, indices, ...; the result has `shape`.

    `side_by_side` is how many of them stay neighbours, `combined` how many on average are added up (or averaged, or
    compared) for each element of the result: the rows of a bag. They may be weighted, by an operand of numbers.
    """

    shape: Shape
    side_by_side: Numeric = 1
    combined: Numeric = 1
    kind: ClassVar[str] = "gather"

    @property
    def family(self) -> Family:
        """Copies bytes."""
        return "movement"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        return (self.shape,)

    def touched(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> dict[str, Numeric]:
        """Only what is picked, and no element of the source twice."""
        return {inputs[0].id: np.minimum(outputs[0].elements * self.combined, inputs[0].elements)}

    def run(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Numeric:
        """As stated, or as many as each index picks."""
        picked = outputs[0].elements * self.combined / np.maximum(inputs[1].elements, 1.0) if len(inputs) > 1 else 1.0
        return np.maximum(picked, self.side_by_side)


@dataclass(frozen=True, kw_only=True, eq=False)
class Update(Op):
    """A tensor with some elements overwritten or added to, in place. Inputs: target, values, indices ...

    A key-value cache, a scatter, an assignment to a slice: only the elements of `values` are touched. `side_by_side` is
    how many of them stay neighbours.
    """

    accumulate: bool = False
    side_by_side: Numeric = 1
    kind: ClassVar[str] = "update"

    @property
    def of_nothing(self) -> OfNothing:
        """Without values or indices the target stays as it is."""
        return "first"

    @property
    def family(self) -> Family:
        """Copies bytes."""
        return "movement"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the target's shape."""
        return (shapes[0],)

    def touched(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> dict[str, Numeric]:
        """As many elements as `values` has; the target is read only to be added to."""
        amount = np.minimum(inputs[1].elements, outputs[0].elements)
        return {inputs[0].id: amount * float(self.accumulate), outputs[0].id: amount}

    def run(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Numeric:
        """As stated."""
        return self.side_by_side

    @property
    def in_place(self) -> bool:
        """The result takes the target's memory."""
        return True


@dataclass(frozen=True, kw_only=True, eq=False)
class Sort(Op):
    """Sorting along the last dimension, or its `kept` largest: values, and with a second output their indices."""

    kept: Numeric | None = None
    kind: ClassVar[str] = "sort"

    @property
    def family(self) -> Family:
        """Needs a whole row."""
        return "reduction"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the input's shape, its last dimension cut to `kept`, for each output."""
        x = shapes[0]
        out = (*x[:-1], x[-1] if self.kept is None else self.kept)
        return (out,) * len(self.outputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan(Op):
    """A running sum, product or maximum (`function`) along `axis`; with a second output also the positions."""

    axis: int
    function: str = "sum"
    kind: ClassVar[str] = "scan"

    @property
    def family(self) -> Family:
        """Needs a whole row."""
        return "reduction"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the input's shape, for every output."""
        return (shapes[0],) * len(self.outputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fill(Op):
    """A tensor of `shape` written from nothing: zeros, a range, a mask, random numbers (`function`)."""

    shape: Shape
    function: str = "full"
    kind: ClassVar[str] = "fill"

    @property
    def family(self) -> Family:
        """Point-wise: compilers write it where it is used."""
        return "pointwise"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        return (self.shape,)
