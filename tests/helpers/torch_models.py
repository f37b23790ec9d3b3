"""The networks of `jax_models` in PyTorch, written by themselves: another hand, the same papers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_norm(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


class Bottleneck(nn.Module):
    """ResNet's bottleneck, the stride in the 3x3 convolution."""

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.reduce, self.conv = conv_norm(c_in, width, 1), conv_norm(width, width, 3, stride)
        self.project = conv_norm(width, 4 * width, 1)
        self.shortcut = conv_norm(c_in, 4 * width, 1, stride) if stride > 1 or c_in != 4 * width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(F.relu(self.conv(F.relu(self.reduce(x)))))
        return F.relu(y + self.shortcut(x))


def resnet50() -> nn.Module:
    layers: list[nn.Module] = [conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, (width, repeats) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for index in range(repeats):
            layers.append(Bottleneck(channels, width, 2 if stage and not index else 1))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


class MBConv(nn.Module):
    """EfficientNet's block: expansion, depthwise convolution, gates, projection."""

    def __init__(self, c_in: int, c_out: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide, squeeze = c_in * expand, max(1, c_in // 4)
        self.expand = conv_norm(c_in, wide, 1) if expand > 1 else None
        self.depthwise = conv_norm(wide, wide, kernel, stride, wide)
        self.squeeze, self.excite = nn.Conv2d(wide, squeeze, 1), nn.Conv2d(squeeze, wide, 1)
        self.project = conv_norm(wide, c_out, 1)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.silu(self.expand(x))
        y = F.silu(self.depthwise(y))
        gates = self.excite(F.silu(self.squeeze(y.mean((2, 3), keepdim=True))))
        y = self.project(y * torch.sigmoid(gates))
        return y + x if self.residual else y  # type: ignore[no-any-return]


def efficientnet_b0() -> nn.Module:
    table = (
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    )  # fmt: skip
    layers: list[nn.Module] = [conv_norm(3, 32, 3, 2), nn.SiLU()]
    channels = 32
    for expand, c_out, repeats, stride, kernel in table:
        for index in range(repeats):
            layers.append(MBConv(channels, c_out, expand, kernel, 1 if index else stride))
            channels = c_out
    head = [conv_norm(channels, 1280, 1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers, *head)


class EncoderBlock(nn.Module):
    """A pre-norm transformer block with one product for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(self.norm2(x))))  # type: ignore[no-any-return]


class ViT(nn.Module):
    """ViT with a class token."""

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12, patch: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, 1 + (224 // patch) ** 2, width))
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])  # type: ignore[no-any-return]


MODELS: dict[str, Callable[[], nn.Module]] = {
    "resnet-50": resnet50,
    "efficientnet-b0": efficientnet_b0,
    "vit-b-16": ViT,
}


def make(name: str) -> nn.Module:
    """Return a module of `MODELS` in evaluation mode."""
    return MODELS[name]().eval()
