"""Tensors: where bytes live."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from roofline.dtypes import DTYPES, DType
from roofline.numeric import Numeric, product

#: dimensions of a tensor, channels last: images (N, H, W, C), sequences (N, T, C); a dimension may be a column
Shape: TypeAlias = tuple[Numeric, ...]
Role: TypeAlias = Literal["input", "activation", "parameter", "buffer", "state", "saved"]


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
        enters the graph, ``state`` enters it too and is kept for the next run, which the program writes it for (a
        key-value cache; see `roofline.graph.state`), ``activation`` is computed, ``saved`` was computed by an earlier
        phase of a training step and waits in the main memory.
    tied
        The parameter is another one's memory (an output layer that shares the embedding): no count of its own.
    """

    id: str
    shape: Shape
    dtype: DType = DTYPES["fp32"]
    role: Role = "activation"
    tied: bool = False

    @property
    def stored(self) -> bool:
        """Whether the tensor is part of the model file: a parameter or a buffer."""
        return self.role in ("parameter", "buffer")

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
        """Size in bytes, unpadded."""
        return self.elements * self.dtype.bytes

    def cast(self, dtype: DType) -> Tensor:
        """Return the same tensor stored as `dtype`."""
        return self if dtype is self.dtype else replace(self, dtype=dtype)
