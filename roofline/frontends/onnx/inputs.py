"""What the caller says of a file's inputs: sizes of dimensions, whole shapes, values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TypeProto, ValueInfoProto

from roofline.errors import InputError, nearest
from roofline.frontends.onnx.dimensions import parts, size_of
from roofline.frontends.onnx.values import Constant, Data, Dims, Sizes, Value, check_shape, dtype_of, numpy_dtype
from roofline.graph.op import show

#: size of a pinned dimension beyond which it is a mistake
MAX_DIM = 2**31
#: elements of a pinned value; longer ones are data, not sizes, choices or masks
MAX_PINNED = 2**20


class Inputs:
    """The inputs of a file, their dynamic dimensions pinned.

    Parameters
    ----------
    file
        What errors call it.
    declared
        As the file has them.
    dims
        Sizes of dimensions by their name in the file, or by place (``image[0]``), which may be a fixed one; whole
        shapes by the name of the input.
    values
        Elements of inputs: numbers, nested lists, arrays. One number fills an input of a known shape.

    Raises
    ------
    InputError
        A dynamic dimension is not pinned, or what is said of the inputs does not fit them or itself.
    """

    def __init__(
        self, file: str, declared: Sequence[ValueInfoProto], dims: Sizes, values: Mapping[str, Any] | None = None
    ) -> None:
        self.file = file
        self.types = {info.name: _tensor(file, info) for info in declared}
        self.values = {name: self._array(name, value) for name, value in (values or {}).items()}
        self.shapes: dict[str, Dims] = {}  # that are stated whole
        self.dims: dict[str, int] = {}
        for key, size in dims.items():
            if isinstance(size, (tuple, list)):
                self.shapes[self._named(key)] = tuple(_checked(f"{key}[{i}]", d) for i, d in enumerate(size))
            else:
                self.dims[key] = _checked(key, size)
        #: names and places of dimensions that the file has
        self.known: set[str] = set()
        self.axes = {name: self._axes(name) for name in self.types}
        self._learn_from_values()
        self._learn_from_parts()
        self._check()

    def __iter__(self) -> Iterator[Value]:
        """Yield the inputs in the file's order: constants where their elements are pinned."""
        for name, axes in self.axes.items():
            sizes = tuple(a if isinstance(a, int) else self.dims[a] for a in axes)
            shape = check_shape(sizes, f"{self.file}: input {name!r}")
            dtype = dtype_of(self.types[name].elem_type)
            data = self._elements(name, shape) if name in self.values else None
            yield Value(shape=shape, dtype=dtype, data=data, constant=None if data is None else Constant(name=name))

    def _named(self, name: str) -> str:
        if name not in self.types:
            raise InputError(f"{self.file}: no input {name!r}{nearest(name, self.types)}")
        return name

    def _array(self, name: str, value: Any) -> Data:
        dtype = dtype_of(self.types[self._named(name)].elem_type)
        try:
            array = np.asarray(value)
        except ValueError:  # lists of different lengths
            array = np.asarray(None)
        numeric = array.dtype.kind in "biuf" and array.size <= MAX_PINNED and bool(np.isfinite(array).all())
        exact = array.astype(numpy_dtype(dtype)) if numeric else array
        if not numeric or not np.array_equal(exact, array):
            allowed = f"up to 2**20 numbers that {dtype.name} holds"
            raise InputError(f"{self.file}: input {name!r} cannot be {str(value)[:40]!r}; allowed: {allowed}")
        return exact

    def _elements(self, name: str, shape: Dims) -> Data:
        """Return the elements of a pinned input."""
        array = self.values[name]
        if array.size == 1 and np.prod(shape) <= MAX_PINNED:
            array = np.full(shape, array.item(), array.dtype)
        if array.shape != shape:
            raise InputError(f"{self.file}: input {name!r} is {show(shape)}, its value {show(array.shape)}")
        return array

    def _axes(self, name: str) -> list[int | str]:
        """Return the size of each axis of an input; for a dynamic one its name, else its place."""
        stated = self.types[name].shape.dim if self.types[name].HasField("shape") else None
        if stated is None or name in self.shapes:
            whole = self.shapes[name] if name in self.shapes else self._unstated(name)
            if stated is not None and len(stated) != len(whole):
                raise InputError(f"{self.file}: input {name!r} has {len(stated)} axes, not {len(whole)}")
            return list(whole)
        found: list[int | str] = []
        for axis, dim in enumerate(stated):
            place = f"{name}[{axis}]"
            fixed = dim.WhichOneof("value") == "dim_value" and dim.dim_value != -1
            if fixed and dim.dim_value < 0:
                raise InputError(f"{self.file}: dimension {place!r} is {dim.dim_value}; allowed: at least 0")
            key: int | str = int(dim.dim_value) if fixed else dim.dim_param or place
            self.known |= {place, dim.dim_param} - {""}
            found.append(self.dims.get(place, key))
        return found

    def _unstated(self, name: str) -> Dims:
        """Return the shape of an input that states none: that of its value, or its places."""
        if name in self.values:
            return self.values[name].shape
        places = [place for axis in range(len(self.dims)) if (place := f"{name}[{axis}]") in self.dims]
        if not places or places[-1] != f"{name}[{len(places) - 1}]":
            example = f"dims={{{name!r}: (1, 3, 224, 224)}}"
            raise InputError(f"{self.file}: input {name!r} states no shape: give it with {example}")
        self.known |= set(places)
        return tuple(self.dims[place] for place in places)

    def _learn_from_values(self) -> None:
        """Pin the dynamic dimensions of inputs whose elements are given."""
        for name, array in self.values.items():
            if array.ndim == len(self.axes[name]):
                for key, size in zip(self.axes[name], array.shape, strict=True):
                    if isinstance(key, str):
                        self.dims.setdefault(key, size)

    def _learn_from_parts(self) -> None:
        """Pin the dimensions that are expressions of pinned ones."""
        for name in self._dynamic():
            needed = parts(name)
            self.known |= needed
            if needed and needed <= self.dims.keys():
                size = _checked(name, size_of(name, self.dims))
                if self.dims.setdefault(name, size) != size:
                    stated = self.dims[name]
                    raise InputError(
                        f"{self.file}: dimension {name!r} is {stated}, but what it is made of gives {size}"
                    )

    def _dynamic(self) -> dict[str, str]:
        """Return the dimensions that the file leaves open, and where each stands first."""
        found: dict[str, str] = {}
        for name, axes in self.axes.items():
            for axis, key in enumerate(axes):
                if isinstance(key, str):
                    found.setdefault(key, f"{name}[{axis}]")
        return found

    def _check(self) -> None:
        """Raise unless every dynamic dimension is pinned, and every pinned one is in the file."""
        dynamic = self._dynamic()
        missing: dict[str, str] = {}
        for key in dynamic.keys() - self.dims.keys():
            made_of = parts(key) - self.dims.keys()
            missing.update((k, dynamic[k]) for k in (made_of if made_of and made_of <= dynamic.keys() else {key}))
        if missing:
            missing = {key: place for key, place in dynamic.items() if key in missing}
            listed = ", ".join(f"{key!r} ({place})" if key != place else repr(key) for key, place in missing.items())
            example = ", ".join(f"{key!r}: 8" for key in missing)
            raise InputError(f"{self.file}: dynamic dimensions {listed}: pin them with dims={{{example}}}")
        for key in self.dims:
            if key not in self.known:
                allowed = nearest(key, dynamic) or nearest(key, self.known) or "; the model has no dynamic dimensions"
                raise InputError(f"{self.file}: no dynamic dimension {key!r}{allowed}")


def _tensor(file: str, info: ValueInfoProto) -> TypeProto.Tensor:
    """Return the type of an input: a tensor, or an optional one, which is taken to be there."""
    kind = info.type
    while kind.WhichOneof("value") == "optional_type":
        kind = kind.optional_type.elem_type
    if kind.WhichOneof("value") != "tensor_type":
        raise InputError(f"{file}: input {info.name!r} is no tensor")
    return kind.tensor_type


def _checked(key: str, size: Any) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_DIM:
        raise InputError(f"dimension {key!r} cannot be {size!r}; allowed: an integer from 0 to {MAX_DIM}")
    return size
