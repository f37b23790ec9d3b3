"""Copies: how long the runs are that stay side by side, and what a runtime makes of them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from families import asking
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline as rf
from roofline.dtypes import precision
from roofline.engine.evaluate import kernel_costs
from roofline.engine.lowering import lower_graph
from roofline.engine.machine import machine_for
from roofline.frontends.torch.values import shared_run
from roofline.graph.builder import GraphBuilder
from roofline.graph.indexing import Fill, Update
from roofline.graph.movement import Concat, Slice
from roofline.graph.op import Layout
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import BatchNorm, Norm, Softmax
from roofline.graph.resampling import Pad
from roofline.graph.tensor import Tensor
from roofline.passes.composites import split_pads
from roofline.passes.kernels import make_kernels
from roofline.passes.layout import follow_layout
from roofline.passes.policy import policy


def longest_common_run(shape: tuple[int, ...], order: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Number the elements in one order, write them in another, and look which stay neighbours everywhere."""
    numbered = np.empty([shape[d] for d in order])
    numbered[...] = np.arange(numbered.size).reshape(numbered.shape)
    torch_view = numbered.transpose([order.index(d) for d in range(len(shape))])
    written = torch_view.transpose(other).ravel()
    breaks = np.flatnonzero(np.diff(written) != 1)
    return int(np.diff(np.concatenate([[-1], breaks, [written.size - 1]])).min())


@settings(max_examples=60)
@given(st.permutations(range(4)), st.permutations(range(4)))
def test_runs_of_copies_by_brute_force(order: list[int], other: list[int]) -> None:
    shape = (3, 4, 5, 6)
    found = shared_run(tuple(order), tuple(other), shape)
    if order == other:
        assert found == 360
    else:
        assert found == longest_common_run(shape, tuple(order), tuple(other))


def test_runs_of_parts_and_pads_depend_on_the_memory_format() -> None:
    big, small = (Tensor(id=name, shape=shape) for name, shape in (("a", (2, 8, 8, 24)), ("b", (2, 8, 8, 8))))
    wide = Tensor(id="c", shape=(2, 10, 12, 8))
    formats: tuple[tuple[Layout, int, int], ...] = (("nhwc", 1, 8), ("nchw", 64, 1))
    for layout, channels, row in formats:
        concat = Concat(inputs=("b", "b", "b"), outputs=("a",), layout=layout)
        assert concat.run((small, small, small), (big,)) == 8 * channels
        part = Slice(inputs=("a",), outputs=("b",), axis=-1, size=8, layout=layout)
        assert part.run((big,), (small,)) == 8 * channels
        pad = Pad(inputs=("b",), outputs=("c",), before=(0, 1, 2, 0), after=(0, 1, 2, 0), layout=layout)
        assert pad.run((small,), (wide,)) == 8 * row


def padded() -> OpGraph:
    b = GraphBuilder()
    x = b.input("x", (2, 8, 8, 16))
    return b.graph([b.add_op("pad", Pad, x, before=(0, 1, 1, 0), after=(0, 1, 1, 0))])


def test_eager_pads_fill_a_tensor_and_copy_into_it() -> None:
    graph = split_pads(padded(), asking(split=("pad",)))
    fill, update = graph.ops.values()
    assert isinstance(fill, Fill) and isinstance(update, Update)
    kernels = make_kernels(graph, [(o,) for o in graph.ops])
    written = [sum(a.bytes for a in k.accesses if a.role == "write") for k in kernels]
    assert written == [2 * 10 * 10 * 16 * 4, 2 * 8 * 8 * 16 * 4]
    assert update.side_by_side == 8 * 16
    assert split_pads(padded(), asking(split=())).ops.keys() == padded().ops.keys()


def moved_bytes(graph: OpGraph) -> float:
    """Return the bytes that the last kernel moves on a GPU under eager PyTorch, in fp32."""
    device, stack, fp32 = rf.device("a100-40gb"), rf.runtime("pytorch_eager"), precision("fp32")
    table = lower_graph(graph, policy(stack, fp32, "nhwc")).table
    return float(kernel_costs(table, machine_for(device, stack, fp32, "nhwc", 1)).padded_bytes[-1])


@pytest.mark.parametrize(
    ("kernel", "stride", "depthwise", "halo"),
    [
        (3, 1, True, (40 + 3 * 2) * (20 + 1 * 2) / (40 * 20)),  # 4 x 2 blocks: three borders, one
        (3, 1, False, 1.0),  # products take their operands through tiles
        (3, 2, True, (40 + 1 * 1) * 20 / (40 * 20)),  # 2 x 1 blocks of 20 x 10 results
        (2, 2, True, 1.0),  # windows that share nothing
    ],
)
def test_windows_fetch_the_borders_of_their_blocks_again(
    kernel: int, stride: int, depthwise: bool, halo: float
) -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 40, 20, 8))
    slide = b.depthwise if depthwise else partial(b.conv, channels=8)
    graph = b.graph([slide(x, kernel=kernel, stride=stride)])
    (weight,) = (t for t in graph.tensors.values() if t.stored)
    read, written = 2 * 40 * 20 * 8 * 4, 2 * (40 // stride) * (20 // stride) * 8 * 4
    assert moved_bytes(graph) == pytest.approx(read * halo + written + weight.bytes, rel=1e-12)
    pool = b.graph([b.pool(x, "max", kernel=kernel, stride=stride)])
    if depthwise:
        assert moved_bytes(pool) == pytest.approx(read * halo + written, rel=1e-12)


def test_group_norm_reads_its_maps_twice_and_layer_norm_once() -> None:
    for form, row_bytes, times in (("group", np.inf, 2), ("layer", 16 * 4, 1)):
        b = GraphBuilder()
        x = b.relu(b.input("x", (2, 8, 8, 16)))
        graph = b.graph([b.add_op("norm", Norm, x, form=form)])
        apart, fused = make_kernels(graph, [("relu",), ("norm",)]), make_kernels(graph, [("relu", "norm")])
        for kernel in (apart[1], fused[0]):  # where the activation is fused, its operand is read again
            assert [a.norm_row_bytes for a in kernel.accesses if a.role == "read"] == [row_bytes]
        one = 2 * 8 * 8 * 16 * 4
        assert moved_bytes(graph) == (1 + times) * one


@pytest.mark.parametrize(("columns", "norm", "softmax"), [(1024, 1, 1), (1025, 1, 2), (4096, 1, 2), (4097, 2, 2)])
def test_long_rows_are_read_twice(columns: int, norm: int, softmax: int) -> None:
    """A norm keeps rows of 16 KiB beside the processor, a softmax 1,024 elements in registers."""
    for op, times in ((Norm, norm), (Softmax, softmax)):
        b = GraphBuilder()
        graph = b.graph([b.add_op("op", op, b.input("x", (64, columns)))])
        assert moved_bytes(graph) == (1 + times) * 64 * columns * 4


def test_channels_first_batch_norms_need_no_index() -> None:
    b = GraphBuilder()
    x = b.conv(b.input("x", (2, 8, 8, 4)), 16, kernel=3, name="conv")
    stored = [b.parameter(name, 16) for name in ("scale", "shift", "mean", "variance")]
    graph = b.graph([b.add_op("norm", BatchNorm, x, *stored)])
    formats: tuple[tuple[Layout, int], ...] = (("nhwc", 1), ("nchw", 0))
    for layout, by_index in formats:
        formatted = follow_layout(graph, layout)
        (kernel,) = make_kernels(formatted, [("norm",)])
        assert {int(a.by_index) for a in kernel.accesses if a.role != "weight"} == {by_index}


class Parts(torch.nn.Module):
    """A convolution of the second half of the channels, and a softmax over what is not last in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.conv = torch.nn.Conv2d(4, 16, 1), torch.nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        halves = self.first(x).split(8, 1)
        rows = self.conv(halves[1]).flatten(2)
        moved: torch.Tensor = rows.softmax(-1) + torch.roll(rows, (1, 2), (1, 2))
        return moved


def test_hidden_copies_of_torch() -> None:
    graph = rf.from_torch(Parts().eval(), torch.zeros(2, 4, 6, 6))
    moves = {op_id: op for op_id, op in graph.ops.items() if op.kind == "move"}
    functions = [op.function for op in moves.values()]  # type: ignore[attr-defined]
    # the part of the channels; maps as rows, where channels are last in memory; a kernel for each dimension rolled
    assert functions == ["contiguous", "contiguous", "roll", "roll"]
    runs = [op.run(*graph.arguments(op)) for op in moves.values()]
    assert runs[0] == 8 and runs[1] == 1


def test_a_part_that_lies_in_one_piece_is_not_copied() -> None:
    class Halves(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.max_pool2d(x[:2], 2)

    graph = rf.from_torch(Halves().eval(), torch.zeros(4, 16, 6, 6))
    assert [op.kind for op in graph.ops.values() if op.family == "movement"] == []


@pytest.mark.parametrize("runtime", ["pytorch_eager", "pytorch_compile", "xla"])
def test_pads_take_a_kernel_more_in_eager_mode_only(runtime: str) -> None:
    device = "tpu-v4" if runtime == "xla" else "a100-40gb"
    report = rf.simulate(padded(), device, runtime=runtime)
    assert len(report.kernels) == (2 if runtime == "pytorch_eager" else 1)
