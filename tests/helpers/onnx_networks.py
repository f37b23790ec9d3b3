"""Networks in plain PyTorch for the tests of the ONNX front end: small ones of many kinds, three well-known ones."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def export(module: Any, x: Any, path: Path, **options: Any) -> Path:
    """Write an ONNX file as PyTorch's exporter does, without what it says meanwhile."""
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (x,), str(path), verbose=False, **options)
    finally:
        logging.disable(logging.NOTSET)
    return path


def conv_bn(i: int, o: int, k: int = 1, s: int = 1, g: int = 1, act: nn.Module | None = None) -> nn.Sequential:
    parts = [nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*parts, *([act] if act else []))


class Bottleneck(nn.Module):
    def __init__(self, i: int, width: int, s: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(i, width, act=nn.ReLU()),
            conv_bn(width, width, 3, s, act=nn.ReLU()),
            conv_bn(width, 4 * width),
        )
        self.short = conv_bn(i, 4 * width, 1, s) if s > 1 or i != 4 * width else nn.Identity()

    def forward(self, x: Tensor) -> Any:
        return F.relu(self.body(x) + self.short(x))


def resnet(depths: tuple[int, ...], width: int = 64) -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    ]  # fmt: skip
    channels = width
    for stage, depth in enumerate(depths):
        for i in range(depth):
            layers.append(Bottleneck(channels, width << stage, 2 if stage and i == 0 else 1))
            channels = 4 * width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


class MBConv(nn.Module):
    def __init__(self, i: int, o: int, expand: int, k: int, s: int) -> None:
        super().__init__()
        e = i * expand
        self.open = conv_bn(i, e, act=nn.SiLU()) if expand > 1 else nn.Identity()
        self.depthwise = conv_bn(e, e, k, s, e, act=nn.SiLU())
        self.reduce, self.expand = nn.Conv2d(e, max(1, i // 4), 1), nn.Conv2d(max(1, i // 4), e, 1)
        self.close = conv_bn(e, o)
        self.skip = s == 1 and i == o

    def forward(self, x: Tensor) -> Any:
        y = self.depthwise(self.open(x))
        y = y * self.expand(F.silu(self.reduce(y.mean((2, 3), keepdim=True)))).sigmoid()
        y = self.close(y)
        return x + y if self.skip else y


def efficientnet_b0() -> nn.Module:
    stages = [(1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2), (6, 112, 3, 5, 1),
              (6, 192, 4, 5, 2), (6, 320, 1, 3, 1)]  # fmt: skip
    layers: list[nn.Module] = [conv_bn(3, 32, 3, 2, act=nn.SiLU())]
    channels = 32
    for expand, out, depth, kernel, stride in stages:
        for i in range(depth):
            layers.append(MBConv(channels, out, expand, kernel, stride if i == 0 else 1))
            channels = out
    head = [conv_bn(channels, 1280, act=nn.SiLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers, *head)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Any:
        n, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.proj(y.transpose(1, 2).reshape(n, t, c))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, size: int, patch: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Any:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class Gpt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.blocks = nn.Embedding(100, 32), nn.Sequential(*(Block(32, 4, causal=True) for _ in range(2)))

    def forward(self, ids: Tensor) -> Any:
        return F.linear(self.blocks(self.table(ids)), self.table.weight)


class Shuffle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv_bn(8, 24, g=4, act=nn.ReLU()), conv_bn(24, 24, 3, 1, 24)

    def forward(self, x: Tensor) -> Any:
        n, c, h, w = (y := self.first(x)).shape
        return self.second(y.view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w))


class Unet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle = conv_bn(3, 8, 3, 2, act=nn.ReLU()), conv_bn(8, 16, 3, 2, act=nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 4, 2, 1)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Any:
        a = self.down(x)
        y = self.out(torch.cat([a, self.up(self.middle(a))], 1))
        return F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)


class ConvNext(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(16, 16, 7, 1, 3, groups=16), nn.LayerNorm(16)
        self.fc1, self.fc2, self.gamma = nn.Linear(16, 64), nn.Linear(64, 16), nn.Parameter(torch.randn(16))

    def forward(self, x: Tensor) -> Any:
        y = self.fc2(F.gelu(self.fc1(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))))
        return x + (self.gamma * y).permute(0, 3, 1, 2)


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(24), nn.LayerNorm(24)
        self.tokens = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.channels = nn.Sequential(nn.Linear(24, 48), nn.Hardswish(), nn.Linear(48, 24))

    def forward(self, x: Tensor) -> Any:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru = nn.LSTM(12, 16, batch_first=True, bidirectional=True), nn.GRU(32, 8)

    def forward(self, x: Tensor) -> Any:
        return self.gru(self.lstm(x)[0])[0]


class Windows(nn.Module):
    """Attention in windows of an image, as Swin does: roll, partition, relative bias."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.bias = nn.Linear(16, 48), nn.Parameter(torch.randn(2, 16, 16))

    def forward(self, x: Tensor) -> Any:
        n, h, w, c = x.shape
        x = torch.roll(x, (-2, -2), (1, 2)).view(n, h // 4, 4, w // 4, 4, c).transpose(2, 3).reshape(-1, 16, c)
        q, k, v = self.qkv(x).view(-1, 16, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        y = ((q * 8**-0.5) @ k.transpose(-2, -1) + self.bias).softmax(-1) @ v
        return y.transpose(1, 2).reshape(n, h // 4, w // 4, 4, 4, c).transpose(2, 3).reshape(n, h, w, c)


def vgg() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU6(),
        nn.AvgPool2d(3, 2, ceil_mode=True), nn.Dropout(), nn.Flatten(), nn.Linear(16 * 16, 32), nn.Softmax(-1),
    )  # fmt: skip


def audio() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 8, 10, 5), nn.GroupNorm(2, 8), nn.GELU(), nn.Conv1d(8, 16, 3, 2, dilation=2),
        nn.InstanceNorm1d(16, affine=True), nn.ELU(), nn.ConvTranspose1d(16, 4, 4, 2, groups=4),
    )  # fmt: skip


def video() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(3, 8, (3, 7, 7), (1, 2, 2), (1, 3, 3)), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(3, 2, 1),
        nn.Conv3d(8, 8, 3, padding=1, groups=8), nn.AdaptiveAvgPool3d(1),
    )  # fmt: skip


Make = Callable[[], nn.Module]
#: name -> (network, shape of its input); ids instead of floats where the shape ends with 0
SMALL: dict[str, tuple[Make, tuple[int, ...]]] = {
    "resnet": (lambda: resnet((1, 1), 8), (2, 3, 32, 32)),
    "mobile": (lambda: nn.Sequential(MBConv(8, 8, 4, 3, 1), MBConv(8, 16, 6, 5, 2)), (2, 8, 16, 16)),
    "vit": (lambda: Vit(32, 2, 4, 32, 8), (2, 3, 32, 32)),
    "gpt": (Gpt, (2, 12, 0)),
    "shuffle": (Shuffle, (2, 8, 8, 8)),
    "unet": (Unet, (2, 3, 16, 16)),
    "convnext": (ConvNext, (2, 16, 8, 8)),
    "mixer": (Mixer, (2, 16, 24)),
    "recurrent": (Recurrent, (2, 5, 12)),
    "windows": (Windows, (2, 8, 8, 16)),
    "vgg": (vgg, (2, 3, 16, 16)),
    "audio": (audio, (2, 1, 100)),
    "video": (video, (1, 3, 4, 16, 16)),
    "encoder": (lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), (2, 9, 32)),
}
#: the same networks as architecture files
KNOWN: dict[str, Make] = {
    "resnet-50": lambda: resnet((3, 4, 6, 3)),
    "efficientnet-b0": efficientnet_b0,
    "vit-b-16": lambda: Vit(768, 12, 12, 224, 16),
}


def example(shape: tuple[int, ...]) -> Any:
    if shape[-1] == 0:
        return torch.zeros(shape[:-1], dtype=torch.int64)
    return torch.zeros(shape)
