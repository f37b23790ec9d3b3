"""The op graph: what it refuses, its edges and views, and what it counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from graphs import Split

from roofline.errors import GraphError, RooflineError, ShapeError
from roofline.graph.builder import GraphBuilder
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Elementwise, MatMul, Reduce
from roofline.graph.tensor import Shape, Tensor


def relu(source: str, target: str) -> Elementwise:
    return Elementwise(inputs=(source,), outputs=(target,), function="relu", broadcast=(False,))


def tensors(*names: str, shape: Shape = (2, 3)) -> dict[str, Tensor]:
    """Tensors of one shape; the one called ``x`` enters the graph."""
    return {n: Tensor(id=n, shape=shape, role="input" if n == "x" else "activation") for n in names}


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text and text == text.strip() and text
    return text


# what a graph refuses -----------------------------------------------------------------------------------------------


def test_a_cycle_is_named() -> None:
    ops = {"first": relu("b", "a"), "second": relu("a", "b")}
    with pytest.raises(GraphError) as caught:
        OpGraph(ops, tensors("a", "b"), ("b",), "loop")
    assert one_line(caught.value) in (
        "loop: the graph has a cycle: first -> second",
        "loop: the graph has a cycle: second -> first",
    )


def test_an_op_that_reads_itself_is_a_cycle() -> None:
    with pytest.raises(GraphError, match="cycle: only"):
        OpGraph({"only": relu("a", "a")}, tensors("a"), ("a",))


def test_a_dangling_tensor_is_named_with_its_reader() -> None:
    with pytest.raises(GraphError) as caught:
        OpGraph({"op": relu("a", "b")}, tensors("a", "b"), ("b",), "g")
    assert one_line(caught.value) == "g: dangling tensor 'a', read by op 'op', written by nobody"


def test_a_dangling_output_is_named() -> None:
    with pytest.raises(GraphError, match="dangling tensor 'c', read by the outputs"):
        OpGraph({"op": relu("x", "b")}, tensors("x", "b", "c"), ("c",))


def test_a_tensor_has_one_writer() -> None:
    with pytest.raises(GraphError) as caught:
        OpGraph({"one": relu("x", "y"), "two": relu("x", "y")}, tensors("x", "y"), ("y",), "g")
    assert one_line(caught.value) == "g: tensor 'y' is written by 'one' and 'two'"


def test_a_node_is_an_op() -> None:
    with pytest.raises(GraphError) as caught:
        OpGraph({"node": "relu"}, tensors("x"), (), "g")  # type: ignore[dict-item]
    assert one_line(caught.value) == "g: node 'node' is not an op but 'str'"


@pytest.mark.parametrize(("op", "missing"), [(relu("nowhere", "y"), "nowhere"), (relu("x", "nowhere"), "nowhere")])
def test_every_tensor_is_in_the_graph(op: Op, missing: str) -> None:
    with pytest.raises(GraphError) as caught:
        OpGraph({"op": op}, tensors("x", "y"), ())
    assert repr(missing) in one_line(caught.value) and "'op'" in str(caught.value)


def test_an_output_is_a_tensor_of_the_graph() -> None:
    with pytest.raises(GraphError, match="output 'z' is not a tensor of the graph"):
        OpGraph({"op": relu("x", "y")}, tensors("x", "y"), ("z",))


def test_a_stated_shape_must_infer() -> None:
    stated = tensors("x") | {"y": Tensor(id="y", shape=(2, 4))}
    with pytest.raises(ShapeError) as caught:
        OpGraph({"op": relu("x", "y")}, stated, ("y",)).check_shapes()
    assert one_line(caught.value) == "elementwise 'y': stated shape 2x4, inferred 2x3"


Mistake = Callable[[GraphBuilder], object]
MISTAKES: dict[str, Mistake] = {
    "addition of two shapes": lambda b: b.add(b.input("x", (2, 3)), b.input("y", (2, 4))),
    "addition of two ranks": lambda b: b.add(b.input("x", (2, 3)), b.input("y", (2, 3, 1))),
    "groups that do not divide": lambda b: b.conv(b.input("x", (1, 4, 4, 6)), 8, groups=4),
    "a kernel larger than the image": lambda b: b.conv(b.input("x", (1, 2, 2, 3)), 8, kernel=5, padding=(0, 0)),
    "a one-dimensional image": lambda b: b.conv(b.input("x", (1, 4, 3)), 8, kernel=(3, 3), stride=(1, 1)),
    "products of three and two dimensions": lambda b: b.add_op(
        "mm", MatMul, b.input("x", (4, 5)), b.input("y", (2, 5, 6))
    ),
    "contracted dimensions": lambda b: b.add_op("mm", MatMul, b.input("x", (4, 5)), b.input("y", (6, 7))),
    "batches of products": lambda b: b.add_op("mm", MatMul, b.input("x", (2, 4, 5)), b.input("y", (3, 5, 7))),
    "concatenation of other sizes": lambda b: b.concat([b.input("x", (2, 3)), b.input("y", (4, 3))]),
    "concatenation of other ranks": lambda b: b.concat([b.input("x", (2, 3)), b.input("y", (2, 3, 1))]),
    "a slice that is too long": lambda b: b.slice(b.input("x", (2, 3)), 4),
    "a part past the end": lambda b: b.part(b.input("x", (2, 3)), 2, start=2),
    "a view of another size": lambda b: b.reshape(b.input("x", (2, 3)), (7,)),
    "a move of another size": lambda b: b.move("transpose", b.input("x", (2, 3)), (3, 3)),
    "a repeat of a dimension that is not 1": lambda b: b.expand(b.input("x", (2, 3)), (4, 3)),
    "an axis that is not there": lambda b: b.mean(b.input("x", (2, 3)), (2,)),
    "the same axis twice": lambda b: b.add_op("r", Reduce, b.input("x", (2, 3)), axes=(1, -1)),
    "keys and values of two lengths": lambda b: b.attention(
        b.input("q", (1, 4, 8)), b.input("k", (1, 5, 8)), b.input("v", (1, 6, 8)), heads=2
    ),
    "heads of two sizes": lambda b: b.attention(
        b.input("q", (1, 4, 8)), b.input("k", (1, 5, 6)), b.input("v", (1, 5, 6)), heads=2
    ),
    "queries of another rank": lambda b: b.attention(
        b.input("q", (4, 8)), b.input("k", (1, 5, 8)), b.input("v", (1, 5, 8)), heads=2
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_shapes_that_do_not_infer_are_one_clear_line(mistake: Mistake) -> None:
    with pytest.raises(ShapeError) as caught:
        mistake(GraphBuilder())
    assert isinstance(caught.value, RooflineError) and isinstance(caught.value, ValueError)
    assert ":0'" in one_line(caught.value), "the message names the place"


# edges, views, counts -----------------------------------------------------------------------------------------------


def test_parallel_edges_carry_all_tensors() -> None:
    known = tensors("x", "a", "b", "y", shape=(2, 4))
    both = Elementwise(inputs=("a", "b"), outputs=("y",), function="add", broadcast=(False, False))
    graph = OpGraph({"split": Split(inputs=("x",), outputs=("a", "b")), "add": both}, known, ("y",))
    assert graph.digraph.edges["split", "add"]["tensors"] == ("a", "b")
    assert graph.digraph.number_of_edges() == 1


def test_a_square_is_one_edge_of_one_tensor() -> None:
    b = GraphBuilder()
    x = b.relu(b.input("x", (2, 3)))
    graph = b.graph([b.elementwise("mul", x, x, name="square")])
    assert graph.digraph.edges["relu", "square"]["tensors"] == (x.id,)
    assert graph.readers[x.id] == ("square",)
    assert graph.op("square").inputs == (x.id, x.id), "the op still has two operands"


def test_execution_order_keeps_the_order_of_writing() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 3))
    left, right = b.relu(x), b.activation("exp", x)
    graph = b.graph([b.add(left, right)])
    assert graph.order == ("relu", "exp", "add")


def test_a_tied_parameter_counts_once() -> None:
    b = GraphBuilder()
    x = b.embedding(b.input("ids", (1, 4)), 10, 8)
    graph = b.graph([b.linear(x, 10, bias=False, tied=True)])
    assert graph.params == 10 * 8  # the table; the output layer is the same memory
    assert graph.macs == 4 * 8 * 10  # but its product is done


def test_a_parameter_of_two_readers_counts_once() -> None:
    b = GraphBuilder()
    x, weight = b.input("x", (4, 8)), b.parameter("w", 8, 8)
    once = b.add_op("one", MatMul, x, weight)
    graph = b.graph([b.add_op("two", MatMul, once, weight)])
    assert graph.params == 64
    assert graph.macs == 2 * 4 * 8 * 8


def test_buffers_and_unread_parameters_do_not_count() -> None:
    b = GraphBuilder()
    y = b.batch_norm(b.input("x", (1, 2, 2, 6)))
    b.parameter("unused", 100)
    assert b.graph([y]).params == 6 + 6  # scale and shift; mean and variance are statistics


def test_views_are_read_through() -> None:
    b = GraphBuilder()
    qkv = b.linear(b.input("x", (1, 4, 6)), 18, name="qkv")
    q = b.part(qkv, 6, start=0, name="q")
    seen = b.reshape(q, (1, 4, 2, 3), name="heads")
    y = b.activation("exp", seen)
    graph = b.graph([y])
    assert graph.root(seen.id) == qkv.id
    assert graph.effective_readers(qkv.id) == ("exp",)
    assert graph.readers[qkv.id] == ("q",), "the view itself is still a node"
