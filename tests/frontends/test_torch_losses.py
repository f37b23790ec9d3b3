"""Losses, experts, and functions that take functions: what a training script or a mixture of experts brings along."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from graphs import functions
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from training_steps import step

import roofline as rf
from roofline.errors import InputError, UnknownOpError
from roofline.graph.ops import GroupedMatMul
from roofline.work import count


def x(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def whole(*shape: int) -> torch.Tensor:
    return x(*shape, dtype=torch.int64)


# losses --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "target", "launched"),
    [
        (F.cross_entropy, whole(4), ["softmax", "mean"]),
        (lambda y, t: F.nll_loss(y, t, reduction="sum"), whole(4), ["sum"]),
        (lambda y, t: F.nll_loss(y, t, reduction="none"), whole(4), ["gather"]),
        (F.mse_loss, x(4, 5), ["mse_loss", "mean"]),
        (lambda y, t: F.mse_loss(y, t, reduction="none"), x(4, 5), ["mse_loss"]),
        (F.smooth_l1_loss, x(4, 5), ["smooth_l1_loss", "mean"]),
        (F.huber_loss, x(4, 5), ["huber_loss", "mean"]),
        (F.binary_cross_entropy, x(4, 5), ["binary_cross_entropy", "mean"]),
        (F.binary_cross_entropy_with_logits, x(4, 5), ["log_sigmoid", "sub", "mul", "sub", "mean"]),
        (F.soft_margin_loss, x(4, 5), ["mul", "neg", "exp", "log", "mean"]),
    ],
)
def test_a_loss_runs_the_kernels_of_eager(loss: Callable[..., Any], target: Any, launched: list[str]) -> None:
    graph = rf.from_torch(loss, (x(4, 5), target))
    graph.check_shapes()
    assert functions(graph) == launched


def test_only_the_targets_are_read() -> None:
    """A vocabulary of 50,000: the loss reads a number of each row, not the row."""
    graph = rf.from_torch(lambda y, t: F.nll_loss(y, t), (x(64, 50_000), whole(64)))
    assert count(graph).simple_ops == 64
    report = rf.simulate(graph, "a100-80gb", dtype="fp32")
    assert float(report.kernels["traffic_bytes"].sum()) == 64 * (4 + 8) + 4


def test_the_table_of_ctc_has_a_row_for_each_step() -> None:
    def loss(y: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.ctc_loss(y, targets, torch.full((2,), 50), torch.full((2,), 6), reduction="none")

    graph = rf.from_torch(loss, (x(50, 2, 30), whole(2, 6)))
    (table,) = (op for op in graph.ops.values() if getattr(op, "function", "") == "ctc_step")
    assert graph.tensors[table.outputs[0]].shape == (2, 50, 2 * 6 + 1)
    assert count(graph).transcendental_ops == 4 * 2 * 50 * 13  # three exponentials and a logarithm for each entry


def test_a_model_with_its_loss_is_trained() -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 5, device="meta")

        def forward(self, a: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            y = self.head(a)
            return F.cross_entropy(y, labels) + F.mse_loss(y, torch.zeros_like(y)) + F.smooth_l1_loss(y, a[:, :5])

    graph = rf.from_torch(Classifier(), (x(4, 8), whole(4)))
    assert graph.macs == 4 * 8 * 5
    _, back, _ = step(graph).phases
    assert back.graph.macs == 4 * 8 * 5  # the weight's gradient
    assert {"mse_loss_grad", "smooth_l1_loss_grad"} <= set(functions(back.graph))


# experts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("a", "b", "macs"),
    [((64, 32), (8, 32, 16), 64 * 32 * 16), ((8, 6, 32), (32, 16), 6 * 32 * 16), ((6, 32), (32, 16), 6 * 32 * 16)],
)
def test_a_row_meets_one_group(a: tuple[int, ...], b: tuple[int, ...], macs: int, dtype: torch.dtype) -> None:
    run = lambda left, right, ends: F.grouped_mm(left, right, offs=ends)  # noqa: E731
    graph = rf.from_torch(run, (x(*a, dtype=dtype), x(*b, dtype=dtype), x(8, dtype=torch.int32)))
    graph.check_shapes()
    assert graph.macs == macs


def test_matrices_without_groups_are_a_batched_product() -> None:
    graph = rf.from_torch(F.grouped_mm, (x(8, 6, 32, dtype=torch.bfloat16), x(8, 32, 16, dtype=torch.bfloat16)))
    assert graph.macs == 8 * 6 * 32 * 16


class Experts(nn.Module):
    """Tokens sorted by their expert, two products, and back."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.up = nn.Parameter(x(experts, 32, 64))
        self.down = nn.Parameter(x(experts, 64, 32))

    def forward(self, a: torch.Tensor, expert: torch.Tensor) -> torch.Tensor:
        expert, order = torch.sort(expert)
        ends = torch.histc(expert.int(), self.up.shape[0], 0, self.up.shape[0] - 1).cumsum(0, dtype=torch.int32)
        y = F.grouped_mm(F.grouped_mm(a[order], self.up, offs=ends).relu(), self.down, offs=ends)
        return torch.zeros_like(a).index_copy(0, order, y)


def test_a_token_reads_one_expert() -> None:
    """One token of 64 experts reads a 64th of the weights, 640 tokens all of them, once."""
    for tokens, read in ((1, 1), (640, 64)):
        graph = rf.from_torch(Experts(64), (x(tokens, 32), whole(tokens)))
        assert graph.macs == tokens * 2 * 32 * 64
        for op in graph.ops.values():
            if isinstance(op, GroupedMatMul):
                assert op.touched(*graph.arguments(op))[op.inputs[1]] == read * 32 * 64


def test_experts_are_trained() -> None:
    graph = rf.from_torch(Experts(4), (x(16, 32), whole(16)))
    _, back, _ = step(graph).phases
    assert back.graph.macs == 16 * (2 * 64 * 32 + 32 * 64)  # both of the second, the weight of the first
    assert rf.simulate(graph, "a100-80gb", mode="training").latency_s > 0


# functions of functions ----------------------------------------------------------------------------------------------


def test_a_branch_on_data_whose_sides_cost_the_same_is_one_of_them() -> None:
    a, b = x(8, 8), x(8, 8)
    graph = rf.from_torch(lambda a, b: torch.cond(a.sum() > 0, lambda a, b: a @ b, lambda a, b: b @ a, (a, b)), (a, b))
    assert graph.macs == 8**3
    assert functions(graph) == ["sum", "compare", "matmul"]
    other = lambda a, b: torch.cond(a.sum() > 0, lambda a, b: a @ b, lambda a, b: a + b, (a, b))  # noqa: E731
    with pytest.raises(InputError, match=r"depends on data: torch.cond has branches of 1 and 1 ops that differ"):
        rf.from_torch(other, (a, b))


def test_what_takes_functions_and_has_no_rule_is_named() -> None:
    while_loop: Any = import_module("torch._higher_order_ops.while_loop").while_loop
    program = lambda a: while_loop(lambda y: y.sum() < 9, lambda y: (y @ y,), (a,))  # noqa: E731
    with pytest.raises(UnknownOpError, match="no lowering rule for higher-order op 'while_loop' at 'the program'"):
        rf.from_torch(program, (x(8, 8),))


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's own, as its compiler is loaded
def test_flexible_attention_is_attention() -> None:
    from torch.nn.attention.flex_attention import flex_attention

    def program(q: torch.Tensor, k: torch.Tensor) -> Any:
        biased = flex_attention(q, k, k, score_mod=lambda s, b, h, i, j: s + (i - j), enable_gqa=True)
        return torch.compile(flex_attention)(biased, k, k, enable_gqa=True)

    code = flex_attention.__code__
    graph = rf.from_torch(program, (x(2, 4, 128, 16), x(2, 2, 128, 16)))
    with FlopCounterMode(display=False) as counter:
        F.scaled_dot_product_attention(x(2, 4, 128, 16), x(2, 4, 128, 16), x(2, 4, 128, 16))
    assert graph.macs == 2 * counter.get_total_flops() / 2
    assert functions(graph) == ["attention", "attention"]
    assert flex_attention.__code__ is code


def test_the_kernels_of_attention_themselves_take_rows_first() -> None:
    def program(q: torch.Tensor, k: torch.Tensor) -> Any:
        return torch.ops.aten._flash_attention_forward(q, k, k, None, None, 5, 7, 0.0, True, False)[0]

    graph = rf.from_torch(program, (x(2, 5, 4, 16), x(2, 7, 4, 16)))
    assert graph.macs == 2 * 4 * 5 * 7 * 16 * 2  # scores and context of each head
    assert [graph.tensors[t].shape for t in graph.outputs] == [(2, 5, 4, 16)]


def test_a_padding_mask_changes_no_product() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, device="meta")
    encoder = nn.TransformerEncoder(layer, 2).eval()
    mask = torch.zeros(2, 6, dtype=torch.bool)
    masked = rf.from_torch(encoder, (x(2, 6, 16),), kwargs={"src_key_padding_mask": mask})
    assert masked.macs == rf.from_torch(encoder, (x(2, 6, 16),)).macs
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_spectral_norm_multiplies_its_vectors() -> None:
    module = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 4))
    graph = rf.from_torch(module, (x(2, 8),))
    assert graph.params == 8 * 4 + 4
    assert graph.macs == 2 * 8 * 4 + 8 * 4 + 4  # the layer; W v and its product with u


def test_a_critic_of_one_image_is_a_number() -> None:
    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(), nn.Conv2d(8, 1, 4))

        def forward(self, a: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.convs(a)
            return y.squeeze()

    for images in (1, 2):
        graph = rf.from_torch(Critic(), (x(images, 3, 8, 8),))
        assert rf.simulate(graph, "a100-80gb").macs == images * (16 * 8 * 3 * 16 + 8 * 16)
