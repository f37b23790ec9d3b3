"""The ops that move or view data without arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from roofline.families import Family
from roofline.graph.op import OfNothing, Op
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import Numeric, positive, product, same


@dataclass(frozen=True, kw_only=True, eq=False)
class _Movement(Op):
    @property
    def family(self) -> Family:
        """Copies bytes, computes nothing."""
        return "movement"


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding(_Movement):
    """Rows of a table. Inputs: ids (...), table (rows, C)."""

    kind: ClassVar[str] = "embedding"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return (..., C)."""
        self.need_rank(shapes[1], 2, "table")
        return ((*shapes[0], shapes[1][-1]),)

    def touched(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> dict[str, Numeric]:
        """Only the rows that are looked up, and none twice: a small table is read once at most."""
        return {inputs[1].id: np.minimum(outputs[0].elements, inputs[1].elements)}

    def run(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Numeric:
        """A row of the table."""
        return outputs[0].shape[-1]


@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(_Movement):
    """Concatenation along `axis`."""

    axis: int = -1
    kind: ClassVar[str] = "concat"

    @property
    def of_nothing(self) -> OfNothing:
        """An empty operand adds nothing."""
        return "others"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shape with the sizes along `axis` added."""
        first, axis = shapes[0], self.axis % len(shapes[0])
        for shape in shapes[1:]:
            self.need_rank(shape, len(first), "operand")
            for i, (a, b) in enumerate(zip(first, shape, strict=True)):
                if i != axis:
                    self.need_same(a, b, "operand shapes")
        total: Numeric = 0
        for shape in shapes:
            total = total + shape[axis]
        return ((*first[:axis], total, *first[axis + 1 :]),)

    def run(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Numeric:
        """What an operand of mean size gives between two others."""
        return self.behind(outputs[0].shape, self.axis) / len(inputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice(_Movement):
    """A part of `size` elements along `axis`, copied; `Part` is the same without the copy."""

    axis: int
    size: Numeric
    kind: ClassVar[str] = "slice"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shape with `size` along `axis`."""
        x, axis = shapes[0], self.axis % len(shapes[0])
        if not positive(x[axis] - self.size + 1):
            raise self.fail(f"slice of {self.size!r} from {x[axis]!r}")
        return ((*x[:axis], self.size, *x[axis + 1 :]),)

    def touched(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> dict[str, Numeric]:
        """Only the part that is taken."""
        return {inputs[0].id: outputs[0].elements}

    def run(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Numeric:
        """The part, and what lies behind its axis."""
        return self.behind(outputs[0].shape, self.axis)


@dataclass(frozen=True, kw_only=True, eq=False)
class Move(_Movement):
    """A copy in another order (`function`: transpose, roll, space_to_depth ...): the same elements, a new shape.

    `side_by_side` is how many elements stay neighbours.
    """

    function: str
    shape: Shape
    side_by_side: Numeric = 1
    kind: ClassVar[str] = "move"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`; the number of elements must not change."""
        if not same(product(shapes[0]), product(self.shape)):
            raise self.fail(f"{self.function} cannot turn {shapes[0]!r} into {self.shape!r}")
        return (self.shape,)

    def run(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Numeric:
        """As stated."""
        return self.side_by_side


@dataclass(frozen=True, kw_only=True, eq=False)
class _View(Op):
    @property
    def family(self) -> Family:
        """Costs nothing; the reader reads what it shows of the viewed tensor."""
        return "free"


@dataclass(frozen=True, kw_only=True, eq=False)
class Reshape(_View):
    """A view of the same bytes: free."""

    shape: Shape
    kind: ClassVar[str] = "reshape"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`; the number of elements must not change."""
        if not same(product(shapes[0]), product(self.shape)):
            raise self.fail(f"cannot view {shapes[0]!r} as {self.shape!r}")
        return (self.shape,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part(_View):
    """A strided view of `size` elements along `axis`, from `start`: one part of a fused q, k, v; one token. Free."""

    axis: int
    size: Numeric
    start: Numeric = 0
    kind: ClassVar[str] = "part"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shape with `size` along `axis`."""
        x, axis = shapes[0], self.axis % len(shapes[0])
        if not positive(x[axis] - self.start - self.size + 1):
            raise self.fail(f"part of {self.size!r} from {self.start!r} on, of {x[axis]!r}")
        return ((*x[:axis], self.size, *x[axis + 1 :]),)

    def touched(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> dict[str, Numeric]:
        """Only the part that is viewed."""
        return {inputs[0].id: outputs[0].elements}


@dataclass(frozen=True, kw_only=True, eq=False)
class Expand(_View):
    """A view that repeats dimensions of size 1 without a copy (a class token for every image). Free."""

    shape: Shape
    kind: ClassVar[str] = "expand"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`; dimensions that grow must have been 1."""
        self.need_rank(shapes[0], len(self.shape))
        for old, new in zip(shapes[0], self.shape, strict=True):
            if not np.all(np.equal(old, 1) | np.equal(old, new)):
                raise self.fail(f"cannot repeat {shapes[0]!r} to {self.shape!r}")
        return (self.shape,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Window(_View):
    """A view of any `shape` on the bytes of a tensor, by strides: free. Its reader reads what it shows."""

    shape: Shape
    kind: ClassVar[str] = "window"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        return (self.shape,)
