"""Work as a value: sums and multiples of every class, and the operands that sliding windows fetch."""

from __future__ import annotations

import dataclasses

import pytest
from op_examples import EXAMPLES

from roofline.graph.builder import GraphBuilder
from roofline.graph.op import Contraction
from roofline.graph.ops import Norm
from roofline.graph.tensor import Tensor
from roofline.work import count, work_of
from roofline.work.types import Work

SOME = Work(
    contractions=(Contraction(m=2, n=3, k=5, batch=7),),
    simple_ops=11.0,
    transcendental_ops=13.0,
    window_loads=17.0,
    gradient_loads=19.0,
)
MORE = Work(simple_ops=100.0, transcendental_ops=200.0, window_loads=300.0, gradient_loads=400.0)


def test_sums_and_multiples_of_every_class() -> None:
    both = SOME + MORE
    assert (both.macs, both.simple_ops, both.transcendental_ops, both.window_loads) == (2 * 3 * 5 * 7, 111, 213, 317)
    assert both.gradient_loads == 419
    assert both.vector_ops == 111 + 213
    thrice = SOME.scaled(3)
    assert thrice.gradient_loads == 57
    assert (thrice.macs, thrice.simple_ops, thrice.transcendental_ops, thrice.window_loads) == (630, 33, 39, 51)


def test_no_work_is_nothing_and_work_is_a_value() -> None:
    nothing = Work()
    assert nothing.gradient_loads == 0
    assert (nothing.macs, nothing.vector_ops, nothing.window_loads) == (0, 0, 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        nothing.simple_ops = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        Work((), 1.0)  # type: ignore[call-arg]


def loads(name: str) -> float:
    example = EXAMPLES[name]
    graph = example.graph(*example.sizes)
    (op,) = (op for op in graph.ops.values() if type(op) is example.op)
    return float(work_of(op, *graph.arguments(op)).window_loads)


def test_only_windows_without_a_product_fetch_again() -> None:
    assert loads("conv") == loads("grouped") == 0, "the matrix unit streams its operands"
    assert loads("depthwise") == 2 * (4 * 4) * 3 * (3 * 3)  # an operand per multiply-accumulate
    for name, example in EXAMPLES.items():
        if example.op.__name__ == "ConvTranspose":
            form = next(op for op in example.graph(*example.sizes).ops.values() if type(op) is example.op)
            assert loads(name) == (example.macs if getattr(form, "form", "") == "depthwise" else 0)
        if example.op.__name__ == "Resize" and example.simple:
            assert loads(name) == example.simple / 2, "each neighbour is fetched, multiplied and added"
        if example.op.__name__ == "Pool":
            assert loads(name) == example.simple


@pytest.mark.parametrize("affine", [1, 2])
def test_a_norm_with_any_trained_operand_scales(affine: int) -> None:

    b = GraphBuilder()
    weights: list[Tensor] = [b.parameter(f"w{i}", 6) for i in range(affine)]
    graph = b.graph([b.add_op("norm", Norm, b.input("x", (4, 6)), *weights)])
    assert count(graph).simple_ops == 4 * 6 * (5 + 2)  # statistics and normalisation 5, scale and shift 2


@pytest.mark.parametrize(("row", "comparisons"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 6), (8, 6)])
def test_rows_are_sorted_as_rows_of_the_next_power_of_two(row: int, comparisons: int) -> None:
    example = next(example for example in EXAMPLES.values() if example.op.__name__ == "Sort")
    sizes = (*example.sizes[:-1], row)
    graph = example.graph(*sizes)
    (op,) = (op for op in graph.ops.values() if type(op) is example.op)
    (x, *_), _ = graph.arguments(op)
    assert x.shape[-1] == row
    assert work_of(op, *graph.arguments(op)).simple_ops == float(x.elements) * comparisons
