"""Somebody's own blocks, and spaces over them: transformers that close their residuals, CNNs before and after norms."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import roofline as rf
from roofline.search.space.own.modules import ModuleSpace

Shape = tuple[int, ...]


class Patches(nn.Module):
    def __init__(self, width: int, patch: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: torch.Tensor) -> Any:
        return self.conv(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, shape: Shape, ratio: int, heads: int = 4) -> None:
        super().__init__()
        width = shape[-1]
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))

    def forward(self, x: torch.Tensor) -> Any:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self, shape: Shape, ratio: int) -> None:
        super().__init__()
        tokens, width = shape
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, tokens), nn.SiLU(), nn.Linear(tokens, tokens))
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.SiLU(), nn.Linear(ratio * width, width))

    def forward(self, x: torch.Tensor) -> Any:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mlp(self.norm2(x))


class Classifier(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(shape[-1]), nn.Linear(shape[-1], 10)

    def forward(self, x: torch.Tensor) -> Any:
        return self.linear(self.norm(x).mean(1))


class Residual(nn.Module):
    def __init__(self, shape: Shape, width: int, index: int) -> None:
        super().__init__()
        stride, channels = 2 if index == 0 else 1, shape[0]
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.shortcut = nn.Identity() if channels == width and stride == 1 else nn.Conv2d(channels, width, 1, stride)

    def forward(self, x: torch.Tensor) -> Any:
        return torch.relu(self.body(x) + self.shortcut(x))


class PreActivation(nn.Module):
    """Opens with a norm: a compiler runs it in the kernel of the convolution before."""

    def __init__(self, shape: Shape, width: int, index: int) -> None:
        super().__init__()
        stride, channels = 2 if index == 0 else 1, shape[0]
        self.open = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
        )  # fmt: skip
        self.shortcut = nn.Identity() if channels == width and stride == 1 else nn.Conv2d(channels, width, 1, stride)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.open(x)
        return self.body(y) + self.shortcut(y)


class Inverted(nn.Module):
    def __init__(self, shape: Shape, width: int, index: int) -> None:
        super().__init__()
        stride, channels = 2 if index == 0 else 1, shape[0]
        hidden = 4 * channels
        self.body = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.SiLU(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.SiLU(),
            nn.Conv2d(hidden, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.adds = channels == width and stride == 1

    def forward(self, x: torch.Tensor) -> Any:
        return x + self.body(x) if self.adds else self.body(x)


def stem(width: int = 16) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


class Head(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.linear = nn.Linear(shape[0], 10)

    def forward(self, x: torch.Tensor) -> Any:
        return self.linear(x.mean((2, 3)))


transformers: ModuleSpace = rf.module_space(
    "transformers",
    [
        rf.module_stage("patches", Patches, width=[64, 96]),
        rf.module_stage("s0", [Attention, Mixer], repeats=[1, 2, 3], ratio=[2, 4]),
        rf.module_stage("s1", [Attention, Mixer], repeats=[0, 2], ratio=[3, 4]),
        rf.module_stage("head", Classifier),
    ],
    input=(3, 64, 64),
)


def cnns() -> ModuleSpace:
    """Return a space; a function, so that both ways of naming one are tried."""
    return rf.module_space(
        "cnns",
        [
            rf.module_stage("stem", stem),
            rf.module_stage("s0", [Residual, Inverted, PreActivation], repeats=[1, 2], width=[16, 24]),
            rf.module_stage("s1", [Residual, Inverted, PreActivation], repeats=[1, 3], width=[32, 48]),
            rf.module_stage("head", Head),
        ],
        input=(3, 32, 32),
    )


def depth(networks: list[object]) -> list[float]:
    """A score of networks."""
    return [float(len(network.parts)) for network in networks]  # type: ignore[attr-defined]


not_a_space = 3
