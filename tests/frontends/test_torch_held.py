"""Programs that are no modules but call some, and what programs keep of a lowering."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import roofline as rf
from roofline.errors import InputError


class Pair(nn.Module):
    """Two layers, of which a method uses one."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(8, 16, bias=False), nn.Linear(16, 8)
        self.drop = nn.Dropout(0.5)

    def encode(self, x: torch.Tensor) -> Any:
        """Return features."""
        return self.encoder(x)

    def forward(self, x: torch.Tensor) -> Any:
        """Return what was given."""
        return self.decoder(self.drop(self.encode(x)))


PAIR = Pair()


class Pipeline:
    """An object that holds a module among others."""

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {"net": PAIR, "size": 8}

    def __call__(self, x: torch.Tensor) -> Any:
        """Run the network."""
        return self.parts["net"](x)


def through_a_global(x: torch.Tensor) -> Any:
    return helper(x)


def helper(x: torch.Tensor) -> Any:
    return next(PAIR(row) for row in (x,))


def closing_over(module: nn.Module) -> Callable[[torch.Tensor], Any]:
    return lambda x: module(x)


def scaled(module: nn.Module, x: torch.Tensor) -> Any:
    return module(x) * 2


WHOLE = {"encoder.weight", "decoder.weight", "decoder.bias"}


@pytest.mark.parametrize(
    ("program", "prefix"),
    [
        (functools.partial(PAIR), ""),
        (PAIR.forward, ""),
        (closing_over(PAIR), "module."),
        (functools.partial(scaled, PAIR), "0."),
        (functools.partial(scaled, module=PAIR), "module."),
        (Pipeline(), "parts.net."),
        (Pipeline().__call__, "parts.net."),
        (through_a_global, "helper.PAIR."),
        (lambda x, net=PAIR: net(x), "0."),
    ],
)
def test_the_parameters_are_those_of_the_modules_by_their_paths(program: Callable[..., Any], prefix: str) -> None:
    PAIR.train()
    graph = rf.from_torch(program, {"x": torch.empty(2, 8)})
    assert {t.id for t in graph.tensors.values() if t.role == "parameter"} == {prefix + name for name in WHOLE}
    assert (graph.macs, graph.params) == (2 * 2 * 128, 128 + 128 + 8)
    assert not any("dropout" in name for name in graph.ops)  # evaluation mode
    assert PAIR.training and PAIR.drop.training


def test_a_method_has_the_parameters_that_it_uses() -> None:
    graph = rf.from_torch(PAIR.encode, (2, 8))
    assert (graph.macs, graph.params) == (256, 128)
    assert list(graph.ops) == ["encoder/mm"]


def test_a_parameter_without_module_is_one_and_a_tensor_is_a_constant() -> None:
    weights = [nn.Parameter(torch.empty(8, 4)), torch.empty(4)]
    graph = rf.from_torch(lambda x: x @ weights[0] + weights[1], (2, 8))
    assert {t.role for t in graph.tensors.values() if t.id.endswith("parameter")} == {"parameter"}
    assert graph.params == 32


@functools.lru_cache(None)
def positions(length: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    steps = torch.arange(length, dtype=torch.float32, device=device)
    return steps.sin(), steps.cos()


TABLES: dict[int, torch.Tensor] = {}
LAST: list[torch.Tensor] = []


class Caching(nn.Module):
    """Positions in a cached function, and in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> Any:
        """Return positions added to features."""
        if x.shape[0] not in TABLES:
            TABLES[x.shape[0]] = torch.ones(8, device=x.device).exp()
        return self.layer(x) + sum(positions(8, x.device)) + TABLES[x.shape[0]]


def test_what_a_cache_keeps_of_a_lowering_is_taken_back() -> None:
    net = Caching().eval()
    first = rf.from_torch(net, (2, 8))
    assert not TABLES and positions.cache_info().currsize == 0
    again = rf.from_torch(net, (2, 8))
    assert list(again.ops) == list(first.ops)
    assert net(torch.ones(2, 8)).device.type == "cpu"
    kept = positions.cache_info().currsize, list(TABLES)
    assert kept == (1, [2])  # of the run on data


def test_what_stays_in_a_list_is_refused_rather_than_taken_for_a_constant() -> None:
    def program(x: torch.Tensor) -> torch.Tensor:
        if not LAST:
            LAST.append(x.exp())
        return x + LAST[0]

    assert len(rf.from_torch(program, (2, 8)).ops) == 2
    with pytest.raises(InputError, match="kept from an earlier lowering"):
        rf.from_torch(program, (2, 8))
    LAST.clear()
    assert len(rf.from_torch(program, (2, 8)).ops) == 2
    LAST.clear()
