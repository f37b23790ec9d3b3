"""Programs of PyTorch under `vmap` and `inference_mode`, and bags of rows: what is read is not what is returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import vmap

import roofline as rf
from roofline.passes.kernels import make_kernels
from roofline.work.registry import work_of


def x(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


@pytest.mark.parametrize(
    ("program", "inputs", "macs"),
    [
        (lambda a, w: vmap(F.linear, in_dims=(None, 0))(a, w), (x(8, 16), x(5, 32, 16)), 5 * 8 * 16 * 32),
        (lambda a: vmap(nn.Linear(16, 32))(a), (x(5, 8, 16),), 5 * 8 * 16 * 32),
        (lambda a: vmap(vmap(nn.Linear(16, 32)))(a), (x(5, 3, 8, 16),), 5 * 3 * 8 * 16 * 32),
        (lambda q: vmap(F.scaled_dot_product_attention)(q, q, q), (x(5, 2, 4, 16, 8),), 5 * 8 * 2 * 16 * 16 * 8),
        (lambda a, w: vmap(lambda b: F.rms_norm(b, (16,), w) @ b.T)(a), (x(5, 8, 16), x(16)), 5 * 8 * 16 * 8),
        (lambda a, w: torch.func.grad(lambda v: F.linear(a, v).sum())(w), (x(5, 8), x(3, 8)), 2 * 5 * 8 * 3),
    ],
)
def test_a_transform_runs_every_example(program: Callable[..., Any], inputs: tuple[Any, ...], macs: int) -> None:
    assert rf.from_torch(program, inputs).macs == macs


class Everything(nn.Module):
    """Composite functions, updates in place and a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)
        self.drop, self.register = nn.Dropout(), nn.Buffer(torch.zeros(4))
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores between the channels."""
        h = self.head(self.drop(self.norm(self.conv(image.add_(1)))).mean((2, 3)))
        self.register.mul_(2)
        h[0] = self.register
        scores: torch.Tensor = self.encoder(h[:, None]).flatten(1) @ h.t()
        return scores


class InInference(Everything):
    """As a server decorates it."""

    @torch.inference_mode()
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the same."""
        made: torch.Tensor = super().forward(image)
        return made


def test_inference_mode_launches_what_the_program_launches_without() -> None:
    def ops(made: nn.Module) -> list[tuple[str, str]]:
        return [(name, op.kind) for name, op in rf.from_torch(made, (2, 3, 8, 8)).ops.items()]

    expected = ops(Everything())
    assert ops(InInference()) == expected
    with torch.inference_mode():
        assert ops(Everything()) == ops(InInference()) == expected


def of_the_bag(graph: rf.OpGraph) -> tuple[Any, Any]:
    name = "embedding_bag_forward_only"
    (kernel,) = make_kernels(graph, [(name,)])
    return kernel.traffic_bytes, work_of(graph.op(name), *graph.arguments(graph.op(name))).simple_ops


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("bag", [1, 20])
def test_a_bag_reads_all_its_rows(mode: str, bag: int) -> None:
    table = nn.EmbeddingBag(100_000, 64, mode=mode)
    graph = rf.from_torch(table, torch.zeros(32, bag, dtype=torch.int64))
    traffic, operations = of_the_bag(graph)
    assert traffic == 32 * bag * 64 * 4 + 32 * 64 * 4 + 32 * bag * 8
    assert operations == (32 * bag * 64 if bag > 1 else 0)
    assert graph.examples == 32
    assert graph.with_batch(64).tensors[graph.outputs[0]].shape == (64, 64)


def test_bags_of_many_sizes_and_weights_read_on_average() -> None:
    table, sums = nn.EmbeddingBag(100_000, 64, mode="sum"), torch.tensor([0, 3, 9])
    graph = rf.from_torch(table, (torch.zeros(24, dtype=torch.int64), sums, torch.rand(24)))
    traffic, operations = of_the_bag(graph)
    assert traffic == 24 * 64 * 4 + 3 * 64 * 4 + 24 * 8 + 3 * 8 + 24 * 4
    assert operations == 2 * 24 * 64
    assert graph.examples == 3


def test_a_score_that_becomes_a_number_keeps_no_memory_format() -> None:
    critic = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4))
    graph = rf.from_torch(lambda image: critic(image).squeeze(), (1, 3, 8, 8))
    assert graph.tensors[graph.outputs[0]].shape == ()
    assert rf.simulate(graph, "a100-80gb").macs == 4 * 4 * 8 * 3 * 16 + 8 * 16
