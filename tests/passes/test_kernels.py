"""Kernels: bytes across their boundary, reuse distances and live memory, added up by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from graphs import Split

from roofline.dtypes import DTYPES
from roofline.graph.builder import GraphBuilder
from roofline.graph.indexing import Update
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Elementwise, MatMul
from roofline.graph.tensor import Tensor
from roofline.passes.kernels import Kernel, make_kernels


def kernels_of(graph: OpGraph, *groups: tuple[str, ...]) -> tuple[Kernel, ...]:
    return make_kernels(graph, groups)


def accesses(kernel: Kernel) -> set[tuple[str, str, float]]:
    return {(a.role, a.tensor.id, float(a.bytes)) for a in kernel.accesses}


def test_a_fused_kernel_moves_what_crosses_its_boundary() -> None:
    b = GraphBuilder()
    x = b.conv(b.input("x", (2, 4, 4, 3)), 8, kernel=3, bias=True, name="conv")
    graph = b.graph([b.relu(x)])
    (kernel,) = kernels_of(graph, ("conv", "relu"))
    assert accesses(kernel) == {
        ("read", "x", 4 * 2 * 4 * 4 * 3),  # fp32: 4 bytes
        ("weight", "conv.weight", 4 * 3 * 3 * 3 * 8),
        ("weight", "conv.bias", 4 * 8),
        ("write", "relu:0", 4 * 2 * 4 * 4 * 8),  # conv:0 stays inside
    }
    conv, relu = kernels_of(graph, ("conv",), ("relu",))
    between = 4 * 2 * 4 * 4 * 8
    assert conv.traffic_bytes + relu.traffic_bytes == kernel.traffic_bytes + 2 * between  # written, then read


def test_elements_beside_smaller_operands_are_found_by_index() -> None:
    b = GraphBuilder()
    x, gate = b.input("x", (2, 4, 4, 8)), b.input("gate", (2, 1, 1, 8))
    graph = b.graph([b.batch_norm(b.add(b.gate(x, gate, name="scale"), x, name="add"), name="norm")])
    by_index = {
        kernel.name: {float(a.by_index) for a in kernel.accesses if a.role != "weight"}
        for kernel in kernels_of(graph, ("scale",), ("add",), ("norm",))
    }
    assert by_index == {"scale": {1.0}, "add": {0.0}, "norm": {1.0}}
    (fused,) = kernels_of(graph, ("scale", "add", "norm"))
    assert all(a.by_index == 1 for a in fused.accesses if a.role != "weight")


def test_a_square_reads_its_operand_once() -> None:
    b = GraphBuilder()
    x = b.input("x", (4, 8))
    (kernel,) = kernels_of(b.graph([b.elementwise("mul", x, x, name="square")]), ("square",))
    assert kernel.traffic_bytes == 2 * 4 * 4 * 8  # one read, one write


def test_readers_in_one_kernel_share_a_read_and_others_read_anew() -> None:
    b = GraphBuilder()
    x = b.input("x", (4, 8))
    graph = b.graph([b.activation("exp", x), b.activation("tanh", x), b.activation("sin", x)])
    together, alone = kernels_of(graph, ("exp", "tanh"), ("sin",))
    assert together.traffic_bytes == 3 * 4 * 32  # one read, two writes
    assert alone.traffic_bytes == 2 * 4 * 32


def test_a_weight_is_read_by_every_kernel_that_uses_it() -> None:
    b = GraphBuilder()
    w = b.parameter("w", 8, 8)
    x = b.add_op("one", MatMul, b.input("x", (4, 8)), w)
    graph = b.graph([b.add_op("two", MatMul, x, w)])
    apart = kernels_of(graph, ("one",), ("two",))
    assert [k.traffic_bytes for k in apart] == [4 * (32 + 64 + 32)] * 2
    (together,) = kernels_of(graph, ("one", "two"))
    assert together.traffic_bytes == 4 * (32 + 64 + 32)


def test_both_outputs_of_a_split_cross() -> None:
    known = {n: Tensor(id=n, shape=(2, 4)) for n in ("a", "b", "y")}
    known["x"] = Tensor(id="x", shape=(2, 8), role="input")
    both = Elementwise(inputs=("a", "b"), outputs=("y",), function="add", broadcast=(False, False))
    graph = OpGraph({"split": Split(inputs=("x",), outputs=("a", "b")), "add": both}, known, ("y",))
    split, add = kernels_of(graph, ("split",), ("add",))
    assert split.traffic_bytes == 4 * (16 + 8 + 8)
    assert add.traffic_bytes == 4 * (8 + 8 + 8)


def test_views_are_free_and_their_readers_read_the_part() -> None:
    b = GraphBuilder()
    qkv = b.linear(b.input("x", (4, 6)), 18, bias=False, name="qkv")
    q, v = b.part(qkv, 6, start=0, name="q"), b.part(qkv, 6, start=12, name="v")
    one, two = b.activation("exp", b.reshape(q, (24,))), b.activation("tanh", v)
    graph = b.graph([one, two])
    _, exp, tanh = kernels_of(graph, ("qkv",), ("exp",), ("tanh",))
    assert accesses(exp) == {("read", "qkv:0", 4 * 24), ("write", "exp:0", 4 * 24)}
    assert accesses(tanh) == {("read", "qkv:0", 4 * 24), ("write", "tanh:0", 4 * 24)}
    _, both = kernels_of(graph, ("qkv",), ("exp", "tanh"))
    assert ("read", "qkv:0", 4 * 48) in accesses(both)  # two parts of three


def test_a_repeated_view_is_read_once() -> None:
    b = GraphBuilder()
    token = b.expand(b.parameter("token", 1, 8), (16, 8))
    (kernel,) = kernels_of(b.graph([b.activation("exp", token)]), ("exp",))
    assert accesses(kernel) == {("weight", "token", 4 * 8), ("write", "exp:0", 4 * 16 * 8)}


def test_look_ups_touch_the_rows_they_take() -> None:
    b = GraphBuilder()
    graph = b.graph([b.embedding(b.input("ids", (2, 3), DTYPES["int32"]), 1000, 8)])
    (kernel,) = kernels_of(graph, ("embedding",))
    assert accesses(kernel) == {
        ("read", "ids", 4 * 6),
        ("weight", "embedding.table", 4 * 6 * 8),  # six rows of a thousand
        ("write", "embedding:0", 4 * 6 * 8),
    }


def test_an_update_in_place_touches_its_values_only() -> None:
    b = GraphBuilder()
    cache, new = b.input("cache", (1000, 8)), b.input("new", (1, 8))
    (kernel,) = kernels_of(b.graph([b.add_op("put", Update, cache, new)]), ("put",))
    assert kernel.traffic_bytes == 4 * (8 + 8)  # values read, values written


def chain(length: int = 4) -> OpGraph:
    """Three sizes in a row, and the first result read again at the end."""
    b = GraphBuilder()
    x = b.relu(b.input("x", (100,)))
    y = b.activation("exp", x)
    z = b.activation("tanh", y)
    return b.graph([b.add(z, x, name="sum")])


def test_reuse_distance_is_the_traffic_in_between() -> None:
    kernels = kernels_of(chain(), ("relu",), ("exp",), ("tanh",), ("sum",))
    found = {(k.name, a.tensor.id): float(a.distance_bytes) for k in kernels for a in k.accesses if a.role == "read"}
    assert found == {
        ("relu", "x"): 400,  # from before the block: its own size
        ("exp", "relu:0"): 0,  # written by the kernel just before
        ("tanh", "exp:0"): 0,
        ("sum", "tanh:0"): 0,
        ("sum", "relu:0"): 2 * 800,  # exp and tanh moved 800 bytes each
    }


def test_live_bytes_by_hand() -> None:
    kernels = kernels_of(chain(), ("relu",), ("exp",), ("tanh",), ("sum",))
    # relu: x, relu:0. exp: relu:0 (read later), exp:0. tanh: relu:0, exp:0, tanh:0. sum: relu:0, tanh:0, sum:0.
    assert [k.live_bytes for k in kernels] == [800, 800, 1200, 1200]


def test_an_update_in_place_needs_its_memory_once() -> None:
    b = GraphBuilder()
    cache, new = b.input("cache", (1000,)), b.input("new", (10,))
    (kernel,) = kernels_of(b.graph([b.add_op("put", Update, cache, new)]), ("put",))
    assert kernel.live_bytes == 4 * (1000 + 10)


@pytest.mark.parametrize(
    ("family", "kind"),
    [("conv", "conv"), ("depthwise", "depthwise"), ("linear", "matmul"), ("mean", "reduction"), ("pool", "pool"),
     ("relu", "pointwise"), ("transpose", "movement")],
)  # fmt: skip
def test_a_kernel_is_named_after_its_anchor(family: str, kind: str) -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4, 4, 8))
    made = {
        "conv": lambda: b.conv(x, 8),
        "depthwise": lambda: b.depthwise(x, kernel=3),
        "linear": lambda: b.linear(x, 8),
        "mean": lambda: b.mean(x, (1, 2)),
        "pool": lambda: b.pool(x, "max", kernel=2),
        "relu": lambda: b.relu(x),
        "transpose": lambda: b.move("transpose", x, (1, 8, 4, 4)),
    }[family]()
    graph = b.graph([b.activation("exp", made)])
    group = tuple(graph.ops)
    assert [(k.name, k.kind) for k in kernels_of(graph, group)] == [(group[0], kind)]


def test_kernels_of_a_loop_body_say_how_often_they_run() -> None:
    b = GraphBuilder()
    graph = b.graph([b.relu(b.input("x", (4, 8)))])
    looped = OpGraph({"relu": replace(graph.op("relu"), times=9)}, graph.tensors, graph.outputs)
    (kernel,) = kernels_of(looped, ("relu",))
    assert kernel.times == 9 and kernel.traffic_bytes == 2 * 4 * 32, "bytes are those of one run"
