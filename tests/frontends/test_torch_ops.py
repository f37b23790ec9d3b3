"""Ops of PyTorch one by one: shapes as torch says, multiply-adds and bytes counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from graphs import functions
from torch import nn

import roofline as rf
from roofline.graph.opgraph import OpGraph
from roofline.passes.kernels import make_kernels


def lower(program: Callable[..., Any], *inputs: torch.Tensor) -> OpGraph:
    graph = rf.from_torch(program, inputs)
    graph.check_shapes()
    return graph


def x(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def ids(*shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.int64, device="meta")


def traffic(graph: OpGraph) -> float:
    groups = [(op_id,) for op_id, op in graph.ops.items() if op.family != "free"]
    return float(sum(k.traffic_bytes for k in make_kernels(graph, groups)))


@pytest.mark.parametrize(
    ("module", "inputs", "macs", "params"),
    [
        (nn.Linear(4, 5), (x(2, 3, 4),), 2 * 3 * 4 * 5, 4 * 5 + 5),
        (nn.Linear(4, 5), (x(4),), 4 * 5, 4 * 5 + 5),
        (nn.Conv1d(4, 6, 3, padding="same"), (x(2, 4, 9),), 2 * 9 * 6 * 4 * 3, 6 * 4 * 3 + 6),
        (nn.Conv2d(4, 6, 3, groups=2, bias=False), (x(2, 4, 9, 9),), 2 * 49 * 6 * 2 * 9, 6 * 2 * 9),
        (nn.Conv2d(4, 8, 3, groups=4), (x(2, 4, 9, 9),), 2 * 49 * 8 * 9, 8 * 9 + 8),
        (nn.Conv2d(4, 6, 3), (x(4, 9, 9),), 49 * 6 * 4 * 9, 6 * 4 * 9 + 6),
        (nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2), (x(2, 4, 9, 9),), 2 * 25 * 6 * 4 * 9, 6 * 4 * 9 + 6),
        (nn.Conv2d(4, 6, 4, dilation=3), (x(1, 4, 12, 12),), 9 * 6 * 4 * 16, 6 * 4 * 16 + 6),
        (nn.Conv3d(4, 6, 3), (x(2, 4, 9, 9, 9),), 2 * 343 * 6 * 4 * 27, 6 * 4 * 27 + 6),
        (nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2), (x(2, 4, 8, 8),), 2 * 64 * 4 * 3 * 16, 4 * 3 * 16 + 6),
        (nn.ConvTranspose1d(4, 4, 3, groups=4), (x(2, 4, 8),), 2 * 8 * 4 * 3, 4 * 3 + 4),
        (nn.GRUCell(8, 4), (x(2, 8), x(2, 4)), 2 * 12 * (8 + 4), 12 * 12 + 24),
        (nn.LSTMCell(8, 4), (x(2, 8),), 2 * 16 * (8 + 4), 16 * 12 + 32),
        (nn.LSTM(8, 4, 2, bidirectional=True), (x(5, 2, 8),), 2 * 5 * 2 * 16 * (8 + 4 + 8 + 4),
         2 * 16 * (8 + 4 + 8 + 4) + 2 * 2 * 32),
        (nn.GRU(8, 4, batch_first=True), (x(2, 5, 8),), 2 * 5 * 12 * (8 + 4), 12 * 12 + 24),
        (nn.RNN(8, 4, bias=False), (x(5, 2, 8),), 2 * 5 * 4 * (8 + 4), 4 * 12),
        (nn.LSTM(8, 4, proj_size=3), (x(5, 2, 8),), 2 * 5 * (16 * (8 + 3) + 4 * 3), 16 * 11 + 32 + 12),
        (nn.MultiheadAttention(8, 2, batch_first=True), (x(2, 3, 8),) * 3, 2 * (3 * 8 * 24 + 2 * 9 * 8 + 3 * 64),
         8 * 24 + 24 + 64 + 8),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (x(2, 3, 8),),
         2 * (3 * 8 * 24 + 2 * 9 * 8 + 3 * 64 + 2 * 3 * 128), 8 * 24 + 24 + 64 + 8 + 2 * 128 + 24 + 32),
    ],
    ids=lambda case: type(case).__name__ if isinstance(case, nn.Module) else "",
)  # fmt: skip
def test_contractions_count_as_by_hand(
    module: nn.Module, inputs: tuple[torch.Tensor, ...], macs: int, params: int
) -> None:
    graph = lower(module, *inputs)
    assert graph.macs == macs
    assert graph.params == params == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("program", "inputs", "macs"),
    [
        (lambda a, b: torch.einsum("bhqd,bhkd->bhqk", a, b), (x(2, 4, 9, 8), x(2, 4, 7, 8)), 2 * 4 * 9 * 7 * 8),
        (lambda a, b: torch.einsum("nchw,ck->nkhw", a, b), (x(2, 4, 5, 5), x(4, 3)), 2 * 25 * 4 * 3),
        (torch.matmul, (x(2, 3, 4), x(4, 5)), 2 * 3 * 4 * 5),
        (torch.matmul, (x(2, 3, 4), x(4)), 2 * 3 * 4),
        (torch.bmm, (x(2, 3, 4), x(2, 4, 5)), 2 * 3 * 4 * 5),
        (torch.baddbmm, (x(2, 3, 5), x(2, 3, 4), x(2, 4, 5)), 2 * 3 * 4 * 5),
        (torch.addbmm, (x(3, 5), x(2, 3, 4), x(2, 4, 5)), 2 * 3 * 4 * 5),
        (torch.mv, (x(3, 4), x(4)), 3 * 4),
        (torch.dot, (x(4), x(4)), 4),
        (torch.addmm, (x(5), x(3, 4), x(4, 5)), 3 * 4 * 5),
    ],
)
def test_products_count_as_by_hand(program: Callable[..., Any], inputs: tuple[torch.Tensor, ...], macs: int) -> None:
    assert lower(program, *inputs).macs == macs


def attention(causal: bool = False, gqa: bool = False) -> Callable[..., Any]:
    return lambda q, k, v, mask=None: F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, enable_gqa=gqa)


@pytest.mark.parametrize(
    ("program", "inputs", "macs", "heads", "kv_heads"),
    [
        (attention(), (x(2, 4, 9, 8),) * 3, 2 * 4 * 81 * 16, 4, 4),
        (attention(causal=True), (x(2, 4, 9, 8),) * 3, 2 * 4 * 81 * 16, 4, 4),
        (attention(gqa=True), (x(2, 4, 9, 8), x(2, 2, 7, 8), x(2, 2, 7, 8)), 2 * 4 * 63 * 16, 4, 2),
        (attention(), (x(2, 4, 9, 8), x(2, 4, 7, 8), x(2, 4, 7, 6)), 2 * 4 * 63 * 14, 4, 4),
        (attention(), (x(2, 9, 8),) * 3, 2 * 81 * 16, 1, 1),
        (attention(), (x(9, 8),) * 3, 81 * 16, 1, 1),
        (attention(), (x(2, 5, 4, 9, 8),) * 3, 10 * 4 * 81 * 16, 4, 4),
        (attention(), (x(2, 4, 9, 8), x(2, 4, 9, 8), x(2, 4, 9, 8), x(4, 9, 9)), 2 * 4 * 81 * 16, 4, 4),
    ],
)
def test_attention_is_one_op(
    program: Callable[..., Any], inputs: tuple[torch.Tensor, ...], macs: int, heads: int, kv_heads: int
) -> None:
    graph = lower(program, *inputs)
    assert functions(graph) == ["attention"]
    (op,) = (op for op in graph.ops.values() if op.kind == "attention")
    assert (getattr(op, "heads", None), getattr(op, "kv_heads", None)) == (heads, kv_heads)
    assert len(op.inputs) == len(inputs)
    assert graph.macs == macs


def test_attention_broadcast_over_the_batch_is_left_to_torch() -> None:
    graph = lower(attention(), x(2, 4, 9, 8), x(1, 4, 9, 8), x(1, 4, 9, 8))
    assert "softmax" in functions(graph)
    assert graph.macs == 2 * 4 * 81 * 16


def test_wrong_attention_says_what_torch_says() -> None:
    with pytest.raises(rf.RooflineError, match="raises RuntimeError"):
        lower(attention(), x(2, 4, 9, 8), x(2, 4, 9, 7), x(2, 4, 9, 8))


@pytest.mark.parametrize(
    ("program", "inputs", "launched"),
    [
        (nn.BatchNorm2d(4), (x(2, 4, 5, 5),), ["batch_norm"]),
        (nn.BatchNorm1d(4), (x(2, 4),), ["batch_norm"]),
        (nn.BatchNorm2d(4, track_running_stats=False), (x(2, 4, 5, 5),), ["norm"]),
        (nn.LayerNorm(4), (x(2, 3, 4),), ["norm"]),
        (nn.LayerNorm((3, 4)), (x(2, 3, 4),), ["norm"]),
        (nn.GroupNorm(2, 4), (x(2, 4, 5, 5),), ["norm"]),
        (nn.RMSNorm(4), (x(2, 3, 4),), ["norm"]),
        (nn.Softmax(1), (x(2, 3, 4),), ["softmax"]),
        (nn.ReLU(inplace=True), (x(2, 3),), ["relu"]),
        (nn.ReLU6(), (x(2, 3),), ["relu6"]),
        (nn.GELU("tanh"), (x(2, 3),), ["gelu_tanh"]),
        (nn.GLU(), (x(2, 6),), ["glu"]),
        (nn.MaxPool2d(3, 2, 1), (x(2, 4, 8, 8),), ["max"]),
        (nn.MaxPool2d(3, 2, ceil_mode=True), (x(2, 4, 8, 8),), ["max"]),
        (nn.AvgPool1d(2), (x(2, 4, 9),), ["mean"]),
        (nn.AdaptiveAvgPool2d(1), (x(2, 4, 5, 5),), ["mean"]),
        (nn.AdaptiveAvgPool2d(3), (x(2, 4, 5, 5),), ["mean"]),
        (nn.AdaptiveMaxPool2d(7), (x(2, 4, 5, 5),), ["max"]),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (x(2, 4, 5, 5),), ["linear"]),
        (nn.PixelShuffle(2), (x(2, 4, 5, 5),), ["pixel_shuffle"]),
        (nn.ZeroPad2d(1), (x(2, 4, 5, 5),), ["pad"]),
        (nn.Embedding(10, 4), (ids(2, 3),), ["embedding"]),
        (nn.Dropout(0.5), (x(2, 3),), []),
        (nn.Flatten(), (x(2, 3, 4, 5),), []),
        (nn.Unfold(3), (x(2, 3, 8, 8),), ["gather"]),
        (lambda a: a.unfold(1, 3, 1) * 2, (x(2, 9),), ["mul"]),
        (lambda a: a.permute(1, 0).contiguous(), (x(2, 3),), ["copy"]),
        (lambda a: a.transpose(0, 1).reshape(6), (x(2, 3),), ["copy"]),
        (lambda a: torch.cat([a, a], 1), (x(2, 3),), ["concat"]),
        (lambda a: torch.stack([a, a]), (x(2, 3),), ["concat"]),
        (lambda a: torch.stack(a.chunk(3, -1)), (x(2, 6),), ["concat"]),
        (lambda a: a.roll(1), (x(2, 3),), ["roll"]),
        (lambda a: a.repeat(2, 3), (x(2, 3),), ["repeat"]),
        (lambda a: a.repeat_interleave(2, 0), (x(2, 3),), ["copy"]),
        (lambda a: a.cumsum(1), (x(2, 3),), ["sum"]),
        (lambda a: a.topk(2, 0)[0], (x(4, 3),), ["sort"]),
        (lambda a: a.sort(0).values, (x(4, 3),), ["sort"]),
        (lambda a: a.half(), (x(4, 3),), ["cast"]),
        (lambda a: a.float(), (x(4, 3),), []),
        (lambda a: torch.where(a > 0, a, 0.0), (x(4, 3),), ["compare", "scalar_tensor", "select"]),
        (lambda a: a.masked_fill(a.isnan(), 0.0), (x(4, 3),), ["compare", "select"]),
        (lambda a: a.var((1, 2)), (x(2, 3, 4),), ["var"]),
        (lambda a: torch.var_mean(a, 1)[1], (x(2, 3, 4),), ["var"]),
        (lambda a: a.max(1).values, (x(2, 3, 4),), ["max"]),
        (lambda a: a.max() - a.min(), (x(2, 3, 4),), ["max", "max", "sub"]),
        (lambda a: a.pow(2).mean(-1, keepdim=True), (x(2, 3, 4),), ["square", "mean"]),
        (lambda a: a.logsumexp(-1), (x(2, 3, 4),), ["logsumexp"]),
        (lambda a, i: a.gather(1, i), (x(2, 3), ids(2, 2)), ["gather"]),
        (lambda a, i: a[:, i], (x(2, 3), ids(5)), ["gather"]),
        (lambda a, i: a.index_select(1, i), (x(2, 3), ids(5)), ["gather"]),
        (lambda a, i: a.scatter(1, i, a), (x(2, 3), ids(2, 3)), ["copy", "update"]),
        (lambda a, i: a.scatter_add_(1, i, a), (x(2, 3), ids(2, 3)), ["update"]),
        (lambda a, g: F.grid_sample(a, g, align_corners=False), (x(2, 3, 8, 8), x(2, 4, 4, 2)), ["linear"]),
        (lambda a: a + torch.arange(3, device=a.device), (x(2, 3),), ["arange", "add"]),
        (lambda a: a + torch.arange(3), (x(2, 3),), ["add"]),  # a host tensor: no kernel
        (lambda a: a * 2 + 1, (x(2, 3),), ["mul", "add"]),
        (lambda a: a[:, :0].sum() + a.new_zeros(0).sum(), (x(2, 3),), ["sum", "sum", "add"]),
        (lambda a: torch.cat([a, a[:0]]), (x(2, 3),), ["copy"]),
        (lambda a, b: a * b, (x(2, 1, 3), x(4, 1)), ["mul"]),
        (torch.nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 6, 3)), (x(2, 4, 9),), ["norm", "conv"]),
    ],
)
def test_one_op_of_eager_is_one_kernel(
    program: Callable[..., Any], inputs: tuple[torch.Tensor, ...], launched: list[str]
) -> None:
    assert functions(lower(program, *inputs)) == launched


def test_a_slice_that_is_assigned_updates_only_its_part() -> None:
    def program(a: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(a)
        out[:, 1:] = a[:, :-1]
        return out

    graph = lower(program, x(2, 4, 8))
    assert functions(graph) == ["zeros_like", "update"]
    assert traffic(graph) == 4 * (2 * 4 * 8) + 4 * 2 * (2 * 3 * 8)  # zeros; 3 of 4 rows read and written


def test_writing_in_place_is_seen_by_the_tensor_that_owns_the_memory() -> None:
    def program(a: torch.Tensor) -> torch.Tensor:
        b = a * 2
        b.view(-1).relu_()
        b.transpose(0, 1).add_(1)
        return b.exp()

    graph = lower(program, x(2, 3))
    assert functions(graph) == ["mul", "relu", "add", "exp"]
    order = [op_id for op_id, op in graph.ops.items() if op.family != "free"]
    for earlier, later in pairwise(order):
        assert graph.producers[graph.root(graph.op(later).inputs[0])] == earlier


def test_images_are_stored_with_channels_last() -> None:
    graph = lower(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), x(2, 3, 10, 10))
    assert [op.kind for op in graph.ops.values()] == ["conv", "batch_norm", "elementwise"]
    assert graph.tensors[graph.inputs[0]].shape == (2, 10, 10, 3)
    assert graph.tensors["0.weight"].shape == (3, 3, 3, 8)
    assert graph.tensors[graph.outputs[0]].shape == (2, 8, 8, 8)


def test_broadcast_operands_are_read_once() -> None:
    graph = lower(lambda a, b: a * b, x(2, 4, 5, 5), x(2, 4, 1, 1))
    assert traffic(graph) == 4 * (2 * 200 + 8)  # read and write of a, read of b


def test_grouped_and_depthwise_forms() -> None:
    forms = {}
    for groups, out in ((1, 8), (2, 8), (4, 4), (4, 8)):
        graph = lower(nn.Conv2d(4, out, 3, groups=groups), x(1, 4, 5, 5))
        forms[groups, out] = getattr(next(iter(graph.ops.values())), "form", None)
    assert forms == {(1, 8): "dense", (2, 8): "grouped", (4, 4): "depthwise", (4, 8): "depthwise"}


def test_a_recurrent_layer_runs_its_step_as_often_as_it_has_steps() -> None:
    graph = lower(nn.LSTM(8, 4, batch_first=True), x(2, 7, 8))
    assert sorted({op.times for op in graph.ops.values() if op.family != "free"}) == [1, 7]


def test_a_fused_cell_works_on_every_gate() -> None:
    class Cell(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, *bias: torch.Tensor) -> torch.Tensor:
            state: torch.Tensor = torch.ops.aten._thnn_fused_lstm_cell(a, b, c, *bias)[0]
            return state

    graph = lower(Cell(), x(8, 64), x(8, 64), x(8, 16), x(64), x(64))
    assert [graph.tensors[t].shape for t in graph.outputs] == [(8, 16)]
    (gates,) = (op for op in graph.ops.values() if getattr(op, "function", None) == "lstm_cell")
    assert graph.tensors[gates.outputs[0]].elements == 8 * 4 * 16
