"""Small networks of every common kind, of torch.nn alone: what the constants of a runtime are fitted to.

They are nobody's published network, so that published ones can test the fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import nn

from roofline.measure.torch_parts import (
    Attention,
    ChannelsLast,
    Concat,
    Flatten,
    Gate,
    Mean,
    Residual,
    TinyOps,
    Tokens,
    Windows,
    conv,
    mlp,
)

Built: TypeAlias = tuple[nn.Module, tuple[int, ...]]
CLASSES = 1000
VOCABULARY = 8192
PATCH = 16


def _inverted(c: int, out: int, stride: int, act: type[nn.Module], *, kernel: int = 3, gate: bool = False) -> nn.Module:
    wide = [conv(c, 6 * c, 1, act=act), conv(6 * c, 6 * c, kernel, stride, 6 * c, act)]
    return Residual(*wide, *([Gate(6 * c)] if gate else []), conv(6 * c, out, 1, act=None))


def _head(c: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, CLASSES)]


def _pyramid(width: int, depth: int, size: int, block: Callable[[int, int, int], nn.Module], grow: int = 2) -> Built:
    """Return a stem, four stages of `depth` blocks each, halved in size, and a head."""
    layers, c = [conv(3, width, 3, 2)], width
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
        lambda c, out, s: Residual(conv(c, out, 3, s), conv(out, out, 3, act=None), last=nn.ReLU()),
    )


def _narrow(c: int, out: int, stride: int, groups: int) -> nn.Module:
    inner = max(groups, out // 2)
    return Residual(
        conv(c, inner, 1),
        conv(inner, inner, 3, stride, groups),
        conv(inner, 2 * out // 2, 1, act=None),
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
    layers: list[nn.Module] = [conv(3, 2 * width, 7, 2), nn.MaxPool2d(3, 2, 1)]
    c = 2 * width
    for stage in range(3):
        for _ in range(depth * (stage + 1)):
            new = nn.Sequential(
                nn.BatchNorm2d(c), nn.ReLU(), conv(c, 4 * width, 1), nn.Conv2d(4 * width, width, 3, padding=1)
            )
            layers.append(Concat(nn.Identity(), new))
            c += width
        layers += [conv(c, c // 2, 1), nn.AvgPool2d(2)]
        c //= 2
    return nn.Sequential(*layers, *_head(c)), (3, size, size)


def branches(width: int, depth: int, size: int) -> Built:
    """Return blocks of several kernels side by side."""

    def block(c: int, out: int, stride: int) -> nn.Module:
        quarter = out // 4
        return Concat(
            conv(c, quarter, 1, stride),
            nn.Sequential(conv(c, quarter, 1), conv(quarter, quarter, 3, stride)),
            nn.Sequential(conv(c, quarter, 1), conv(quarter, quarter, 5, stride)),
            nn.Sequential(nn.MaxPool2d(3, stride, 1), conv(c, quarter, 1)),
        )

    return _pyramid(2 * width, depth, size, block)


def large_kernel(width: int, depth: int, size: int) -> Built:
    """Return large depthwise kernels between layer norms, rows of channels inside."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 4)]
    for stage in range(4):
        c = width * 2**stage
        for _ in range(depth):
            rows = ChannelsLast(nn.LayerNorm(c), mlp(c, 4 * c))
            layers.append(Residual(nn.Conv2d(c, c, 7, padding=3, groups=c), rows))
        if stage < 3:
            layers += [ChannelsLast(nn.LayerNorm(c)), nn.Conv2d(c, 2 * c, 2, 2)]
    return nn.Sequential(*layers, *_head(c)), (3, size, size)


def _transformer(width: int, depth: int, mix: Callable[[], nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [Residual(nn.LayerNorm(width), mix()), Residual(nn.LayerNorm(width), mlp(width, 4 * width))]
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
            Residual(nn.LayerNorm(width), mlp(width, 4 * width)),
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
        *(plain, residual, bottleneck, grouped, inverted, squeezed, dense, large_kernel),
        *(vision_transformer, explicit_attention, language, mixer, branches, windows, tiny_ops),
    )
}

#: networks that take words -> how many there are
WORDS = {"language": VOCABULARY}
