"""Sizes of ONNX's Resize by every policy, as the reference implementation of the onnx package computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_files import ints, model, node, write

import roofline as rf
from roofline.errors import InputError
from roofline.work import count

IMAGE = (1, 2, 6, 9)


def floats(name: str, *values: float) -> Any:
    return numpy_helper.from_array(np.array(values, dtype=np.float32), name)


def made(said: dict[str, Any], form: str, *values: float, roi: tuple[float, ...] = ()) -> Any:
    stored = [ints("n", *map(int, values)) if form == "sizes" else floats("n", *values), floats("r", *roi)]
    region = "r" if roi else "_"
    inputs = f"x {region} _ n" if form == "sizes" else f"x {region} n"
    return model([node("Resize", inputs, **said)], {"x": IMAGE}, stored, opset=19)


@pytest.mark.parametrize(
    "resize",
    [
        made({"mode": "linear"}, "sizes", 1, 2, 12, 5),
        made({"mode": "linear"}, "scales", 1, 1, 0.6, 1.9),
        made({"mode": "cubic", "axes": [3]}, "scales", 1.4),
        made({"mode": "nearest", "axes": [3, 2]}, "sizes", 20, 10),
        made({"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}, "sizes", 13, 13),
        made({"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": "not_smaller"}, "sizes", 13, 13),
        made({"mode": "nearest", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}, "sizes", 7, 8),
        made({"mode": "nearest", "axes": [2, 3], "keep_aspect_ratio_policy": "not_smaller"}, "sizes", 7, 8),
        made({"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}, "sizes", 1, 2, 3, 3,
             roi=(0, 0, 0.4, 0.6, 1, 1, 0.9, 0.9)),
        made({"mode": "linear", "antialias": 1}, "sizes", 1, 2, 3, 4),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_reference(resize: Any, tmp_path: Path) -> None:
    results: Any = ReferenceEvaluator(resize).run(None, {"x": np.zeros(IMAGE, np.float32)})
    expected = results[0].shape
    graph = rf.from_onnx(write(resize, tmp_path))
    n, height, width, channels = graph.tensors[graph.outputs[0]].shape
    assert (n, channels, height, width) == expected


def test_a_region_that_is_cropped_first_makes_the_result_smaller(tmp_path: Path) -> None:
    said = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    crop = made(said, "scales", 1, 1, 2, 2, roi=(0, 0, 0, 0, 1, 1, 0.5, 1 / 3))
    graph = rf.from_onnx(write(crop, tmp_path))
    assert graph.tensors[graph.outputs[0]].shape == (1, 6, 6, 2)  # floor(6 * 0.5 * 2), floor(9 / 3 * 2): Resize of ONNX


def simple_ops(made: Any, folder: Path) -> float:
    return float(count(rf.from_onnx(write(made, folder))).simple_ops)


def test_a_filter_against_aliasing_is_wider_where_the_image_shrinks(tmp_path: Path) -> None:
    small, filtered = ({"mode": "linear", **extra} for extra in ({}, {"antialias": 1}))
    elements = 1 * 2 * 2 * 3
    assert simple_ops(made(small, "sizes", 1, 2, 2, 3), tmp_path) == elements * 2 * (2 * 2)
    assert simple_ops(made(filtered, "sizes", 1, 2, 2, 3), tmp_path) == elements * 2 * (2 * 3 * 2 * 3)  # 6 / 2, 9 / 3
    larger = [simple_ops(made(said, "sizes", 1, 2, 12, 18), tmp_path) for said in (small, filtered)]
    assert larger[0] == larger[1]


def test_sizes_from_data_say_which_input_to_pin(tmp_path: Path) -> None:
    unknown = model([node("Resize", "x _ _ n")], {"x": IMAGE, "n": (4,)}, kinds={"n": 7})
    with pytest.raises(InputError, match=r"values=\{'n': ...\}"):
        rf.from_onnx(write(unknown, tmp_path))
