"""The writer that the builder, the front ends and the backward pass share: names, loops, and what nobody reads."""

from __future__ import annotations

from roofline.dtypes import DTYPES
from roofline.graph.movement import Reshape
from roofline.graph.ops import Elementwise
from roofline.graph.writer import GraphWriter, assembled, needed


def relu(w: GraphWriter, x: str, name: str = "relu") -> str:
    return w.add_op(name, Elementwise, w.tensors[x], function="relu", broadcast=(False,)).id


def test_no_name_is_given_twice_even_where_a_program_has_numbered_its_own() -> None:
    w = GraphWriter()
    w.enter("relu_2", (4,), "input")
    names = [relu(w, "relu_2") for _ in range(3)]
    assert names == ["relu:0", "relu_3:0", "relu_4:0"]
    assert w.enter("relu:0", (4,), "input").id == "relu:0_2"  # a file may call a tensor what we call a result


def test_places_nest_and_loops_multiply() -> None:
    w = GraphWriter()
    x = w.enter("x", (4,), "input").id
    with w.scope("stage"), w.repeated(3):
        with w.scope("block"), w.repeated(2):
            inner = relu(w, x)
        outer = relu(w, inner)
    assert (inner, outer, relu(w, outer)) == ("stage/block/relu:0", "stage/relu:0", "relu:0")
    assert [op.times for op in w.ops.values()] == [6, 3, 1]


def test_shapes_are_inferred_unless_stated() -> None:
    w = GraphWriter()
    x = w.enter("x", (4, 6), "input", DTYPES["fp16"])
    seen = w.add_op("seen", Reshape, x, shape=(24,))
    (told,) = w.write("told", Reshape, [x], [DTYPES["fp32"]], shapes=[(24,)], shape=(24,))
    assert (seen.shape, seen.dtype.name) == ((24,), "fp16")
    assert (told.shape, told.dtype.name) == ((24,), "fp32")


def test_what_no_output_needs_is_left_out() -> None:
    w = GraphWriter()
    x, unused = w.enter("x", (4,), "input").id, w.enter("unused", (4,), "input").id
    used, dead = relu(w, x), relu(w, unused, "dead")
    ops = needed(w.ops, [used])
    assert list(ops) == ["relu"]
    assert set(assembled(ops, w.tensors, (used,), "g").tensors) == {x, unused, used}  # inputs stay ...
    assert set(assembled(ops, w.tensors, (used,), "g", inputs=False).tensors) == {x, used}  # ... unless told
    assert dead not in assembled(ops, w.tensors, (used,), "g").tensors
