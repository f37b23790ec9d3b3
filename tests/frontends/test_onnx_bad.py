"""ONNX files that are broken, hostile or not ONNX: one clear line, no hang, no other file read."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import roofline as rf
from roofline.errors import UnknownOpError

onnx = pytest.importorskip("onnx")

from onnx import ModelProto, TensorProto, helper  # noqa: E402
from onnx_files import ints, model, node, scalar, weight, write  # noqa: E402
from test_onnx import LIGHT, body  # noqa: E402

import roofline.frontends.onnx.rules  # noqa: E402  (fills the registry)
from roofline.frontends.onnx.registry import RULES  # noqa: E402

X = {"x": (2, 3)}


def fails(made: Any, folder: Path, match: str, **options: Any) -> rf.RooflineError:
    path = write(made, folder) if isinstance(made, ModelProto) else made
    start = time.perf_counter()
    with pytest.raises(rf.RooflineError, match=match) as caught:
        rf.from_onnx(path, **options)
    assert time.perf_counter() - start < 10
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08", b"PK\x03\x04" * 100, bytes(1000)])
def test_what_is_no_model(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    fails(tmp_path / "m.onnx", tmp_path, "not an ONNX model")
    fails(tmp_path / "absent.onnx", tmp_path, "no such file")
    fails(tmp_path, tmp_path, "no such file")


def test_a_truncated_model(tmp_path: Path) -> None:
    whole = (LIGHT / "light_resnet50.onnx").read_bytes()
    for length in (10, 1000, len(whole) // 2, len(whole) - 3):
        (tmp_path / "m.onnx").write_bytes(whole[:length])
        fails(tmp_path / "m.onnx", tmp_path, "light|m.onnx")


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (model([node("Relu", "z")], X), "'z', which nothing produces"),
        (model([node("Re\nlu", "z")], X), r"'Re\\nlu' .* reads 'z', which nothing produces"),
        (model([node("Relu", "y", "z"), node("Relu", "z", "y")], X), "cycle"),
        (model([node("Relu", "x"), node("Exp", "x")], X), "written by two nodes"),
        (model([node("Relu", "x", "x")], X), "cycle"),
        (model([node("MatMul", "x w")], X, [weight("w", 4, 5)]), "contracted dimensions disagree"),
        (model([node("Add", "x w")], X, [weight("w", 4, 5)]), "do not broadcast"),
        (model([node("Relu", "x")], {"x": (2**40, 2**40)}), "more than 2\\*\\*50 elements"),
        (model([node("Relu", "x")], {"x": (2, -5)}), "at least 0"),
        (model([node("Relu", "x")], {"x": (2, 0)}), "nothing to run"),
        (model([node("Add", "x w")], X, [weight("w", 2**33, 2**33)]), "more than 2\\*\\*50"),
        (model([node("Add", "x w")], X, [weight("w", -1)]), "at least 0"),
        (model([node("Expand", "x s")], X, [ints("s", 2**60, 2, 3)]), "more than 2\\*\\*50"),
        (model([node("ConstantOfShape", "s")], X, [ints("s", 2**62)]), "more than 2\\*\\*50"),
        (model([node("Reshape", "x s")], X, [ints("s", 4, -1)]), "cannot reshape 2x3 to 4x-1"),
        (model([node("Conv", "x w")], X, [weight("w", 4, 3, 1, 1)]), "do not convolve"),
        (model([node("NonZero", "x")], X), "depends on the data"),
        (model([node("Reshape", "x z")], {**X, "z": (2,)}), "known only during the run"),
        (model([node("Relu", "x")], {"x": ("N", 3)}), "dynamic dimensions 'N' \\(x\\[0\\]\\): pin them with dims="),
        (model([node("Relu", "x")], {"x": (None, 3)}), "pin them with dims=.'x\\[0\\]': 8"),
        (model([node("Gather", "x i")], X, [scalar("i", 7, np.int64)]), "out of range"),
        (model([node("Relu", "x", "a b")], X, outputs="b"), "output 1 of .* is not supported"),
        (model([node("Transpose", "x", perm=[0, 0])], X), "no permutation"),
        (model([node("MaxPool", "x", kernel_shape=[0, 0])], {"x": (1, 1, 4, 4)}), "kernel_shape"),
        (model([node("Softmax", "x", axis="no")], X), "wrong type"),
        (model([node("Conv", "x w", strides=[0, 1])], {"x": (1, 1, 4, 4)}, [weight("w", 1, 1, 1, 1)]), "positive"),
        (model([node("Relu", "x")], X, kinds={"x": TensorProto.STRING}), "string"),
        (model([], X), "no graph|which nothing produces"),
    ],
)
def test_a_graph_that_contradicts_itself(made: Any, match: str, tmp_path: Path) -> None:
    fails(made, tmp_path, match)


def test_all_unknown_operators_in_one_message(tmp_path: Path) -> None:
    nodes = [
        node("Magic", "x", "a", domain="my.company"), node("Relu", "a", "b"),
        node("Magic", "b", "c", domain="my.company"), node("Wonder", "x", "d"), node("Add", "c d"),
    ]  # fmt: skip
    error = fails(model(nodes, X, domains=["my.company"]), tmp_path, "no lowering")
    assert isinstance(error, UnknownOpError)
    assert "'my.company::Magic' x2, first at 'Magic_a' (2x3)" in str(error)
    assert "'Wonder' x1, first at 'Wonder_d' (2x3)" in str(error)
    assert "@lowering('Magic', domain='my.company')" in str(error)


@pytest.mark.parametrize("size", [-1, 2.0, True, 2**40])
def test_dims_are_checked(size: Any, tmp_path: Path) -> None:
    made = model([node("Relu", "x")], {"x": ("N", 3)})
    fails(made, tmp_path, "dimension 'N' cannot be", dims={"N": size})
    fails(made, tmp_path, "no dynamic dimension 'M'; (nearest|allowed): 'N'", dims={"N": 1, "M": 1})


def external(location: str, name: str = "w", dims: tuple[int, ...] = (3, 4), kind: int = 1, length: int = 48) -> Any:
    tensor = weight(name, *dims, kind=kind)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_absent_weights_are_enough(tmp_path: Path) -> None:
    path = write(model([node("MatMul", "x w")], X, [external("absent.bin")]), tmp_path)
    assert rf.from_onnx(path).macs == 2 * 3 * 4


def test_a_shape_in_external_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "d.bin").write_bytes(np.array([3, 2], dtype="<i8").tobytes())
    made = model([node("Reshape", "x s")], X, [external("d.bin", "s", (2,), TensorProto.INT64, 16)])
    graph = rf.from_onnx(write(made, tmp_path))
    assert graph.tensors[graph.outputs[0]].shape == (3, 2)
    (tmp_path / "d.bin").write_bytes(b"short")
    fails(made, tmp_path, "truncated")


@pytest.mark.parametrize(
    "location",
    ["/etc/hostname", "../secret.bin", "a/../../secret.bin", "C:\\secret", "..\\secret.bin", "", "a\0b", "link.bin",
     "folder/secret.bin"],
)  # fmt: skip
def test_external_data_stays_in_the_folder(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.bin").write_bytes(np.array([3, 2], dtype="<i8").tobytes())
    (tmp_path / "in" / "link.bin").symlink_to(tmp_path / "secret.bin")
    (tmp_path / "in" / "folder").symlink_to(tmp_path)
    opened: list[Any] = []
    monkeypatch.setattr(os, "open", lambda path, *rest: opened.append(path))
    tensor = external(location, "s", (2,), TensorProto.INT64, 16)
    fails(model([node("Reshape", "x s")], X, [tensor]), tmp_path / "in", "relative|outside|link")
    assert opened == []


@pytest.mark.parametrize("turns", [10**15, 2**62])
def test_a_loop_that_never_ends(turns: int, tmp_path: Path) -> None:
    inner = body([node("Relu", "h", "h2"), node("Identity", "c", "c2")], ["i", "c", "h"], ["c2", "h2"])
    fails(model([node("Loop", "n _ x", body=inner)], X, [ints("n", turns)]), tmp_path, "turns; allowed")


def test_a_loop_that_the_data_ends(tmp_path: Path) -> None:
    inner = body([node("Relu", "h", "h2"), node("Identity", "c", "c2")], ["i", "c", "h"], ["c2", "h2"])
    fails(model([node("Loop", "_ _ x", body=inner)], X), tmp_path, "depends on the data")
    branches = [body([node(op, "x", "a")], [], ["a"]) for op in ("Relu", "Exp")]
    made = model([node("If", "x", then_branch=branches[0], else_branch=branches[1])], {"x": ()})
    fails(made, tmp_path, "depends on the data")


def test_functions_that_explode_or_call_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model([node("F20", "x", domain="f")], X, domains=["f"])
    opset = [helper.make_opsetid("", 21), helper.make_opsetid("f", 1)]
    made.functions.append(helper.make_function("f", "F0", ["a"], ["b"], [node("Relu", "a", "b")], opset))
    for i in range(1, 21):
        calls = [node(f"F{i - 1}", "a", "t", domain="f"), node(f"F{i - 1}", "t", "b", domain="f")]
        made.functions.append(helper.make_function("f", f"F{i}", ["a"], ["b"], calls, opset))
    monkeypatch.setattr("roofline.frontends.onnx.writer.MAX_NODES", 5000)
    fails(made, tmp_path, "more than 5000 nodes")
    made.functions[0].node[0].CopyFrom(node("F20", "a", "b", domain="f"))
    fails(made, tmp_path, "calls itself")


@pytest.mark.parametrize(("depth", "match"), [(23, None), (28, "nested more than")])
def test_deep_nesting(depth: int, match: str | None, tmp_path: Path) -> None:
    leaf = body([node("Relu", "x", "a")], [], ["a"])
    inner = leaf
    for _ in range(depth - 1):
        inner = body([node("If", "c", "a", then_branch=inner, else_branch=leaf)], [], ["a"])
    made = model([node("If", "c", then_branch=inner, else_branch=leaf)], X, [scalar("c", True, np.bool_)])
    if match:
        fails(made, tmp_path, match)
    else:
        assert len(rf.from_onnx(write(made, tmp_path))) == 1


def test_many_large_constants_need_little_memory(tmp_path: Path) -> None:
    nodes = [node("ConstantOfShape", "s", f"c{i}") for i in range(3000)]
    nodes += [node("Expand", f"c{i} s", f"e{i}") for i in range(3000)] + [node("Add", "x e0")]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rf.from_onnx(write(model(nodes, {"x": (65_536,)}, [ints("s", 65_536)]), tmp_path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB


def test_names_that_collide(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "a"), node("Relu", "a", "b"), node("Relu", "b", "c"), node("Add", "c w")]
    for made, name in zip(nodes, ("x", "x", "x:0", "w"), strict=True):
        made.name = name
    graph = rf.from_onnx(write(model(nodes, X, [weight("w", 2, 3)]), tmp_path))
    graph.check_shapes()
    assert len(graph) == 4
    assert graph.params == 6


def outcome(path: Path) -> list[str]:
    """Return the lines that say what came of a file; any other error is a bug."""
    try:
        rf.from_onnx(path).check_shapes()
    except rf.RooflineError as error:
        return str(error).splitlines()
    return ["lowered"]


SEED = (LIGHT / "light_squeezenet.onnx").read_bytes()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.binary(min_size=1, max_size=3)), min_size=1, max_size=6)
)
def test_mutated_bytes(edits: list[tuple[int, bytes]], tmp_path: Path) -> None:
    data = bytearray(SEED)
    for at, new in edits:
        data[at : at + len(new)] = new
    (tmp_path / "m.onnx").write_bytes(data)
    assert len(outcome(tmp_path / "m.onnx")) == 1


OPERATORS = sorted(operator for domain, operator in RULES if not domain)
SIZES = st.sampled_from([-1, 0, 1, 2, 3, 4, 8, 2**31, 2**62])
VALUES = st.one_of(
    SIZES, st.floats(), st.lists(SIZES, max_size=4), st.sampled_from(["same", "SAME_UPPER", "ij,jk->ik"])
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["axis", "axes", "perm", "group", "strides", "pads", "kernel_shape", "dilations", "to", "keepdims",
                     "equation", "auto_pad", "blocksize", "mode", "num_heads", "hidden_size", "split", "value_ints"]),
    VALUES, max_size=3,
)  # fmt: skip
NODES = st.tuples(st.sampled_from(OPERATORS), st.lists(st.integers(0, 9), max_size=5), st.integers(1, 3), ATTRIBUTES)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    nodes=st.lists(NODES, min_size=1, max_size=6), shape=st.lists(st.integers(1, 5), max_size=5),
    sizes=st.lists(SIZES, min_size=1, max_size=4), opset=st.sampled_from([7, 9, 13, 21]),
)  # fmt: skip
def test_odd_graphs(nodes: list[Any], shape: list[int], sizes: list[int], opset: int, tmp_path: Path) -> None:
    names = ["x", "w", "i", ""]
    made = []
    for index, (op, inputs, count, attributes) in enumerate(nodes):
        outputs = [f"v{index}_{i}" for i in range(count)]
        picked = [names[i % len(names)] for i in inputs]
        made.append(helper.make_node(op, picked, outputs, **{k: v for k, v in attributes.items() if v != []}))
        names += outputs
    graph = model(made, {"x": shape}, [weight("w", *shape), ints("i", *sizes)], outputs=names[-1] or "x", opset=opset)
    assert len(outcome(write(graph, tmp_path))) == 1
