"""Small networks of every common kind, of torch.nn alone: what the constants of a runtime are fitted to.

They are nobody's published network, so that published ones can test the fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Built: TypeAlias = tuple[nn.Module, tuple[int, ...]]
CLASSES = 1000
VOCABULARY = 8192
PATCH = 16


def _conv(
    c: int, out: int, kernel: int, stride: int = 1, groups: int = 1, act: type[nn.Module] | None = nn.ReLU
) -> nn.Module:
    layers = [nn.Conv2d(c, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *([] if act is None else [act()]))


class Residual(nn.Module):
    """Something, and what came in added to it where the shapes agree."""

    def __init__(self, *layers: nn.Module, last: nn.Module | None = None) -> None:
        super().__init__()
        self.layers, self.last = nn.Sequential(*layers), last

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        y = self.layers(x)
        y = y + x if y.shape == x.shape else y
        return y if self.last is None else self.last(y)  # type: ignore[no-any-return]


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(c, max(8, c // 4), 1),
            nn.SiLU(),
            nn.Conv2d(max(8, c // 4), c, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated channels."""
        return x * self.gate(x)  # type: ignore[no-any-return]


class Concat(nn.Module):
    """Branches side by side in the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels of all branches."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class ChannelsLast(nn.Module):
    """Images as rows of channels inside, and back."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the images."""
        return self.layers(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention over tokens: the fused op of PyTorch, or scores and softmax spelt out."""

    def __init__(self, width: int, *, fused: bool = True, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.fused, self.causal = max(1, width // 32), fused, causal
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens (N, T, C)."""
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            y = torch.softmax(q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5, -1) @ v
        return self.out(y.transpose(1, 2).reshape(n, t, c))  # type: ignore[no-any-return]


class Tokens(nn.Module):
    """Mixing over tokens instead of channels."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.mlp = _mlp(tokens, tokens // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens (N, T, C)."""
        return self.mlp(x.transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]


class Windows(nn.Module):
    """Attention inside windows of an image (N, H, W, C) that is rolled by half a window first."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.size, self.attention = size, Attention(width, fused=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the image."""
        n, h, w, c = x.shape
        s = self.size
        x = torch.roll(x, (-(s // 2), -(s // 2)), (1, 2))
        x = x.reshape(n, h // s, s, w // s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, s * s, c)
        x = self.attention(x).reshape(n, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return torch.roll(x, (s // 2, s // 2), (1, 2))


class Flatten(nn.Module):
    """Patches of an image as tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens (N, T, C)."""
        return x.flatten(2).transpose(1, 2)


class Mean(nn.Module):
    """The mean token."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C)."""
        return x.mean(1)


class TinyOps(nn.Module):
    """A chain of ops on four numbers: nothing but dispatch."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        """Return four numbers."""
        for _ in range(self.count // 2):
            x = torch.relu(x + 1.0)
        return x


def _mlp(width: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


def _inverted(c: int, out: int, stride: int, act: type[nn.Module], *, kernel: int = 3, gate: bool = False) -> nn.Module:
    wide = [_conv(c, 6 * c, 1, act=act), _conv(6 * c, 6 * c, kernel, stride, 6 * c, act)]
    return Residual(*wide, *([Gate(6 * c)] if gate else []), _conv(6 * c, out, 1, act=None))


def _head(c: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, CLASSES)]


def _pyramid(width: int, depth: int, size: int, block: Callable[[int, int, int], nn.Module], grow: int = 2) -> Built:
    """Return a stem, four stages of `depth` blocks each, halved in size, and a head."""
    layers, c = [_conv(3, width, 3, 2)], width
    for stage in range(4):
        for i in range(depth):
            out = width * grow**stage
            layers.append(block(c, out, 2 if i == 0 and stage else 1))
            c = out
    return nn.Sequential(*layers, *_head(c)), (3, size, size)


def plain(width: int, depth: int, size: int) -> Built:
    """Return convolutions in a row, wide linear layers at the end."""
    layers: list[nn.Module] = []
    c = 3
    for stage in range(4):
        for _ in range(depth):
            layers += [nn.Conv2d(c, width * 2**stage, 3, padding=1), nn.ReLU(inplace=True)]
            c = width * 2**stage
        layers.append(nn.MaxPool2d(2))
    layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * c, 2048), nn.ReLU(), nn.Linear(2048, CLASSES)]
    return nn.Sequential(*layers), (3, size, size)


def residual(width: int, depth: int, size: int) -> Built:
    """Return pairs of 3 x 3 convolutions with skips."""
    return _pyramid(
        width,
        depth,
        size,
        lambda c, out, s: Residual(_conv(c, out, 3, s), _conv(out, out, 3, act=None), last=nn.ReLU()),
    )


def _narrow(c: int, out: int, stride: int, groups: int) -> nn.Module:
    inner = max(groups, out // 2)
    return Residual(
        _conv(c, inner, 1),
        _conv(inner, inner, 3, stride, groups),
        _conv(inner, 2 * out // 2, 1, act=None),
        last=nn.ReLU(),
    )


def bottleneck(width: int, depth: int, size: int) -> Built:
    """Return bottlenecks with skips."""
    return _pyramid(4 * width, depth, size, lambda c, out, s: _narrow(c, out, s, 1))


def grouped(width: int, depth: int, size: int) -> Built:
    """Return bottlenecks with grouped convolutions."""
    return _pyramid(2 * width, depth + 1, size, lambda c, out, s: _narrow(c, out, s, 16))


def inverted(width: int, depth: int, size: int) -> Built:
    """Return inverted bottlenecks with depthwise convolutions."""
    return _pyramid(width, depth, size, lambda c, out, s: _inverted(c, out, s, nn.ReLU6))


def squeezed(width: int, depth: int, size: int) -> Built:
    """Return inverted bottlenecks with gates and swish."""
    return _pyramid(width, depth, size, lambda c, out, s: _inverted(c, out, s, nn.SiLU, kernel=5, gate=True))


def dense(width: int, depth: int, size: int) -> Built:
    """Return blocks whose layers each add channels to all that came before."""
    layers: list[nn.Module] = [_conv(3, 2 * width, 7, 2), nn.MaxPool2d(3, 2, 1)]
    c = 2 * width
    for stage in range(3):
        for _ in range(depth * (stage + 1)):
            new = nn.Sequential(
                nn.BatchNorm2d(c), nn.ReLU(), _conv(c, 4 * width, 1), nn.Conv2d(4 * width, width, 3, padding=1)
            )
            layers.append(Concat(nn.Identity(), new))
            c += width
        layers += [_conv(c, c // 2, 1), nn.AvgPool2d(2)]
        c //= 2
    return nn.Sequential(*layers, *_head(c)), (3, size, size)


def branches(width: int, depth: int, size: int) -> Built:
    """Return blocks of several kernels side by side."""

    def block(c: int, out: int, stride: int) -> nn.Module:
        quarter = out // 4
        return Concat(
            _conv(c, quarter, 1, stride),
            nn.Sequential(_conv(c, quarter, 1), _conv(quarter, quarter, 3, stride)),
            nn.Sequential(_conv(c, quarter, 1), _conv(quarter, quarter, 5, stride)),
            nn.Sequential(nn.MaxPool2d(3, stride, 1), _conv(c, quarter, 1)),
        )

    return _pyramid(2 * width, depth, size, block)


def large_kernel(width: int, depth: int, size: int) -> Built:
    """Return large depthwise kernels between layer norms, rows of channels inside."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 4)]
    for stage in range(4):
        c = width * 2**stage
        for _ in range(depth):
            rows = ChannelsLast(nn.LayerNorm(c), _mlp(c, 4 * c))
            layers.append(Residual(nn.Conv2d(c, c, 7, padding=3, groups=c), rows))
        if stage < 3:
            layers += [ChannelsLast(nn.LayerNorm(c)), nn.Conv2d(c, 2 * c, 2, 2)]
    return nn.Sequential(*layers, *_head(c)), (3, size, size)


def _transformer(width: int, depth: int, mix: Callable[[], nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [Residual(nn.LayerNorm(width), mix()), Residual(nn.LayerNorm(width), _mlp(width, 4 * width))]
    return layers


def vision_transformer(width: int, depth: int, size: int, *, fused: bool = True) -> Built:
    """Return a transformer over patches of an image."""
    layers = _transformer(width, depth, lambda: Attention(width, fused=fused))
    ends = nn.LayerNorm(width), Mean(), nn.Linear(width, CLASSES)
    return nn.Sequential(nn.Conv2d(3, width, PATCH, PATCH), Flatten(), *layers, *ends), (3, size, size)


def explicit_attention(width: int, depth: int, size: int) -> Built:
    """Return a transformer whose attention is spelt out."""
    return vision_transformer(width, depth, 2 * size, fused=False)


def mixer(width: int, depth: int, size: int) -> Built:
    """Return linear layers over tokens and over channels in turn."""
    layers = _transformer(width, depth, lambda: Tokens((size // PATCH) ** 2))
    ends = nn.LayerNorm(width), Mean(), nn.Linear(width, CLASSES)
    return nn.Sequential(nn.Conv2d(3, width, PATCH, PATCH), Flatten(), *layers, *ends), (3, size, size)


def windows(width: int, depth: int, size: int) -> Built:
    """Return attention inside rolled windows."""
    layers: list[nn.Module] = []
    for _ in range(2 * depth):
        layers += [
            Residual(nn.LayerNorm(width), Windows(width, 7)),
            Residual(nn.LayerNorm(width), _mlp(width, 4 * width)),
        ]
    stem = nn.Conv2d(3, width, 4, 4)
    return nn.Sequential(stem, ChannelsLast(*layers), *_head(width)), (
        3,
        28 * max(1, size // 28),
        28 * max(1, size // 28),
    )


def language(width: int, depth: int, tokens: int) -> Built:
    """Return a causal transformer over words."""
    layers = _transformer(width, depth, lambda: Attention(width, causal=True))
    return nn.Sequential(nn.Embedding(VOCABULARY, width), *layers, nn.LayerNorm(width), nn.Linear(width, VOCABULARY)), (
        tokens,
    )


def tiny_ops(count: int) -> Built:
    """Return a chain of ops that compute next to nothing."""
    return TinyOps(count), (4,)


#: name in the plan -> module and shape of one example
BUILDERS: dict[str, Callable[..., Built]] = {
    f.__name__: f
    for f in (
        plain, residual, bottleneck, grouped, inverted, squeezed, dense, large_kernel, vision_transformer,
        explicit_attention, language, mixer, branches, windows, tiny_ops,
    )
}  # fmt: skip

#: networks that take words -> how many there are
WORDS = {"language": VOCABULARY}
