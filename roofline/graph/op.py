"""What every op has: tensors in, tensors out, a shape rule, and the matrix products it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias

from roofline.errors import ShapeError
from roofline.families import Family
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import Numeric, product, same

#: how hardware meets a product: dense ones fill a matrix unit, grouped ones are many and narrow, depthwise ones have
#: no reuse to offer it
ContractionForm: TypeAlias = Literal["dense", "grouped", "depthwise"]
#: how images lie in memory, whatever the order in which shapes state them: channels last or channels first
Layout: TypeAlias = Literal["nhwc", "nchw"]
#: what becomes of an op with an empty operand: a sum of nothing is a constant, the other operands go on alone, the
#: first one is the result as it is, or there is no result
OfNothing: TypeAlias = Literal["constant", "others", "first", "refused"]


@dataclass(frozen=True, kw_only=True)
class Contraction:
    """`batch` matrix products (m, k x taps) x (k x taps, n); a grouped convolution has one product per group."""

    m: Numeric
    n: Numeric
    k: Numeric
    batch: Numeric = 1
    taps: Numeric = 1
    form: ContractionForm = "dense"

    @property
    def macs(self) -> Numeric:
        """Multiply-accumulates."""
        return product((self.batch, self.m, self.n, self.k, self.taps))


@dataclass(frozen=True, kw_only=True, eq=False)
class Op(ABC):
    """A node of the model graph. Numeric fields are numbers or columns; other fields are structure.

    `times` says how often the op runs, one run after the other: the trip count of the loop whose body it stands in. Its
    tensors are those of one run. `layout` is the memory format of the images it works on.

    `into` names the tensors whose memory the outputs take, where the program writes in place (``add_``, ``copy_``, a
    slice that is assigned to): operands, or what is only overwritten. See `roofline.graph.dag.Dag.memory`.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    times: Numeric = 1
    layout: Layout = "nhwc"
    into: tuple[str, ...] = ()
    kind: ClassVar[str] = "op"

    @property
    def family(self) -> Family:
        """The fusion family of the op."""
        return "pointwise"

    @property
    def reduces(self) -> bool:
        """Whether the work is done on the first input rather than on the first output."""
        return self.family == "reduction"

    def over_positions(self, x: Tensor, y: Tensor) -> Numeric:
        """Return 1 for a reduction that keeps the last axis, the channels, else 0."""
        if self.family != "reduction" or not x.shape or not y.shape:
            return 0
        return (y.elements < x.elements) * (x.shape[-1] == y.shape[-1]) * (y.shape[-1] > 1)

    @property
    def in_place(self) -> bool:
        """Whether the first output takes the memory of the first input even without `into`, unless that is a weight."""
        return False

    @property
    def of_nothing(self) -> OfNothing:
        """What the op makes of an operand without elements, where its own result has some; see `OfNothing`."""
        return "refused"

    @abstractmethod
    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the output shapes for these input shapes.

        Raises
        ------
        ShapeError
            The shapes do not fit the op.
        """

    def contractions(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Contraction, ...]:
        """Return the matrix products the op is made of, of its elements; none for most ops."""
        return ()

    def products(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Contraction, ...]:
        """Return the matrix products the op is made of, of real numbers.

        A complex multiply-accumulate is four real ones, (a c - b d) + i (a d + b c): one product with twice the columns
        and twice the length.
        """
        found = self.contractions(inputs, outputs)
        if found and inputs[0].dtype.kind == "complex":
            return tuple(replace(c, n=2 * c.n, k=2 * c.k) for c in found)
        return found

    def touched(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> dict[str, Numeric]:
        """Return tensor id -> elements read or written, where that is less than the whole tensor."""
        return {}

    def run(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Numeric:
        """Return how many elements that an op moves lie side by side both before and after; 1 where that is unknown."""
        return 1

    def behind(self, shape: Shape, axis: int) -> Numeric:
        """Return how many elements one step along `axis` and all that lies behind it in memory are."""
        order = list(range(len(shape)))
        if self.layout == "nchw" and len(shape) > 1:
            order.insert(1, order.pop())
        return product(shape[d] for d in order[order.index(axis % len(shape)) :])

    def fail(self, why: str) -> ShapeError:
        """Return the error for shapes that do not fit."""
        return ShapeError(f"{self.kind} {self.outputs[0]!r}: {why}")

    def need_rank(self, shape: Shape, rank: int, what: str = "input") -> None:
        """Raise unless `shape` has `rank` dimensions."""
        if len(shape) != rank:
            raise self.fail(f"{what} needs rank {rank}, got shape {show(shape)}")

    def need_same(self, a: Numeric, b: Numeric, what: str) -> None:
        """Raise unless two dimensions agree."""
        if not same(a, b):
            raise self.fail(f"{what} disagree: {a!r} and {b!r}")

    def reduced(self, shape: Shape, axes: tuple[int, ...], *, keep: bool) -> Shape:
        """Return a shape without `axes`, or with 1 in their place; raise unless it has them."""
        rank = len(shape)
        found = {axis % rank for axis in axes if -rank <= axis < rank}
        if len(found) != len(axes):
            raise self.fail(f"axes {axes!r} do not fit rank {rank}")
        return tuple(1 if i in found else d for i, d in enumerate(shape) if keep or i not in found)


def show(shape: Shape) -> str:
    """Return a shape as ``8x224x224x3``; a column shows as ``*``."""
    return "x".join(f"{d:.0f}" if isinstance(d, (int, float)) else "*" for d in shape) or "scalar"
