"""What a variable of a jaxpr stands for while it is lowered.

Compilers choose the memory order of every array: a transposition, a new axis of size 1 or a broadcast moves nothing
by itself. So a `Value` is a tensor as it lies in memory, and which of its axes each logical axis is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from roofline.dtypes import DTYPES, DType
from roofline.errors import InputError
from roofline.graph.tensor import Tensor
from roofline.text import pairs

#: names of numpy formats -> ours; unsigned ones occupy the bits of signed ones, random keys are two words
_FORMATS = pairs(
    "float64=fp64 float32=fp32 bfloat16=bf16 float16=fp16 int64 uint64=int64 int32 uint32=int32 int8 uint8=int8 int4 "
    "uint4=int4 bool key<fry>=int64 float0=bool complex64 complex128"
)


def dtype_of(aval: object) -> DType:
    """Return the storage format of an abstract value.

    Raises
    ------
    InputError
        A format that no accelerator of ours stores (16-bit integers).
    """
    name = str(getattr(aval, "dtype", "float32"))
    if name.startswith("float8"):
        return DTYPES["fp8"]
    if name not in _FORMATS:
        raise InputError(f"arrays of dtype {name!r} cannot be costed; supported: {', '.join(sorted(_FORMATS))}")
    return DTYPES[_FORMATS[name]]


def result_of(equation: Any) -> tuple[tuple[int, ...], DType]:
    """Return shape and storage format of what an equation gives, of the first array if it gives several."""
    aval = equation.outvars[0].aval
    return tuple(aval.shape), dtype_of(aval)


@dataclass(frozen=True, kw_only=True)
class Value:
    """An array in memory, seen with its axes in another order.

    Attributes
    ----------
    shape
        Logical shape.
    axes
        For each logical axis the axis of `tensor` that it is; None for an axis of size 1 or a repeated one. Axes of
        `tensor` that none names have size 1.
    """

    tensor: Tensor
    shape: tuple[int, ...]
    axes: tuple[int | None, ...]

    @classmethod
    def plain(cls, tensor: Tensor) -> Value:
        """Return a tensor as it lies."""
        shape = tuple(int(d) for d in tensor.shape)
        return cls(tensor=tensor, shape=shape, axes=tuple(range(len(shape))))

    @property
    def order(self) -> tuple[int, ...]:
        """Logical axes longer than 1, as they follow each other in memory; repeated axes are in none."""
        held = [(axis, i) for i, axis in enumerate(self.axes) if axis is not None and self.shape[i] != 1]
        return tuple(i for _, i in sorted(held))

    @property
    def memory(self) -> tuple[int, ...]:
        """All logical axes as they follow each other in memory; where they are permuted, those of size 1 come first."""
        order, every = self.order, range(len(self.shape))
        return tuple(every) if order == tuple(sorted(order)) else (*(i for i in every if i not in order), *order)

    @property
    def repeated(self) -> tuple[int, ...]:
        """Logical axes that memory holds once and the program sees several times."""
        return tuple(i for i, axis in enumerate(self.axes) if axis is None and self.shape[i] != 1)

    def covers(self, shape: tuple[int, ...]) -> bool:
        """Whether memory holds every element of an array of `shape`."""
        return self.shape == shape and not self.repeated

    def transposed(self, permutation: tuple[int, ...]) -> Value:
        """Return the value with its logical axes in another order."""
        shape = tuple(self.shape[p] for p in permutation)
        return replace(self, shape=shape, axes=tuple(self.axes[p] for p in permutation))


@dataclass(frozen=True, kw_only=True)
class Constant:
    """An array that depends on nothing that enters the program: compilers compute it once, or where it is used.

    Attributes
    ----------
    shape, dtype
        As the program sees it.
    core
        Shape without repetition; ``()`` where all elements are equal.
    value
        The number, where all elements are equal and it is known.
    causal
        It compares two ranges of positions, as the mask of causal attention does.
    """

    shape: tuple[int, ...]
    dtype: DType
    core: tuple[int, ...] = ()
    value: float | int | bool | None = None
    causal: bool = False

    @property
    def uniform(self) -> bool:
        """Whether all elements are equal."""
        return all(d == 1 for d in self.core)


Operand: TypeAlias = Value | Constant


def literal(atom: Any) -> Constant:
    """Return a literal of a jaxpr."""
    return Constant(shape=tuple(getattr(atom.aval, "shape", ())), dtype=dtype_of(atom.aval), value=number(atom.val))


def number(array: Any) -> float | int | bool | None:
    """Return the Python number in a scalar array; None for a random key."""
    try:
        item = array.item() if hasattr(array, "item") else array
    except (TypeError, ValueError, NotImplementedError):
        return None
    return item if isinstance(item, (bool, int, float)) else None
