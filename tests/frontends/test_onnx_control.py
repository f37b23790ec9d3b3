"""Loops and choices whose course is known at load, sequences, optional tensors, outputs that nobody reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper
from onnx_files import ints, model, node, scalar, weight, write

import roofline as rf
from roofline.errors import GraphError, InputError

X: dict[str, Any] = {"x": (2, 8)}
W = weight("w", 8, 8)
ENDLESS = scalar("endless", 2**63 - 1, np.int64)


def body(nodes: list[Any], inputs: str, outputs: str, stored: Any = ()) -> Any:
    infos: list[Any] = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in t.split()] for t in (inputs, outputs)
    ]
    return helper.make_graph(nodes, "body", infos[0], infos[1], list(stored))


def lowered(nodes: list[Any], folder: Path, stored: Any = (), shapes: Any = None, **options: Any) -> rf.OpGraph:
    return rf.from_onnx(write(model(nodes, shapes or X, stored, **options), folder))


def shape_of(graph: Any) -> tuple[Any, ...]:
    return tuple(graph.tensors[graph.outputs[0]].shape)


def test_a_loop_ends_where_its_counter_says(tmp_path: Path) -> None:
    """While i < 4, as TorchScript writes it: a trip count without end, and a condition for every turn."""
    inner = body([node("MatMul", "h w", "g"), node("Add", "i one", "j"), node("Less", "j four", "go")], "i c h", "go g")
    stored = [W, ENDLESS, scalar("one", 1, np.int64), scalar("four", 4, np.int64)]
    graph = lowered([node("Loop", "endless _ x", body=inner)], tmp_path, stored)
    assert graph.macs == 4 * 2 * 8 * 8
    assert graph.params == 8 * 8  # every turn reads the same matrix


def test_weights_of_a_body_are_there_once(tmp_path: Path) -> None:
    inner = body([node("MatMul", "h v", "g"), node("Less", "i two", "go")], "i c h", "go g", [weight("v", 8, 8)])
    graph = lowered([node("Loop", "endless _ x", body=inner)], tmp_path, [ENDLESS, scalar("two", 2, np.int64)])
    assert (graph.macs, graph.params) == (3 * 2 * 8 * 8, 8 * 8)


def test_a_loop_whose_condition_is_known_to_fail_runs_once(tmp_path: Path) -> None:
    inner = body([node("MatMul", "h w", "g"), node("Identity", "no", "go")], "i c h", "go g")
    graph = lowered([node("Loop", "n _ x", body=inner)], tmp_path, [W, ints("n", 9), scalar("no", False, np.bool_)])
    assert graph.macs == 2 * 8 * 8


def test_a_carried_tensor_may_grow(tmp_path: Path) -> None:
    """Generation: every turn appends a row to a cache, and multiplies all of it."""
    nodes = [node("Concat", "h x", "g", axis=0), node("MatMul", "g w", "s"), node("Identity", "c", "go")]
    nodes += [node("ReduceSum", "s", "t", keepdims=0)]
    grow = node("Loop", "n _ x", "y t", body=body(nodes, "i c h", "go g t"))
    graph = lowered([grow], tmp_path, [W, ints("n", 3)], outputs="y t")
    assert graph.macs == (4 + 6 + 8) * 8 * 8
    assert shape_of(graph) == (8, 8)


def test_a_condition_from_data_is_refused(tmp_path: Path) -> None:
    inner = body([node("Relu", "h", "g"), node("ReduceMax", "g", "m", keepdims=0), node("Less", "m one", "go")],
                 "i c h", "go g")  # fmt: skip
    with pytest.raises(InputError, match="number of turns depends on the data"):
        lowered([node("Loop", "endless _ x", body=inner)], tmp_path, [ENDLESS, scalar("one", 1.0)])


def test_like_branches_are_one(tmp_path: Path) -> None:
    branches = [body([node("MatMul", f"x {w}", "o")], "", "o") for w in "vw"]
    made = [node("If", "c", then_branch=branches[0], else_branch=branches[1])]
    graph = lowered(made, tmp_path, [W, weight("v", 8, 8)], {**X, "c": ()}, kinds={"c": TensorProto.BOOL})
    assert (graph.macs, graph.params) == (2 * 8 * 8, 8 * 8)
    with pytest.raises(InputError, match=r"depends on the data.*values="):
        lowered(made, tmp_path, [W, weight("v", 8, 9)], {**X, "c": ()}, kinds={"c": TensorProto.BOOL})


def test_sequences_are_counted(tmp_path: Path) -> None:
    nodes = [
        node("SplitToSequence", "x", "s", axis=0), node("SequenceErase", "s zero", "t"),
        node("SequenceInsert", "t z zero", "u"), node("SequenceAt", "u zero", "first"),
        node("SequenceLength", "u", "n"), node("Reshape", "n one", "m"), node("Expand", "first m", "wide"),
    ]  # fmt: skip
    stored = [scalar("zero", 0, np.int64), ints("one", 1)]
    graph = lowered(nodes, tmp_path, stored, {"x": (4, 8), "z": (5, 1)}, outputs="wide")
    assert shape_of(graph) == (5, 4)  # z, put in front, expanded to 3 + 1 columns
    double = body([node("MatMul", "a w", "b")], "a", "b")
    nodes = [node("SplitToSequence", "x", "s", axis=0), node("SequenceMap", "s", "t", body=double)]
    graph = lowered([*nodes, node("ConcatFromSequence", "t", axis=0)], tmp_path, [W], {"x": (3, 8)})
    assert graph.macs == 3 * 8 * 8 and shape_of(graph) == (3, 8)


def test_an_optional_tensor_is_there(tmp_path: Path) -> None:
    branches = [body([node(op, "g w" if op == "MatMul" else "g", "o")], "", "o") for op in ("MatMul", "Relu")]
    nodes = [node("Optional", "x", "p"), node("OptionalHasElement", "p", "c"), node("OptionalGetElement", "p", "g")]
    graph = lowered([*nodes, node("If", "c", then_branch=branches[0], else_branch=branches[1])], tmp_path, [W])
    assert graph.macs == 2 * 8 * 8


def test_outputs_that_nobody_reads_are_nothing(tmp_path: Path) -> None:
    nodes = [node("BatchNormalization", "x s b m v", "n mean var"), node("MatMul", "n w")]
    stored = [W, *(weight(name, 8) for name in "sbmv")]
    assert lowered(nodes, tmp_path, stored).macs == 2 * 8 * 8
    with pytest.raises(GraphError, match=r"output 1 of BatchNormalization .* is not supported"):
        lowered(nodes, tmp_path, stored, outputs="y mean")


@pytest.mark.parametrize(
    ("op", "kernel", "stride"), [("AveragePool", 2560, 2560), ("MaxPool", 3, 2), ("MaxPool", 5, 3)]
)
def test_a_window_may_end_outside_in_ceil_mode(op: str, kernel: int, stride: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pool = torch.nn.functional.max_pool2d if op == "MaxPool" else torch.nn.functional.avg_pool2d
    for size in (2, 3, 4, 7):
        nodes = [node(op, "x", kernel_shape=[kernel] * 2, strides=[stride] * 2, ceil_mode=1)]
        try:
            expected = tuple(pool(torch.ones(1, 1, size, size), kernel, stride, ceil_mode=True).shape[2:])
        except RuntimeError:  # no window starts inside
            with pytest.raises(rf.RooflineError, match="does not fit"):
                lowered(nodes, tmp_path, shapes={"x": (1, 1, size, size)})
            continue
        assert shape_of(lowered(nodes, tmp_path, shapes={"x": (1, 1, size, size)}))[1:3] == expected
