"""What exported PyTorch programs are made of: the writer copies from here what a network uses.

Nothing in the package imports this file: it is text, kept as code so that it is checked as code.
"""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def channels_first(x: Tensor) -> Tensor:
    """Turn images (N, H, W, C) into (N, C, H, W)."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """Turn images (N, C, H, W) into (N, H, W, C)."""
    return x.permute(0, 2, 3, 1)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | None = None, causal: bool = False) -> Tensor:
    """Attend from every token (N, T, heads x D) to every other one; `bias` is added to the scores."""
    n, length, width = q.shape
    q, k, v = (x.reshape(n, length, heads, width // heads).transpose(1, 2) for x in (q, k, v))
    x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=causal)
    return x.transpose(1, 2).reshape(n, length, width)


def attend_in_windows(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Attend inside windows; `bias` is added to the scores of all, each row of `mask` to those of one of an image."""
    windows, _, area, _ = mask.shape
    q, k, v = (x.reshape(-1, windows, area, heads, x.shape[-1] // heads).transpose(2, 3) for x in (q, k, v))
    x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias + mask)
    return x.transpose(2, 3).reshape(-1, area, heads * v.shape[-1])


def prepend(token: Tensor, x: Tensor) -> Tensor:
    """Put one vector in front of the tokens of every example."""
    return torch.cat([token.expand(x.shape[0], -1, -1), x], dim=1)


def space_to_depth(x: Tensor) -> Tensor:
    """Move squares of 2 x 2 positions of (N, H, W, C) into the channels, columns before rows."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return x.permute(0, 1, 3, 4, 2, 5).reshape(n, height // 2, width // 2, 4 * channels)


def space_to_batch(x: Tensor) -> Tensor:
    """Move squares of 2 x 2 positions of (N, H, W, C) into the batch."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return x.permute(2, 4, 0, 1, 3, 5).reshape(4 * n, height // 2, width // 2, channels)


def batch_to_space(x: Tensor) -> Tensor:
    """Put together again what `space_to_batch` took apart."""
    n, height, width, channels = x.shape
    x = x.reshape(2, 2, n // 4, height, width, channels)
    return x.permute(2, 3, 0, 4, 1, 5).reshape(n // 4, 2 * height, 2 * width, channels)


def window_partition(x: Tensor, window: int) -> Tensor:
    """Cut images into windows, which join the batch: (N, H, W, C) -> (N x windows, window x window, C)."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // window, window, width // window, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window, channels)


def window_reverse(x: Tensor, window: int, height: int, width: int) -> Tensor:
    """Join windows to images again."""
    x = x.reshape(-1, height // window, width // window, window, window, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, x.shape[-1])


def heads_first(rows: Tensor) -> Tensor:
    """Turn the rows of a window's table, (area x area, heads), into (heads, area, area)."""
    area = math.isqrt(rows.shape[0])
    return rows.reshape(area, area, -1).permute(2, 0, 1).contiguous()


def window_offsets(window: int) -> Tensor:
    """Return which row of a table (2 window - 1)^2 belongs to each pair of positions in a window."""
    at = torch.arange(window * window)
    y, x = at // window, at % window
    rows, columns = (a[:, None] - a[None, :] + window - 1 for a in (y, x))
    return (rows * (2 * window - 1) + columns).flatten()


def shift_mask(height: int, width: int, window: int) -> Tensor:
    """Return what keeps positions of shifted windows apart that are no neighbours: (windows, 1, area, area)."""

    def region(size: int) -> Tensor:
        at = torch.arange(size)
        return (at >= size - window).long() + (at >= size - window // 2)

    regions = 3 * region(height)[:, None] + region(width)[None, :]
    regions = window_partition(regions[None, :, :, None], window).squeeze(-1)
    apart = regions[:, :, None] != regions[:, None, :]
    return torch.where(apart, -100.0, 0.0)[:, None]


def draw(module: nn.Module) -> None:
    """Draw the weights of a layer."""
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        fan_out = height * width * module.out_channels // module.groups
        normal(module.weight, CONV_DEVIATION or math.sqrt(2 / fan_out))
    elif isinstance(module, nn.Linear | nn.Embedding):
        normal(module.weight, LINEAR_DEVIATION)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def normal(weight: Tensor, deviation: float) -> Tensor:
    """Fill a weight with normal numbers, without those beyond two deviations where the network's paper says so."""
    if TRUNCATED:
        return nn.init.trunc_normal_(weight, 0.0, deviation, -2 * deviation, 2 * deviation)
    return nn.init.normal_(weight, 0.0, deviation)


def drawn(*shape: int) -> nn.Parameter:
    """Return a parameter that belongs to no layer."""
    return nn.Parameter(normal(torch.empty(shape), LINEAR_DEVIATION))


BATCH_NORM_EPSILON = 1e-5
LAYER_NORM_EPSILON = 1e-5
TRUNCATED = False
CONV_DEVIATION = 0.0
LINEAR_DEVIATION = 0.01
LAYER_SCALE = 1e-6
RESIDUAL_DEVIATION = 0.0
