"""GELU that exporters wrote as five nodes, in the orders in which they do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx_files import model, node, scalar, write

import roofline as rf

STORED = [scalar(name, value) for name, value in (("root", np.sqrt(2)), ("one", 1), ("half", 0.5))]
STEPS = [node("Div", "x root", "d"), node("Erf", "d", "e"), node("Add", "e one", "a")]


def functions(path: Path, *, recognise: bool = True) -> list[str]:
    graph = rf.from_onnx(path, recognise=recognise)
    return [str(getattr(op, "function", op.kind)) for op in graph.ops.values()]


@pytest.mark.parametrize(
    "ends",
    [
        [node("Mul", "x a", "m"), node("Mul", "m half", "y")],  # (x (1 + erf)) / 2
        [node("Mul", "half x", "m"), node("Mul", "m a", "y")],  # (x / 2) (1 + erf)
        [node("Mul", "a half", "m"), node("Mul", "x m", "y")],  # x ((1 + erf) / 2)
    ],
)
def test_gelu_is_one_op_in_any_order_of_its_factors(ends: list[object], tmp_path: Path) -> None:
    path = write(model([*STEPS, *ends], {"x": (4, 8)}, STORED), tmp_path)  # type: ignore[list-item]
    assert functions(path) == ["gelu"]
    assert len(functions(path, recognise=False)) == 5


def test_what_somebody_else_reads_stays_apart(tmp_path: Path) -> None:
    ends = [node("Mul", "x a", "m"), node("Mul", "m half", "y"), node("Relu", "e", "z")]
    path = write(model([*STEPS, *ends], {"x": (4, 8)}, STORED, outputs="y z"), tmp_path)
    assert "gelu" not in functions(path) and "erf" in functions(path)


def test_another_tensor_in_the_place_of_x_is_no_gelu(tmp_path: Path) -> None:
    ends = [node("Mul", "w a", "m"), node("Mul", "m half", "y")]
    path = write(model([*STEPS, *ends], {"x": (4, 8), "w": (4, 8)}, STORED), tmp_path)
    assert "gelu" not in functions(path)
