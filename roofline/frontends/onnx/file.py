"""Reading an ONNX file without trusting it: shapes of weights, never their bytes; nothing outside its folder."""

from __future__ import annotations

import math
import mmap
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from onnx import AttributeProto, FunctionProto, ModelProto, TensorProto, numpy_helper

from roofline.errors import GraphError, InputError
from roofline.frontends.onnx.skeleton import MalformedError, without_weights
from roofline.frontends.onnx.values import Constant, Data, Value, check_shape, dtype_of, numpy_dtype
from roofline.reading import check_regular

#: elements of a stored tensor that are read because a shape may follow from them
MAX_READ_ELEMENTS = 4096


class ModelFile:
    """A parsed file: its graph, operator sets and functions.

    Raises
    ------
    InputError
        No such file, or it is not an ONNX model.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.model = _parse(self.path)
        self.versions: dict[str, int] = {}
        for opset in self.model.opset_import:
            self.versions["" if opset.domain == "ai.onnx" else opset.domain] = int(opset.version)
        self.functions: dict[tuple[str, str], FunctionProto] = {(f.domain, f.name): f for f in self.model.functions}

    def initializer(self, tensor: TensorProto) -> Value:
        """Return a stored tensor; its elements are read only where they are few, for shapes may follow from them."""
        return self._stored(tensor, trained=True)

    def _stored(self, tensor: TensorProto, *, trained: bool) -> Value:
        name = tensor.name or "constant"
        dims = tuple(int(d) for d in tensor.dims)
        try:
            shape = check_shape(dims, f"stored tensor {name!r}")
            dtype = dtype_of(tensor.data_type)
        except InputError as error:
            raise InputError(f"{self.name}: stored tensor {name!r}: {error}") from None
        external = tensor.data_location == TensorProto.EXTERNAL
        place = self._external(tensor) if external else None
        count = math.prod(shape)
        small = count <= MAX_READ_ELEMENTS and (dtype.kind != "float" or count <= 16)
        data = self._elements(tensor, place, shape) if small else None
        if data is not None:
            data = data.astype(numpy_dtype(dtype)).reshape(shape)
        return Value(
            shape=shape, dtype=dtype, data=data, constant=Constant(name=name, trained=trained and dtype.kind == "float")
        )

    def _elements(
        self, tensor: TensorProto, place: tuple[Path, int, int] | None, shape: tuple[int, ...]
    ) -> Data | None:
        """Return the elements of a small tensor; None where its file is absent."""
        if place is not None:
            raw = _read_external(*place, self.name)
            if raw is None:
                return None
            tensor = TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=raw)
        if math.prod(shape) == 0:
            return np.zeros(shape)
        has = any(
            len(getattr(tensor, f)) for f in ("raw_data", "float_data", "int32_data", "int64_data", "double_data")
        )
        if not (has or tensor.uint64_data):
            return None
        try:
            array: Data = np.asarray(numpy_helper.to_array(tensor))
        except Exception as error:  # whatever the helper meets in malformed data
            raise GraphError(f"{self.name}: stored tensor {tensor.name!r} is malformed: {error}") from None
        return array if array.dtype.kind in "biuf" else array.astype(np.float64)

    def _external(self, tensor: TensorProto) -> tuple[Path, int, int]:
        """Return file, offset and length of external data; every place outside the model's folder is refused.

        Raises
        ------
        InputError
            The location is absolute, leads outside, or is a link.
        """
        entries = {e.key: e.value for e in tensor.external_data}
        location = entries.get("location", "")
        where = f"{self.name}: stored tensor {tensor.name!r}: external data {location!r}"
        windows, posix = PureWindowsPath(location), PurePosixPath(location)
        if not location or "\0" in location or windows.drive or windows.is_absolute() or posix.is_absolute():
            raise InputError(f"{where} must be a path relative to the model's folder")
        if ".." in windows.parts or ".." in posix.parts:
            raise InputError(f"{where} lies outside the model's folder")
        folder = self.path.parent
        place = folder
        for part in posix.parts:
            place = place / part
            if place.is_symlink():
                raise InputError(f"{where} is a link: put the file itself into the model's folder")
        numbers = [entries.get(key, "0") for key in ("offset", "length")]
        if not all(n.isascii() and n.isdigit() and len(n) < 20 for n in numbers):
            raise InputError(f"{where} has a malformed offset or length")
        return place, int(numbers[0]), int(numbers[1])

    def attribute(self, attribute: AttributeProto) -> Any:
        """Return the value of a node's attribute.

        Raises
        ------
        GraphError
            Its type is none that an operator of a network has.
        """
        kind = attribute.type
        if kind == AttributeProto.INT:
            return int(attribute.i)
        if kind == AttributeProto.FLOAT:
            return float(attribute.f)
        if kind == AttributeProto.STRING:
            return attribute.s.decode("utf-8", "replace")
        if kind == AttributeProto.INTS:
            return list(attribute.ints)
        if kind == AttributeProto.FLOATS:
            return list(attribute.floats)
        if kind == AttributeProto.STRINGS:
            return [s.decode("utf-8", "replace") for s in attribute.strings]
        if kind == AttributeProto.TENSOR:
            return self._stored(attribute.t, trained=False)
        if kind == AttributeProto.GRAPH:
            return attribute.g
        raise GraphError(f"attribute {attribute.name!r} has an unsupported type {kind!r}")


def _parse(path: Path) -> ModelProto:
    try:
        if not os.path.exists(path) or os.path.isdir(path):
            raise InputError(f"no such file: {str(path)!r}")
        check_regular(path)
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise InputError(f"{path.name}: an empty file, not an ONNX model")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                model = ModelProto()
                model.ParseFromString(without_weights(data))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        if isinstance(error, MalformedError):
            raise InputError(f"{path.name}: not an ONNX model, or truncated") from None
        raise InputError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None
    except (DecodeError, RecursionError, MemoryError):
        raise InputError(f"{path.name}: not an ONNX model, or truncated") from None
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise InputError(f"{path.name}: not an ONNX model: it has no graph")
    return model


def _read_external(place: Path, offset: int, length: int, model: str) -> bytes | None:
    """Return the few bytes of an external tensor; None where the file is absent."""
    if not length or length > 16 * MAX_READ_ELEMENTS:
        return None
    try:
        handle = os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{model}: cannot read external data {place.name!r}: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        if not os.path.isfile(place) or offset + length > os.fstat(handle).st_size:
            raise InputError(f"{model}: external data {place.name!r} is truncated")
        file.seek(offset)
        return file.read(length)
