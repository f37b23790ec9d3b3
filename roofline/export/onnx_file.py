"""Writing an ONNX file: weights drawn one after the other, beside the file where it would grow too large."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, checker, external_data_helper, helper, numpy_helper

from roofline.export.network import Network
from roofline.export.onnx_graph import onnx_nodes
from roofline.export.onnx_nodes import IR_VERSION, OPSET, Nodes, Weight
from roofline.files import atomic
from roofline.numeric import product

#: bytes of weights that stay inside the file: protobuf reads no message beyond 2 GiB
MOST_INSIDE = 1 << 30
#: numbers that are drawn at once
CHUNK = 1 << 22
#: deviations beyond which a truncated normal is drawn again
CUT = 2.0


def write_onnx(network: Network, path: Path, *, weights: bool = True) -> list[Path]:
    """Write a network and return the files that were written.

    Parameters
    ----------
    network
        The network with the order of its channels stated.
    path
        The file; weights of more than a GiB lie beside it, in ``PATH.data``.
    weights
        Whether weights are written; without them the file states their shapes and that they lie in ``PATH.data``.

    Raises
    ------
    InputError
        The file cannot be written.
    UnknownOpError
        A layer that has no form in ONNX.
    """
    nodes = onnx_nodes(network)
    size = 4 * sum(int(product(w.shape)) for w in nodes.weights)
    data = path.with_name(f"{path.name}.data")
    if weights and size <= MOST_INSIDE:
        stored = [numpy_helper.from_array(drawn(w, truncated=network.recipe.truncated), w.name) for w in nodes.weights]
        model = _model(network, nodes, stored)
        checker.check_model(model)
        _write(path, model)
        return [path]
    stored, offset = [], 0
    for weight in nodes.weights:
        tensor = TensorProto(name=weight.name, dims=weight.shape, data_type=TensorProto.FLOAT)
        length = 4 * int(product(weight.shape))
        tensor.raw_data = b""
        external_data_helper.set_external_data(tensor, location=data.name, offset=offset, length=length)
        tensor.ClearField("raw_data")
        stored.append(tensor)
        offset += length
    if weights:
        with atomic(data) as temporary, temporary.open("wb") as file:
            for weight in nodes.weights:
                _stream(file, weight, truncated=network.recipe.truncated)
    _write(path, _model(network, nodes, stored))
    return [path, data] if weights else [path]


def _write(path: Path, model: ModelProto) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _model(network: Network, nodes: Nodes, stored: list[TensorProto]) -> ModelProto:
    inputs = []
    for tensor in network.entering:
        _, *shape = (int(d) for d in tensor.shape)
        whole = tensor.dtype.kind != "float"
        shape = shape if whole else [shape[-1], *shape[:-1]]
        inputs.append(
            helper.make_tensor_value_info(tensor.id, TensorProto.INT64 if whole else TensorProto.FLOAT, ["N", *shape])
        )
    outputs = []
    shapes = {t: s for layer in network.root.layers() for t, s in zip(layer.outputs, layer.shapes, strict=True)}
    for name in network.root.outputs:
        sizes: list[str | int | None] = ["N", *(int(d) for d in shapes[name][1:])]
        outputs.append(helper.make_tensor_value_info(name.removesuffix(":0"), TensorProto.FLOAT, sizes))
    graph = helper.make_graph(nodes.nodes, network.name, inputs, outputs, stored)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="roofline")


def drawn(weight: Weight, *, truncated: bool) -> NDArray[np.float32]:
    """Return the numbers of a weight: the same ones each time, for they are drawn by its name."""
    return np.concatenate(list(_chunks(weight, truncated=truncated))).reshape(weight.shape)


def _stream(file: BinaryIO, weight: Weight, *, truncated: bool) -> None:
    for chunk in _chunks(weight, truncated=truncated):
        file.write(chunk.astype("<f4").tobytes())


def _chunks(weight: Weight, *, truncated: bool) -> Iterator[NDArray[np.float32]]:
    count = int(product(weight.shape))
    random = np.random.default_rng(zlib.crc32(weight.name.encode()))
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        if weight.deviation:
            yield _normal(random, size, truncated=truncated) * np.float32(weight.deviation)
        else:
            yield np.full(size, weight.value, dtype=np.float32)


def _normal(random: np.random.Generator, size: int, *, truncated: bool) -> NDArray[np.float32]:
    values = random.standard_normal(size, dtype=np.float32)
    while truncated and (far := np.abs(values) > CUT).any():
        values[far] = random.standard_normal(int(far.sum()), dtype=np.float32)
    return values
