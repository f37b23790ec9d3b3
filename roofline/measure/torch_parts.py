"""What the small networks of the plan are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(width: int, hidden: int) -> nn.Module:
    """Return two linear layers around a GELU."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


def conv(
    c: int, out: int, kernel: int, stride: int = 1, groups: int = 1, act: type[nn.Module] | None = nn.ReLU
) -> nn.Module:
    """Return a convolution, its norm, and an activation unless it is None."""
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
        self.mlp = mlp(tokens, tokens // 2)

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
