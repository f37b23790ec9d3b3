"""Work rules: one for every op, counted by hand, equal for numbers and columns, and never silently zero."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from example import Example
from op_examples import EXAMPLES

from roofline.errors import GraphError, RooflineError, UnknownOpError
from roofline.families import FAMILIES
from roofline.graph.builder import GraphBuilder
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import MatMul
from roofline.graph.tensor import Shape
from roofline.work import count, work_of
from roofline.work.functions import FUNCTIONS, function_ops
from roofline.work.registry import RULES, rule
from roofline.work.types import Work

each_example = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)


def op_types(base: type[Op] = Op) -> Iterator[type[Op]]:
    """Every op type that the package defines and a graph can hold."""
    for cls in base.__subclasses__():
        if cls.__module__.startswith("roofline.") and not inspect.isabstract(cls):
            yield cls
        yield from op_types(cls)


def work_of_example(example: Example, *sizes: float | np.ndarray) -> Work:
    graph = example.graph(*sizes)
    (op,) = (op for op in graph.ops.values() if type(op) is example.op)
    return work_of(op, *graph.arguments(op))


def amounts(work: Work) -> tuple[object, object, object]:
    return work.macs, work.simple_ops, work.transcendental_ops


# every op ------------------------------------------------------------------------------------------------------------


OP_TYPES = {cls.__name__: cls for cls in op_types()}


@pytest.mark.parametrize("op_type", OP_TYPES.values(), ids=OP_TYPES)
def test_every_op_has_a_rule_and_an_example(op_type: type[Op]) -> None:
    assert op_type in RULES, "register a rule in roofline/work"
    assert any(example.op is op_type for example in EXAMPLES.values()), "add one to tests/helpers/op_examples.py"


@each_example
def test_work_counted_by_hand(example: Example) -> None:
    assert amounts(work_of_example(example, *example.sizes)) == (
        example.macs,
        example.simple,
        example.transcendental,
    )


@each_example
def test_family_is_one_that_runtimes_know(example: Example) -> None:
    graph = example.graph(*example.sizes)
    assert {op.family for op in graph.ops.values()} <= set(FAMILIES)


@each_example
def test_stated_shapes_infer(example: Example) -> None:
    example.graph(*example.sizes).check_shapes()


@each_example
def test_a_column_equals_its_rows(example: Example) -> None:
    rows = [[size * factor for size in example.sizes] for factor in (1, 2, 6)]
    columns = [np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)]
    together = work_of_example(example, *columns)
    for i, row in enumerate(rows):
        alone = work_of_example(example, *row)
        for column, number in zip(amounts(together), amounts(alone), strict=True):
            assert np.broadcast_to(np.asarray(column), (3,))[i] == number


@each_example
def test_columns_of_every_integer_type_count_alike(example: Example) -> None:
    """Counts are floats from the start: a product of 32-bit columns would wrap at 2**31."""
    factor = 1000
    small = [np.array([size * factor], dtype=np.int32) for size in example.sizes]
    wide = [np.array([float(size * factor)]) for size in example.sizes]
    for narrow, exact in zip(
        amounts(work_of_example(example, *small)), amounts(work_of_example(example, *wide)), strict=True
    ):
        assert np.all(np.asarray(narrow) == np.asarray(exact))


@each_example
def test_doubling_any_dimension_never_lowers_work(example: Example) -> None:
    before = amounts(work_of_example(example, *example.sizes))
    for i in range(len(example.sizes)):
        larger = [size * (2 if i == j else 1) for j, size in enumerate(example.sizes)]
        after = amounts(work_of_example(example, *larger))
        assert all(float(b) >= float(a) for a, b in zip(before, after, strict=True)), f"dimension {i}"  # type: ignore[arg-type]


# functions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_cost_something(name: str) -> None:
    simple, transcendental = function_ops(name)
    assert simple >= 0 and transcendental >= 0
    assert simple + transcendental > 0 or name == "identity"


def test_composite_functions_cost_their_parts() -> None:
    assert function_ops("swish") == (function_ops("sigmoid")[0] + 1, 2)  # x * sigmoid(x)
    assert function_ops("relu6")[0] == 2 * function_ops("relu")[0]  # clamped on both sides
    assert function_ops("gelu_tanh") == (function_ops("tanh")[0] + 8, 1)  # x x x c, + x, c; tanh; + 1, x, / 2
    assert function_ops("gelu") == (function_ops("erf")[0] + 4, 1)  # / sqrt 2; erf; + 1, x, / 2
    assert function_ops("hard_swish") == (function_ops("hard_sigmoid")[0] + 1, 0)
    assert sum(function_ops("relu")) < sum(function_ops("hard_swish")) < sum(function_ops("swish"))


def test_an_unknown_function_is_an_error_with_the_nearest() -> None:
    b = GraphBuilder()
    graph = b.graph([b.activation("swosh", b.input("x", (2, 3)))])
    with pytest.raises(UnknownOpError, match="no work rule for element-wise function 'swosh'; nearest: 'swish'"):
        count(graph)


# ops without a rule --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold(Op):
    """An op that nobody has priced."""

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        return (shapes[0],)


@dataclass(frozen=True, kw_only=True, eq=False)
class Wavelet(Fold):
    """Another one; rules are not inherited."""


def strange_graph() -> OpGraph:
    b = GraphBuilder("strange")
    x = b.input("x", (2, 7))
    with b.scope("stage.1"):
        x = b.add_op("fold", Fold, x)
        x = b.add_op("wave", Wavelet, b.add_op("fold", Fold, x))
    return b.graph([x])


def test_an_unknown_op_names_itself_its_place_and_its_shapes() -> None:
    graph = strange_graph()
    op = graph.op("stage.1/fold")
    with pytest.raises(UnknownOpError) as caught:
        work_of(op, *graph.arguments(op))
    text = str(caught.value)
    assert "'Fold'" in text and "stage.1/fold" in text and "2x7" in text and "\n" not in text
    assert isinstance(caught.value, RooflineError) and isinstance(caught.value, NotImplementedError)


def test_all_unknown_ops_are_in_one_message() -> None:
    with pytest.raises(UnknownOpError) as caught:
        count(strange_graph())
    assert str(caught.value) == (
        "strange: no work rule for 'Fold' x2, first at 'stage.1/fold'; 'Wavelet' x1, first at 'stage.1/wave'"
    )


def test_a_second_rule_is_an_error() -> None:
    taken = next(iter(RULES))
    with pytest.raises(GraphError, match="two work rules"):
        rule(taken)(lambda op, inputs, outputs: Work())


# sums ----------------------------------------------------------------------------------------------------------------


def test_a_graph_is_the_sum_of_its_ops() -> None:
    b = GraphBuilder()
    x = b.conv(b.input("x", (1, 4, 4, 3)), 8, name="conv")
    graph = b.graph([b.relu(b.batch_norm(x))])
    total = count(graph)
    assert total.macs == graph.macs == 16 * 8 * 3
    assert total.vector_ops == 2 * 16 * 8 + 16 * 8  # scale and shift; relu


def test_a_loop_body_counts_as_often_as_it_runs() -> None:
    b = GraphBuilder()
    y = b.add_op("step", MatMul, b.input("x", (2, 4)), b.parameter("w", 4, 5), b.parameter("bias", 5), times=3)
    total = count(b.graph([y]))
    assert amounts(total) == (3 * 2 * 4 * 5, 3 * 2 * 5, 0)
