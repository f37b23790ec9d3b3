"""Devices that a program names, wrappers around modules, and TorchScript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import roofline as rf

trace: Any = torch.jit.trace
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch on TorchScript
X = torch.empty(2, 8)


class Placed(nn.Module):
    """A linear layer after something that names a device."""

    def __init__(self, place: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.place = place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Place, then apply the layer."""
        out: torch.Tensor = self.layer(self.place(x))
        return out


@pytest.mark.parametrize(
    "place",
    [
        lambda x: x.cuda(),
        lambda x: x.to("cuda:1"),
        lambda x: x.to(0),
        lambda x: x.to(torch.device("cuda"), torch.float32),
        lambda x: x + torch.zeros(2, 8).cuda(),
        lambda x: x + torch.randn(2, 8, device="cuda"),
        lambda x: x + torch.zeros(2, 8).to(x.device),
        lambda x: x * torch.tensor([1.0] * 8, device="cuda"),
        lambda x: x.cpu() + torch.ones(8),
        lambda x: x + torch.as_tensor(np.ones(8, np.float32)),
    ],
)
def test_devices_that_a_program_names(place: Callable[[torch.Tensor], torch.Tensor]) -> None:
    graph = rf.from_torch(Placed(place), X)
    graph.check_shapes()
    assert (graph.macs, graph.params) == (2 * 64, 72)


def test_arrays_are_inputs() -> None:
    assert rf.from_torch(nn.Linear(8, 4), np.zeros((2, 8), np.float32)).macs == 64
    assert rf.from_torch(lambda pair: pair[0] @ pair[1], ([np.zeros((2, 8)), np.zeros((8, 4))],)).macs == 64


def features() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))


IMAGE, MACS, PARAMS = (1, 3, 8, 8), 36 * 8 * 27 + 2880, 224 + 16 + 2890


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        lambda m: nn.Sequential(nn.DataParallel(m[:3]), nn.DataParallel(m[3:])),
        torch.optim.swa_utils.AveragedModel,
        torch.jit.script,
        lambda m: trace(m, torch.rand(*IMAGE)),
        lambda m: nn.Sequential(torch.jit.script(m)),
    ],
)
def test_wrappers_count_as_what_they_hold(wrap: Callable[[nn.Module], nn.Module]) -> None:
    wrapped = wrap(features().eval())
    wrapped.train()
    graph = rf.from_torch(wrapped, IMAGE)
    assert (graph.macs, graph.params) == (MACS, PARAMS)
    assert graph.inputs == ("input",) or "x" in str(graph.inputs) or len(graph.inputs) == 1
    assert all(x.device.type == "cpu" for x in wrapped.parameters())
    assert wrapped.training


def test_scripts_take_numbers_and_defaults() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor, n: int = 2) -> torch.Tensor:
            for _ in range(n):
                x = torch.relu(self.layer(x))
            return x

    scripted = torch.jit.script(Loop())
    assert rf.from_torch(scripted, (X, 3)).macs == 3 * 128
    assert rf.from_torch(scripted, {"x": X}).macs == 2 * 128


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: nn.Sequential(m)[0]])
def test_a_scripted_recurrent_layer(wrap: Any) -> None:
    """Of its two overloads, the one that takes a tensor: (input + hidden) x 4 gates x hidden a step."""
    scripted = wrap(torch.jit.script(nn.LSTM(10, 20)))
    graph = rf.from_torch(scripted, torch.empty(5, 3, 10))
    assert graph.macs == 5 * 3 * 80 * 30
    assert graph.params == sum(p.numel() for p in scripted.parameters())
    assert all(x.device.type == "cpu" for x in scripted._flat_weights)
