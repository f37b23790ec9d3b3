"""Tensors: where bytes live."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from roofline.dtypes import DTYPES, DType
from roofline.numeric import Numeric, product

#: dimensions of a tensor, channels last: images (N, H, W, C), sequences (N, T, C); a dimension may be a column
Shape: TypeAlias = tuple[Numeric, ...]
Part: TypeAlias = Literal["", "head", "router"]
Role: TypeAlias = Literal["input", "activation", "parameter", "buffer", "state", "cache", "saved"]


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """How a tensor enters a part of a program that was cut in two: what the part before has done with it.

    Attributes
    ----------
    layout
        Memory format in which it arrives; None: in none that is known.
    distance_bytes
        Traffic of the kernels that ran between the one that wrote it and the cut.
    """

    layout: Literal["nhwc", "nchw"] | None = None
    distance_bytes: Numeric = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Scales:
    """What the elements of a quantized tensor are to be multiplied with; it lies in memory beside them.

    Attributes
    ----------
    bytes
        Size of all of them.
    run
        Elements in a row of the sum that the tensor is an operand of which share one; infinite: all of them, so that
        results can be scaled in place of operands.
    in_matrix
        Whether matrix units that multiply the format apply them.
    """

    bytes: Numeric
    run: Numeric
    in_matrix: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Tensor:
    """A value that ops read and write.

    Attributes
    ----------
    id
        Unique in its graph.
    shape
        Channels last. Every dimension is a number or a column of numbers.
    dtype
        Storage format.
    role
        ``parameter`` is trained, ``buffer`` is stored but not counted as a parameter (batch-norm statistics), ``input``
        enters the graph, ``state`` enters it too and is kept for the next run, which the program writes it for (see
        `roofline.graph.state`), ``cache`` is state that grows with every token (keys and values of attention),
        ``activation`` is computed, ``saved`` was computed by an earlier phase of a training step and waits in the main
        memory.
    tied
        The parameter is another one's memory (an output layer that shares the embedding): no count of its own.
    part
        What the parameter is to a language model, where its reader does not say it: the output layer, or what chooses
        experts.
    scales
        Of a quantized tensor.
    arrival
        Of an input: how it arrives, where it is known that the graph was cut off another one. Of an output, after the
        passes: in which memory format it leaves.
    """

    id: str
    shape: Shape
    dtype: DType = DTYPES["fp32"]
    role: Role = "activation"
    tied: bool = False
    part: Part = ""
    scales: Scales | None = None
    arrival: Arrival | None = None

    @property
    def stored(self) -> bool:
        """Whether the tensor is part of the model file: a parameter or a buffer."""
        return self.role in ("parameter", "buffer")

    @property
    def kept(self) -> bool:
        """Whether the program keeps the tensor from run to run: state, or a cache."""
        return self.role in ("state", "cache")

    @property
    def elements(self) -> Numeric:
        """Number of elements, unpadded."""
        return product(self.shape)

    @property
    def numbers(self) -> Numeric:
        """Number of real numbers: a complex element is two."""
        return self.elements * self.dtype.numbers

    @property
    def bytes(self) -> Numeric:
        """Size in bytes, unpadded, scales among them."""
        return self.elements * self.dtype.bytes + (self.scales.bytes if self.scales else 0)

    @property
    def element_bytes(self) -> Numeric:
        """Bytes per element, with its share of the scales."""
        return self.bytes / self.elements if self.scales else self.dtype.bytes

    def cast(self, dtype: DType) -> Tensor:
        """Return the same tensor stored as `dtype`."""
        return self if dtype is self.dtype else replace(self, dtype=dtype)

    def quantized(self, dtype: DType, scales: Scales) -> Tensor:
        """Return the same tensor stored as `dtype`, with `scales` beside it."""
        return replace(self, dtype=dtype, scales=scales)
