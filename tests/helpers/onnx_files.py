"""Small ONNX files for tests, written node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Dims = Sequence[int | str | None]


def node(op: str, inputs: str, outputs: str = "y", domain: str = "", **attributes: Any) -> NodeProto:
    """Return a node; names are separated by spaces, ``_`` is one that is left out."""
    read, written = ([("" if n == "_" else n) for n in text.split()] for text in (inputs, outputs))
    made = helper.make_node(op, read, written, **attributes)
    made.name, made.domain = f"{op}_{written[0]}", domain
    return made


def weight(name: str, *dims: int, kind: int = TensorProto.FLOAT) -> TensorProto:
    """Return a stored tensor without elements."""
    return TensorProto(name=name, dims=dims, data_type=kind)


def ints(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def scalar(name: str, value: Any, kind: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.array(value, dtype=kind), name)


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Dims],
    stored: Sequence[TensorProto] = (),
    outputs: str = "y",
    opset: int = 21,
    kinds: Mapping[str, int] | None = None,
    domains: Sequence[str] = (),
) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, (kinds or {}).get(n, TensorProto.FLOAT), d) for n, d in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs.split()],
        list(stored),
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets)


def write(made: ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path
