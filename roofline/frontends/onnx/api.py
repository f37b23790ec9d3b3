"""`from_onnx`: a file becomes an op graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnx import ValueInfoProto

from roofline.errors import GraphError, InputError, RooflineError, nearest
from roofline.frontends.onnx import rules as _rules  # noqa: F401  (fills the registry)
from roofline.frontends.onnx.file import ModelFile
from roofline.frontends.onnx.images import image_inputs
from roofline.frontends.onnx.reader import MALFORMED, Lowerer
from roofline.frontends.onnx.values import Dims, Value, check_shape, dtype_of
from roofline.frontends.onnx.views import channels_last, identity, stored
from roofline.graph.opgraph import OpGraph
from roofline.graph.writer import assembled, needed

#: size of a pinned dimension beyond which it is a mistake
MAX_DIM = 2**31


def load(
    path: str | Path, *, dims: Mapping[str, int] | None, name: str | None, recognise: bool
) -> tuple[OpGraph, dict[str, str]]:
    """Return the op graph of a file, and the node that each op comes from; see `roofline.frontends.onnx.traced`."""
    file = ModelFile(path)
    graph = file.model.graph
    pinned = _Pinned(file.name, dims or {})
    stored_names = {t.name for t in graph.initializer}
    declared = [i for i in graph.input if i.name not in stored_names]
    sizes = {i.name: pinned.shape(i) for i in declared}
    pinned.check()
    lowerer = Lowerer(file, recognise=recognise)
    images = image_inputs(graph)
    for info in declared:
        shape, dtype = sizes[info.name], dtype_of(info.type.tensor_type.elem_type)
        order = channels_last(len(shape)) if info.name in images else identity(len(shape))
        tensor = lowerer.leaf(info.name, stored(shape, order), dtype, "input")
        lowerer.names.define(info.name, Value(shape=shape, dtype=dtype, tensor=tensor, order=order))
    try:
        lowerer.graph(graph, lowerer.names)
    except MALFORMED as error:
        if isinstance(error, RooflineError):
            raise
        raise GraphError(f"{file.name}: malformed ({type(error).__name__})") from error
    lowerer.report_missing()
    outputs = [_returned(lowerer, value) for o in graph.output if (value := lowerer.names.find(o.name)) is not None]
    return _pruned(lowerer, outputs, name or Path(path).stem), lowerer.origins


def _returned(lowerer: Lowerer, value: Value) -> list[str]:
    """Return the tensors of an output; in neither memory order it is copied into the written one."""
    if value.parts is not None:
        return [t for part in value.parts for t in _returned(lowerer, part)]
    lowerer.place = "output"
    if value.tensor is None:
        return [lowerer.read(value).id]
    if value.order != channels_last(value.rank):
        value = lowerer.copied(value)
    return [lowerer.read(value, value.order).id]


def _pruned(lowerer: Lowerer, outputs: list[list[str]], name: str) -> OpGraph:
    """Return the graph without what no output needs: runtimes drop it too."""
    ids = tuple(dict.fromkeys(t for group in outputs for t in group))
    if not ids:
        raise GraphError(f"{lowerer.file.name}: the graph has no outputs")
    return assembled(needed(lowerer.ops, ids), lowerer.tensors, ids, name)


class _Pinned:
    """Dimensions that the caller fixes, and those that nobody has fixed yet."""

    def __init__(self, file: str, dims: Mapping[str, int]) -> None:
        self.file = file
        self.dims = dict(dims)
        for key, size in self.dims.items():
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_DIM:
                raise InputError(f"dimension {key!r} cannot be {size!r}; allowed: an integer from 1 to {MAX_DIM}")
        self.open: dict[str, str] = {}
        self.names: set[str] = set()

    def shape(self, info: ValueInfoProto) -> Dims:
        """Return the shape of an input, dynamic dimensions pinned."""
        kind = info.type.WhichOneof("value")
        if kind != "tensor_type" or not info.type.tensor_type.HasField("shape"):
            what = "states no shape" if kind == "tensor_type" else "is no tensor"
            raise InputError(f"{self.file}: input {info.name!r} {what}")
        found = []
        for axis, dim in enumerate(info.type.tensor_type.shape.dim):
            place = f"{info.name}[{axis}]"
            if dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0:
                found.append(int(dim.dim_value))
                continue
            if dim.WhichOneof("value") == "dim_value" and dim.dim_value != -1:
                raise InputError(f"{self.file}: dimension {place!r} is {dim.dim_value}; allowed: at least 1")
            key = dim.dim_param or place
            self.names.update((key, place))
            if key not in self.dims and place not in self.dims:
                self.open.setdefault(key, place)
            found.append(self.dims.get(place, self.dims.get(key, 1)))
        return check_shape(tuple(found), f"{self.file}: input {info.name!r}")

    def check(self) -> None:
        """Raise unless every dynamic dimension is pinned, and every pinned one is dynamic."""
        if self.open:
            listed = ", ".join(f"{key!r} ({place})" if key != place else repr(key) for key, place in self.open.items())
            example = ", ".join(f"{key!r}: 8" for key in self.open)
            raise InputError(f"{self.file}: dynamic dimensions {listed}: pin them with dims={{{example}}}")
        for key in self.dims:
            if key not in self.names:
                fixed = nearest(key, self.names) or "; the model has no dynamic dimensions"
                raise InputError(f"{self.file}: no dynamic dimension {key!r}{fixed}")
