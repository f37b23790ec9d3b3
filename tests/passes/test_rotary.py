"""Rotations that a program writes out become one op where copies fuse, and nothing else does."""

from __future__ import annotations

from collections import Counter

import pytest

import roofline as rf
from roofline.dtypes import precision
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Tensor
from roofline.passes.pipeline import lower
from roofline.passes.policy import policy
from roofline.passes.rotary import fold_rotary

COMPILED = policy(rf.runtime("pytorch_compile"), precision("fp16"))
EAGER = policy(rf.runtime("pytorch_eager"), precision("fp16"))


def half(b: GraphBuilder, x: Tensor, start: int) -> Tensor:
    return b.part(x, 32, start=start)


def turned(*, crossed: str = "neg", first: int = 32, shown: bool = False) -> OpGraph:
    """A product, and x cos + [-x2, x1] sin of it; the arguments say what is done otherwise."""
    b = GraphBuilder("turned")
    x = b.reshape(b.linear(b.input("x", (2, 8, 64)), 4 * 64, bias=False), (2, 8, 4, 64))
    cosine, sine = (b.input(name, (8, 1, 64)) for name in ("cosine", "sine"))
    negative = b.activation(crossed, half(b, x, first))
    swapped = b.concat([negative, half(b, x, 0)])
    straight = b.elementwise("mul", x, cosine, broadcast=(False, True))
    y = b.add(straight, b.elementwise("mul", swapped, sine, broadcast=(False, True)))
    return b.graph([y, swapped] if shown else [y])


def functions(graph: OpGraph) -> Counter[str]:
    return Counter(getattr(op, "function", op.kind) for op in graph.ops.values() if op.family != "free")


def test_a_rotation_becomes_one_op() -> None:
    graph = fold_rotary(turned(), COMPILED)
    assert functions(graph) == {"matmul": 1, "rotary": 1}
    graph.check_shapes()
    (op,) = [op for op in graph.ops.values() if getattr(op, "function", "") == "rotary"]
    assert len(op.inputs) == 3 and fold_rotary(graph, COMPILED) is graph


@pytest.mark.parametrize("other", [{"crossed": "exp"}, {"shown": True}])
def test_what_is_no_rotation_stays(other: dict[str, object]) -> None:
    graph = turned(**other)  # type: ignore[arg-type]
    assert fold_rotary(graph, COMPILED) is graph


def test_eager_runtimes_launch_what_is_written() -> None:
    graph = turned()
    assert fold_rotary(graph, EAGER) is graph
    assert len(lower(graph, EAGER)[1]) == 6  # product, neg, concatenation, two products by numbers, sum


def test_a_rotation_does_not_follow_inside_of_a_norm() -> None:
    """Its elements need their partners of the same row, which other threads of the norm's kernel have."""
    b = GraphBuilder("normed")
    x = b.rms_norm(b.input("x", (2, 8, 4, 64)))
    graph = b.graph([b.elementwise("rotary", x, b.input("angles", (8, 1, 64)), broadcast=(False, True))])
    assert [kernel.kind for kernel in lower(graph, COMPILED)[1]] == ["reduction", "pointwise"]
