"""What is said of an ONNX file's inputs: sizes by name, by place and by expression; whole shapes, values, emptiness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper
from onnx_files import ints, model, node, scalar, weight, write

import roofline as rf
from roofline.errors import InputError
from roofline.frontends.onnx.dimensions import parts, size_of

INT64, BOOL = TensorProto.INT64, TensorProto.BOOL


def lowered(made: Any, folder: Path, **said: Any) -> rf.OpGraph:
    return rf.from_onnx(write(made, folder), **said)


def shape_of(graph: Any) -> tuple[Any, ...]:
    return tuple(graph.tensors[graph.outputs[0]].shape)


@pytest.mark.parametrize(
    ("text", "size"),
    [("past + length", 10), ("2*past", 14), ("past // 2", 3), ("Max(1, past - 9)", 1), ("floor(past/2) + 1", 4),
     ("(past + length) / 2", 5), ("ceil(past/2)", 4), ("-past + 10", 3), ("past % 4", 3)],
)  # fmt: skip
def test_expressions_are_computed_from_their_names(text: str, size: int) -> None:
    assert size_of(text, {"past": 7, "length": 3}) == size


@pytest.mark.parametrize("text", ["N", "batch size", "s.0", "a**b", "__import__('os')", "f(x)", "[a]", "(" * 300, "7"])
def test_other_names_are_mere_names(text: str) -> None:
    assert parts(text) == frozenset()


def test_what_has_no_value_is_refused() -> None:
    for text in ("past / 2", "past // 0", "past % 0"):
        with pytest.raises(InputError, match="dimension"):
            size_of(text, {"past": 7})


def decoder(mask: str = "past + length") -> Any:
    """A cache of keys, the new ones behind it, masked by the length of both."""
    nodes = [
        node("Concat", "cache new", "keys", axis=1),
        node("Mul", "keys mask", "masked"),
        node("MatMul", "masked w"),
    ]
    shapes = {"cache": ("N", "past", 8), "new": ("N", "length", 8), "mask": ("N", mask, 1)}
    return model(nodes, shapes, [weight("w", 8, 5)])


def test_a_dimension_follows_from_its_parts(tmp_path: Path) -> None:
    said = {"N": 2, "past": 7, "length": 3}
    graph = lowered(decoder(), tmp_path, dims=said)
    assert graph.macs == 2 * 10 * 8 * 5
    assert lowered(decoder(), tmp_path, dims={**said, "past + length": 10}).macs == graph.macs
    with pytest.raises(InputError, match="is 11, but what it is made of gives 10"):
        lowered(decoder(), tmp_path, dims={**said, "past + length": 11})
    with pytest.raises(InputError, match=r"dynamic dimensions 'length' \(new\[1\]\): pin"):
        lowered(decoder(), tmp_path, dims={"N": 2, "past": 7})
    made = model([node("Relu", "x")], {"x": ("heads * 4", 3)})
    assert shape_of(lowered(made, tmp_path, dims={"heads": 2})) == (8, 3)
    assert shape_of(lowered(made, tmp_path, dims={"heads * 4": 5})) == (5, 3)


def test_a_past_of_length_zero_is_left_out(tmp_path: Path) -> None:
    graph = lowered(decoder(), tmp_path, dims={"N": 2, "past": 0, "length": 3})
    assert graph.macs == 2 * 3 * 8 * 5
    assert [op.kind for op in graph.ops.values()] == ["elementwise", "matmul"]
    assert "cache" not in graph.tensors


def test_a_fixed_dimension_is_overridden_by_place(tmp_path: Path) -> None:
    made = model([node("Conv", "x w", pads=[1, 1, 1, 1])], {"x": (1, 3, 32, 32)}, [weight("w", 4, 3, 3, 3)])
    assert lowered(made, tmp_path, dims={"x[2]": 64, "x[3]": 48}).macs == 64 * 48 * 4 * 27
    assert lowered(made, tmp_path, dims={"x": (2, 3, 8, 8)}).macs == 2 * 8 * 8 * 4 * 27
    with pytest.raises(InputError, match="'x' has 4 axes, not 2"):
        lowered(made, tmp_path, dims={"x": (2, 3)})
    with pytest.raises(InputError, match="no input 'z'"):
        lowered(made, tmp_path, dims={"z": (2, 3)})


def test_an_input_without_a_shape(tmp_path: Path) -> None:
    made = model([node("MatMul", "x w")], {}, [weight("w", 8, 4)])
    made.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, None))
    with pytest.raises(InputError, match=r"states no shape: give it with dims=\{'x': \(1, 3, 224, 224\)\}"):
        lowered(made, tmp_path)
    assert lowered(made, tmp_path, dims={"x": (2, 8)}).macs == 2 * 8 * 4
    assert lowered(made, tmp_path, dims={"x[1]": 8, "x[0]": 3}).macs == 3 * 8 * 4
    with pytest.raises(InputError, match="states no shape"):
        lowered(made, tmp_path, dims={"x[1]": 8})


def test_pinned_values_decide_sizes(tmp_path: Path) -> None:
    made = model([node("Resize", "x _ _ sizes", mode="nearest")], {"x": (1, 3, 8, 8), "sizes": (4,)},
                 kinds={"sizes": INT64})  # fmt: skip
    graph = lowered(made, tmp_path, values={"sizes": [1, 3, 20, 24]})
    assert shape_of(graph) == (1, 20, 24, 3) and graph.inputs == ("x",)
    with pytest.raises(InputError, match=r"or pin its value with values=\{'sizes': ...\}"):
        lowered(made, tmp_path)
    half = [node("Div", "rate two", "n"), node("Range", "zero n one", "steps"), node("Gather", "x steps", axis=0)]
    stored = [scalar(name, value, np.int64) for name, value in (("zero", 0), ("one", 1), ("two", 2))]
    made = model(half, {"x": (9, 4), "rate": ()}, stored, kinds={"rate": INT64})
    assert shape_of(lowered(made, tmp_path, values={"rate": 6})) == (3, 4)


def test_a_value_pins_the_dimensions_of_its_input(tmp_path: Path) -> None:
    nodes = [node("NonZero", "mask", "i"), node("Squeeze", "i zero", "j"), node("Gather", "x j", axis=0)]
    made = model(nodes, {"x": ("T", 4), "mask": ("T",)}, [ints("zero", 0)], kinds={"mask": BOOL})
    assert shape_of(lowered(made, tmp_path, values={"mask": [True, False, True]})) == (2, 4)
    assert shape_of(lowered(made, tmp_path, dims={"T": 5}, values={"mask": True})) == (5, 4)  # one fills all


@pytest.mark.parametrize(
    ("values", "match"),
    [({"n": "x"}, "cannot be 'x'"), ({"n": 1.5}, "cannot be '1.5'"), ({"n": float("nan")}, "cannot be"),
     ({"n": [[1], [2, 3]]}, "cannot be"), ({"n": 10**30}, "cannot be"), ({"n": [1, 2]}, "'n' is 3, its value 2"),
     ({"m": 1}, "no input 'm'; (nearest|allowed): ")],
)  # fmt: skip
def test_values_that_do_not_fit(values: Any, match: str, tmp_path: Path) -> None:
    made = model([node("Reshape", "x n")], {"x": (2, 3, 4), "n": (3,)}, kinds={"n": INT64})
    with pytest.raises(InputError, match=match):
        lowered(made, tmp_path, values=values)
