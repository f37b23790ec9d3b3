"""Saved graphs: read back to the last bit, and nothing but a clear error from a damaged file."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from example import Example
from hypothesis import given
from hypothesis import strategies as st
from op_examples import EXAMPLES

import roofline as rf
from roofline.errors import GraphError, InputError, RooflineError
from roofline.graph.load import from_dict, load_graph
from roofline.graph.op import Op
from roofline.graph.ops import Attention, Elementwise
from roofline.graph.serial import SCHEMA_VERSION, as_dict, op_classes
from roofline.graph.tensor import Tensor
from roofline.reading import MOST_BYTES

MODELS = ("efficientnet-b0", "swin-t", "gpt2", "inception-v3", "vit-b-16")


def tiny() -> rf.OpGraph:
    b = rf.GraphBuilder("tiny")
    x = b.input("image", (1, 8, 8, 3))
    y = b.batch_norm(b.conv(x, 4, kernel=3, stride=2))
    y = b.concat([b.relu(y), b.activation("swish", y)])
    return b.graph([b.linear(b.mean(y, (1, 2), keep=False), 5)])


def read(content: object, path: Path) -> rf.OpGraph:
    path.write_text(json.dumps(content))
    return load_graph(path)


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_graph_costs_the_same_to_the_last_bit(name: str, tmp_path: Path) -> None:
    graph = rf.op_graph(name, batch=3)
    graph.save(tmp_path / "graph.json")
    again = rf.load_graph(tmp_path / "graph.json")
    assert as_dict(again) == as_dict(graph)
    assert again.order == graph.order and again.inputs == graph.inputs
    for device in ("tpu-v3", "a100-40gb"):
        a, b = rf.simulate(graph, device), rf.simulate(again, device)
        assert a.to_dict() == b.to_dict()
        assert a.kernels.equals(b.kernels)


def test_every_field_survives_with_its_type(tmp_path: Path) -> None:
    op = Attention(
        inputs=("q", "q", "q"), outputs=("o",), times=7, heads=2, kv_heads=2.0, causal=True
    )  # a whole and a float number stay what they are
    loop = Elementwise(inputs=("o",), outputs=("p",), function="relu", broadcast=(False,))
    tensors = {name: Tensor(id=name, shape=(1, 4, 8)) for name in "op"}
    tensors["q"] = Tensor(id="q", shape=(1, 4, 8), role="parameter", tied=True)
    graph = rf.OpGraph({"attention": op, "relu": loop}, tensors, ("p",), "typed")
    graph.save(tmp_path / "g.json")
    again = rf.load_graph(tmp_path / "g.json").op("attention")
    for f in fields(op):
        old, new = getattr(op, f.name), getattr(again, f.name)
        assert new == old and type(new) is type(old)
    assert rf.load_graph(tmp_path / "g.json").tensors["q"].tied


def test_every_kind_is_unique_and_known() -> None:
    kinds = op_classes()
    assert {"conv", "matmul", "attention", "embedding", "sort", "resize"} <= set(kinds)
    assert all(issubclass(cls, Op) and cls.kind == kind for kind, cls in kinds.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(schema_version=SCHEMA_VERSION + 1), "schema version 2"),
        (lambda c: c.update(format="onnx"), "not a saved graph"),
        (lambda c: c.update(extra=1), "unknown key 'extra'"),
        (lambda c: c["ops"][0].update(kind="convv"), "nearest: 'conv'"),
        (lambda c: c["ops"][0].pop("kernel"), "lacks 'kernel'"),
        (lambda c: c["ops"][0].update(kernel="3x3"), "kernel of op 'conv' must be"),
        (lambda c: c["ops"][0].update(times=0), "times"),
        (lambda c: c["ops"][0].update(stride=[0, 0]), "conv"),
        (lambda c: c["tensors"][0].update(dtype="fp33"), "nearest: 'fp32'"),
        (lambda c: c["tensors"][0].update(role="weight"), "unknown role"),
        (lambda c: c["tensors"][0].update(shape=[1 << 50, 1 << 50]), "out of range"),
        (lambda c: c["tensors"][0].update(shape=[10**400]), "shape of tensor"),
        (lambda c: c["tensors"][0].update(shape=[1, 9, 8, 3]), "inferred"),
        (lambda c: c["tensors"].append(c["tensors"][0]), "there twice"),
        (lambda c: c["ops"].append(c["ops"][0]), "there twice"),
        (lambda c: c["ops"][1].update(inputs=["nowhere"]), "nowhere"),
        (lambda c: c["ops"][0].update(inputs=[c["ops"][-1]["outputs"][0], "conv.weight"]), "cycle"),
        (lambda c: c.update(outputs=["nowhere"]), "nowhere"),
        (lambda c: c.update(ops={}), "list of objects"),
    ],
)
def test_a_changed_file_is_refused_in_one_line(change: Any, message: str, tmp_path: Path) -> None:
    content = copy.deepcopy(as_dict(tiny()))
    change(content)
    with pytest.raises(RooflineError) as caught:
        read(content, tmp_path / "graph.json")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"format": NaN}', b'{"a": 1, "a": 2}', b"1" * 5000, b'"graph"', b"null"],
)
def test_what_is_no_json_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    path.write_bytes(data)
    with pytest.raises(GraphError):
        load_graph(path)


def test_a_missing_file_and_a_huge_one_are_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="cannot read"):
        load_graph(tmp_path / "missing.json")
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(GraphError, match="more than"):
        load_graph(tmp_path / "huge.json")


def test_columns_are_not_saved(tmp_path: Path) -> None:
    import numpy as np

    b = rf.GraphBuilder("columns")
    x = b.input("x", (np.array([1.0, 2.0]), 4))
    with pytest.raises(InputError, match="column"):
        b.graph([b.relu(x)]).save(tmp_path / "g.json")
    assert not (tmp_path / "g.json").exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to every value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for key, v in inner for p in places(v, (*path, key)))]


CONTENT = as_dict(tiny())
PLACES = [p for p in places(CONTENT) if p]


ODD = st.sampled_from([-1, 0, 1 << 60, 0.5, [], [0], [[1]], "conv", "fp32"])


@given(place=st.sampled_from(PLACES), value=JSON | ODD)
def test_whatever_a_value_becomes_only_our_errors_escape(place: tuple[Any, ...], value: Any) -> None:
    content = copy.deepcopy(CONTENT)
    inner: Any = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    try:
        graph = from_dict(content)
    except RooflineError:
        return
    assert as_dict(graph)["tensors"] is not None
    assert isinstance(graph.macs, (int, float))


@given(start=st.integers(0, 4000), data=st.binary(max_size=8))
def test_whatever_bytes_change_only_our_errors_escape(start: int, data: bytes) -> None:
    import tempfile

    text = bytearray(json.dumps(CONTENT).encode())
    text[start : start + len(data)] = data
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g.json"
        path.write_bytes(bytes(text))
        try:
            load_graph(path)
        except RooflineError:
            return


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_an_op_without_inputs_is_refused_or_runs(example: Example) -> None:
    content = as_dict(example.graph(*example.sizes))
    for op in content["ops"]:
        op["inputs"] = []
    with suppress(RooflineError):
        assert 0 <= rf.simulate(from_dict(content), "v100").latency_s < float("inf")
