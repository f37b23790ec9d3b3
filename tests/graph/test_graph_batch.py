"""Another batch for a lowered graph: equal to lowering again, and refused where examples mix."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import roofline as rf
from roofline.engine.options import RunOptions
from roofline.errors import InputError
from roofline.graph.indexing import Fill, Gather, Sort
from roofline.graph.movement import Expand, Move
from roofline.graph.ops import Elementwise
from roofline.graph.reshaping import reshaped
from roofline.graph.tensor import Tensor

#: a network of every family whose graph takes another way through the rules
SAMPLE = (
    "efficientnet-b0", "efficientnet-x-b0", "efficientnetv2-s", "mobilenetv3-large", "resnet-50", "resnext-50-32x4d",
    "resnet-rs-50", "regnety-400mf", "convnext-t", "inception-v3", "vit-b-16", "deit-ti-16", "swin-t", "bert-base",
    "gpt2",
)  # fmt: skip
Build = Callable[[rf.GraphBuilder, Tensor], Tensor]


@pytest.mark.parametrize("old", [1, 2, 3])
@pytest.mark.parametrize("name", SAMPLE)
def test_another_batch_is_what_lowering_again_gives(name: str, old: int) -> None:
    grown, again = rf.op_graph(name, batch=old).with_batch(8), rf.op_graph(name, batch=8)
    assert {t.id: t.shape for t in grown.tensors.values()} == {t.id: t.shape for t in again.tensors.values()}
    assert grown.macs == again.macs and grown.params == again.params
    there_and_back = grown.with_batch(old)
    assert {t.id: t.shape for t in there_and_back.tensors.values()} == {
        t.id: t.shape for t in rf.op_graph(name, batch=old).tensors.values()
    }


@pytest.mark.parametrize("name", ["resnet-50", "vit-b-16"])
def test_simulating_a_graph_at_another_batch_spreads_it_over_the_cores(name: str) -> None:
    by_graph = rf.simulate(rf.op_graph(name, batch=1), "tpu-v3", batch=9)
    by_name = rf.simulate(name, "tpu-v3", batch=9)
    assert (by_graph.batch, by_graph.cores, by_graph.idle_cores) == (9, 2, 0)
    assert by_graph.macs == pytest.approx(by_name.macs) and by_graph.latency_s == pytest.approx(
        by_name.latency_s, rel=0.01
    )


def test_a_graph_that_mixes_examples_runs_on_one_core_unless_asked_otherwise() -> None:
    b = rf.GraphBuilder("mixed")
    graph = b.graph([b.mean(b.input("x", (4, 8)), (0,))])
    assert rf.simulate(graph, "tpu-v3").cores == 1
    asked: tuple[RunOptions, ...] = ({"cores": 2}, {"batch": 8})
    for options in asked:
        with pytest.raises(InputError, match="cannot be changed at op 'mean'"):
            rf.simulate(graph, "tpu-v3", **options)


def graph_of(build: Build, shape: tuple[int, ...]) -> rf.OpGraph:
    b = rf.GraphBuilder("g")
    return b.graph([build(b, b.input("x", shape))])


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda b, x: b.mean(x, (0,)), "reduced over"),
        (lambda b, x: b.part(x, 1, axis=0), "is cut"),
        (lambda b, x: b.slice(x, 2, axis=0), "is cut"),
        (lambda b, x: b.concat([x, x], axis=0), "concatenated"),
        (lambda b, x: b.linear(b.move("transpose", x, (6, 4)), 3), "summed over"),
        (lambda b, x: b.add_op("softmax", rf_softmax(), b.move("transpose", x, (6, 4))), "inside a row"),
        (lambda b, x: b.add_op("sort", Sort, b.reshape(x, (24,))), "inside a row"),
        (lambda b, x: b.elementwise("add", x, b.parameter("p", 4, 6), broadcast=(False, False)), "does not grow"),
        (lambda b, x: b.add_op("gather", Gather, b.parameter("p", 9, 6), x, shape=(6, 6)), "picked from"),
        (lambda b, x: b.move("transpose", b.move("transpose", x, (6, 4)), (3, 8)), "ambiguous"),
    ],
)
def test_what_mixes_examples_is_refused_by_name(build: Build, why: str) -> None:
    with pytest.raises(InputError) as caught:
        graph_of(build, (4, 6)).with_batch(8)
    message = str(caught.value)
    assert why in message and "lower the program again" in message and "\n" not in message


def rf_softmax() -> type:
    from roofline.graph.ops import Softmax

    return Softmax


@pytest.mark.parametrize("batch", [0, -1, True, 1.5, 1 << 30])
def test_a_batch_is_a_whole_number(batch: object) -> None:
    with pytest.raises(InputError, match="whole number"):
        rf.op_graph("resnet-18").with_batch(batch)  # type: ignore[arg-type]


def test_zeros_of_the_batch_size_grow_where_they_are_used() -> None:
    def build(b: rf.GraphBuilder, x: Tensor) -> Tensor:
        zeros = Tensor(id="zeros:0", shape=(4, 6))
        b.tensors["zeros:0"] = zeros
        b.ops["zeros"] = Fill(inputs=(), outputs=("zeros:0",), shape=(4, 6))
        doubled = b.elementwise("exp", zeros, broadcast=(False,))
        return b.add_op("sum", Elementwise, x, doubled, function="add", broadcast=(False, False))

    grown = graph_of(build, (4, 6)).with_batch(16)
    assert grown.tensors["zeros:0"].shape == (16, 6)


def test_a_class_token_is_repeated_for_every_example_also_from_one() -> None:
    def build(b: rf.GraphBuilder, x: Tensor) -> Tensor:
        return b.concat([b.parameter("token", 1, 1, 6), x], axis=1)

    grown = graph_of(build, (1, 4, 6)).with_batch(5)
    assert grown.tensors[grown.outputs[0]].shape == (5, 5, 6)
    assert any(isinstance(op, Expand) for op in grown.ops.values())


@pytest.mark.parametrize("old", [2, 3])
def test_positions_with_a_row_for_each_example_grow_or_are_refused(old: int) -> None:
    """Angles (N, 1, T, C) beside queries (N, heads, T, C): as many rows as examples, not one for all."""

    def rotated(angles: Callable[[rf.GraphBuilder], Tensor]) -> rf.OpGraph:
        def build(b: rf.GraphBuilder, x: Tensor) -> Tensor:
            return b.add_op("rotate", Elementwise, x, angles(b), function="mul", broadcast=(False, True))

        return graph_of(build, (old, 2, 5, 4))

    def repeated(b: rf.GraphBuilder) -> Tensor:
        table = b.add_op("cos", Elementwise, b.parameter("table", 1, 1, 5, 4), function="cos", broadcast=(False,))
        return b.add_op("repeat", Expand, table, shape=(old, 1, 5, 4))

    grown = rotated(repeated).with_batch(7)
    assert [grown.tensors[t].shape for t in grown.op("rotate").inputs] == [(7, 2, 5, 4), (7, 1, 5, 4)]
    assert rotated(lambda b: b.parameter("one", 1, 1, 5, 4)).with_batch(7).tensors["one"].shape == (1, 1, 5, 4)
    with pytest.raises(InputError, match="'rows' does not grow with the batch"):
        rotated(lambda b: b.parameter("rows", old, 1, 5, 4)).with_batch(7)


def test_a_scores_matrix_between_examples_grows_with_the_square() -> None:
    def build(b: rf.GraphBuilder, x: Tensor) -> Tensor:
        from roofline.graph.ops import MatMul

        return b.add_op("similarity", MatMul, b.reshape(x, (1, 4, 6)), b.add_op("t", Move, x, function="transpose",
                        shape=(1, 6, 4)))  # fmt: skip

    assert graph_of(build, (4, 6)).with_batch(8).macs == 8 * 8 * 6


@pytest.mark.parametrize(
    ("old", "new", "factors", "batch", "expected"),
    [
        ((8, 4, 6), (32, 6), (1, 0, 0), 8, (4, 0)),  # merged
        ((32, 6), (8, 4, 6), (4, 0), 8, (1, 0, 0)),  # split again
        ((8, 4, 6), (8, 6, 4), (1, 0, 0), 8, (1, 0, 0)),  # the others permuted
        ((8, 4, 6), (4, 8, 6), (1, 0, 0), 8, (0, 1, 0)),  # the batch permuted
        ((4, 8, 6), (4, 16, 3), (0, 1, 0), 8, (0, 2, 0)),  # 8 x 6 seen as 16 x 3: the batch stays outside
        ((4, 8, 6), (32, 6), (0, 1, 0), 8, (4, 0)),  # inside, but nothing else is in the axis
        ((4, 8, 6), (2, 16, 6), (0, 1, 0), 8, None),  # split in the middle
        ((1, 4, 6), (4, 6), (1, 0, 0), 1, (4, 0)),
        ((1, 4, 6), (1, 6, 4), (1, 0, 0), 1, (1, 0, 0)),
        ((1, 4, 6), (4, 1, 6), (1, 0, 0), 1, None),
        ((12, 4, 6), (1, 12, 4, 6), (12, 0, 0), 1, (1, 0, 0, 0)),
        ((8, 8, 6), (8, 8, 6), (1, 0, 0), 8, (1, 0, 0)),
    ],
)
def test_views_carry_the_batch(
    old: tuple[int, ...], new: tuple[int, ...], factors: tuple[int, ...], batch: int, expected: object
) -> None:
    assert reshaped(factors, old, new, batch) == expected
