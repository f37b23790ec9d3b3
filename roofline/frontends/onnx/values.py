"""What a name of an ONNX graph stands for while the graph is lowered: a shape, and where its bytes are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from roofline.dtypes import DTYPES, DType
from roofline.errors import GraphError, InputError, ShapeError
from roofline.graph.op import show
from roofline.graph.tensor import Tensor
from roofline.text import words

Dims: TypeAlias = tuple[int, ...]
#: what is said of inputs: a dimension -> its size, an input -> its shape
Sizes: TypeAlias = "Mapping[str, int | Sequence[int]]"
Data: TypeAlias = NDArray[Any]

#: elements of one tensor beyond which a file is refused: 2^50 fp32 elements are four million GiB
MAX_ELEMENTS = 2**50
MAX_RANK = 64

#: TensorProto.DataType -> storage format; unsigned formats are as wide as signed ones
_DTYPES = words(
    "- fp32 int8 int8 int16 int16 int32 int64 - bool fp16 fp64 int32 int64 - - bf16 fp8 fp8 fp8 fp8 int4 int4 int4 fp8 "
    "int2 int2"
)
_OTHERS = {0: "undefined", 8: "string", 14: "complex64", 15: "complex128"}
_INT16 = DType(name="int16", bits=16, kind="int")


def dtype_of(code: int) -> DType:
    """Return the storage format of a ``TensorProto.DataType``.

    Raises
    ------
    InputError
        Strings and complex numbers have none.
    """
    name = _DTYPES[code] if 0 <= code < len(_DTYPES) else "-"
    if name == "-":
        raise InputError(f"unsupported element type {_OTHERS.get(code, code)!r}; allowed: numbers and booleans")
    return DTYPES.get(name, DTYPES["int32"] if name == "int16" else _INT16)


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """Return the format in which numpy computes constants of `dtype`."""
    if dtype.kind == "bool":
        return np.dtype(np.bool_)
    return np.dtype(np.float64 if dtype.kind == "float" else np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Constant:
    """A tensor that the file stores or that follows from such tensors: it takes a place in the graph when it is read.

    Attributes
    ----------
    trained
        Computed from floating initializers, so that it counts as a parameter wherever it is read.
    """

    name: str
    trained: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """A tensor as the ONNX graph sees it.

    Attributes
    ----------
    shape
        As the file's operators define it: images are (N, C, H, W).
    tensor
        Its bytes in the op graph; None for constants and for dequantized values, which get theirs when they are read.
    order
        How `tensor` stores it: axis i of the tensor is axis ``order[i]`` of the value. Images are stored channels last,
        and a transposition only changes the order.
    constant, data
        Where it is known before the run; `data` where its few elements are known too.
    quantized
        The integers that this value was dequantized from.
    parts
        The tensors of a sequence.
    absent
        Why nobody may read it: an output that no rule gives.
    """

    shape: Dims
    dtype: DType
    tensor: Tensor | None = None
    order: Dims = ()
    constant: Constant | None = None
    data: Data | None = None
    quantized: Value | None = None
    parts: tuple[Value, ...] | None = None
    absent: str = ""

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def known(self) -> bool:
        """Whether it is a constant of the program."""
        return self.constant is not None or self.data is not None

    @property
    def baked(self) -> bool:
        """Whether a kernel holds it as an immediate: a known scalar."""
        return self.known and self.elements == 1

    @property
    def stored_integers(self) -> Value | None:
        """The integers of the file that it was dequantized from; None where there are none."""
        return self.quantized if self.quantized is not None and self.quantized.known else None

    def renamed(self, name: str) -> Value:
        """Return a constant under another name; other values as they are."""
        return self if self.constant is None else replace(self, constant=replace(self.constant, name=name))


class UndecidedError(InputError):
    """A size or a choice is known only during the run, unless the input that it comes from is pinned."""


class Scope:
    """The names of a graph; those of the graphs around it are visible too. A None stands for an unknown operator."""

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent = parent
        self.values: dict[str, Value | None] = {}

    @property
    def depth(self) -> int:
        """How many graphs lie around this one."""
        return 0 if self.parent is None else self.parent.depth + 1

    def find(self, name: str) -> Value | None:
        """Return the value of a name.

        Raises
        ------
        GraphError
            Nobody defines it, or it is an output that no rule gives.
        """
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                found = scope.values[name]
                if found is not None and found.absent:
                    raise GraphError(found.absent)
                return found
            scope = scope.parent
        raise GraphError(f"reads {name!r}, which nothing produces")

    def define(self, name: str, value: Value | None) -> None:
        """Give a value a name, once."""
        if name in self.values:
            raise GraphError(f"writes {name!r}, which is defined already")
        self.values[name] = value


def check_shape(shape: Dims, what: str = "tensor") -> Dims:
    """Return `shape` as ints.

    Raises
    ------
    ShapeError
        A dimension is negative, or there are too many elements or dimensions.
    """
    if len(shape) > MAX_RANK:
        raise ShapeError(f"{what} has {len(shape)} dimensions; allowed: up to {MAX_RANK}")
    exact = tuple(int(d) for d in shape)
    if min(exact, default=0) < 0:
        raise ShapeError(f"{what} has shape {show(exact)}: every dimension must be at least 0")
    if math.prod(exact) > MAX_ELEMENTS:
        raise ShapeError(f"{what} has shape {show(exact)}: more than 2**50 elements")
    return exact


def known(data: Data, dtype: DType | None = None, name: str = "constant") -> Value:
    """Return the value of known elements."""
    kind = {"b": "bool", "f": "fp32"}.get(data.dtype.kind, "int64")
    return Value(shape=data.shape, dtype=dtype or DTYPES[kind], data=data, constant=Constant(name=name))
