"""Networks in flax.nnx, written as their papers have them, for tests: made abstract, without weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

Array = Any


def abstract(make: Callable[[], nnx.Module]) -> Any:
    """Return a module whose parameters are shapes only."""
    return nnx.eval_shape(make)


def image(batch: int, size: int = 224) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)  # type: ignore[no-untyped-call]


def batch_norm(channels: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    return nnx.BatchNorm(channels, use_running_average=True, rngs=rngs)


class ConvNorm(nnx.Module):
    """Convolution without bias, batch norm."""

    def __init__(self, c_in: int, c_out: int, kernel: int, *, stride: int = 1, groups: int = 1, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(
            c_in, c_out, (kernel, kernel), strides=stride, use_bias=False, feature_group_count=groups, rngs=rngs,
            padding=[(kernel // 2, kernel // 2)] * 2,
        )  # fmt: skip
        self.norm = batch_norm(c_out, rngs)

    def __call__(self, x: Array) -> Array:
        return self.norm(self.conv(x))


class Bottleneck(nnx.Module):
    """ResNet's bottleneck, the stride in the 3x3 convolution."""

    def __init__(self, c_in: int, width: int, stride: int, rngs: nnx.Rngs) -> None:
        c_out = 4 * width
        self.reduce = ConvNorm(c_in, width, 1, rngs=rngs)
        self.conv = ConvNorm(width, width, 3, stride=stride, rngs=rngs)
        self.project = ConvNorm(width, c_out, 1, rngs=rngs)
        changes = stride != 1 or c_in != c_out
        self.shortcut = ConvNorm(c_in, c_out, 1, stride=stride, rngs=rngs) if changes else None

    def __call__(self, x: Array) -> Array:
        residual = x if self.shortcut is None else self.shortcut(x)
        y = nnx.relu(self.reduce(x))
        y = nnx.relu(self.conv(y))
        return nnx.relu(self.project(y) + residual)


class ResNet50(nnx.Module):
    """ResNet-50 (He et al., 2015)."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.stem = ConvNorm(3, 64, 7, stride=2, rngs=rngs)
        blocks, channels = [], 64
        for stage, (width, repeats) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
            for index in range(repeats):
                blocks.append(Bottleneck(channels, width, 2 if stage and not index else 1, rngs))
                channels = 4 * width
        self.blocks = nnx.List(blocks)
        self.head = nnx.Linear(channels, 1000, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = nnx.relu(self.stem(x))
        x = nnx.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))  # type: ignore[no-untyped-call]
        for block in self.blocks:
            x = block(x)
        return self.head(jnp.mean(x, axis=(1, 2)))


class SqueezeExcite(nnx.Module):
    """Gates of each channel from its mean."""

    def __init__(self, channels: int, squeeze: int, rngs: nnx.Rngs) -> None:
        self.reduce = nnx.Conv(channels, squeeze, (1, 1), rngs=rngs)
        self.expand = nnx.Conv(squeeze, channels, (1, 1), rngs=rngs)

    def __call__(self, x: Array) -> Array:
        gates = jnp.mean(x, axis=(1, 2), keepdims=True)
        return x * nnx.sigmoid(self.expand(nnx.silu(self.reduce(gates))))


class MBConv(nnx.Module):
    """EfficientNet's block."""

    def __init__(self, c_in: int, c_out: int, expand: int, kernel: int, stride: int, rngs: nnx.Rngs) -> None:
        wide = c_in * expand
        self.expand = ConvNorm(c_in, wide, 1, rngs=rngs) if expand > 1 else None
        self.depthwise = ConvNorm(wide, wide, kernel, stride=stride, groups=wide, rngs=rngs)
        self.se = SqueezeExcite(wide, max(1, c_in // 4), rngs)
        self.project = ConvNorm(wide, c_out, 1, rngs=rngs)
        self.residual = stride == 1 and c_in == c_out

    def __call__(self, x: Array) -> Array:
        y = x if self.expand is None else nnx.silu(self.expand(x))
        y = self.project(self.se(nnx.silu(self.depthwise(y))))
        return y + x if self.residual else y


#: expansion, output channels, repeats, stride, kernel of EfficientNet-B0's stages (Tan and Le, 2019, table 1)
EFFICIENTNET_B0 = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip


class EfficientNetB0(nnx.Module):
    """EfficientNet-B0."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.stem = ConvNorm(3, 32, 3, stride=2, rngs=rngs)
        blocks, channels = [], 32
        for expand, c_out, repeats, stride, kernel in EFFICIENTNET_B0:
            for index in range(repeats):
                blocks.append(MBConv(channels, c_out, expand, kernel, 1 if index else stride, rngs))
                channels = c_out
        self.blocks = nnx.List(blocks)
        self.top = ConvNorm(channels, 1280, 1, rngs=rngs)
        self.head = nnx.Linear(1280, 1000, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = nnx.silu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(jnp.mean(nnx.silu(self.top(x)), axis=(1, 2)))


class EncoderBlock(nnx.Module):
    """A pre-norm transformer block with one product for queries, keys and values."""

    def __init__(self, width: int, heads: int, rngs: nnx.Rngs) -> None:
        self.norm1, self.norm2 = nnx.LayerNorm(width, rngs=rngs), nnx.LayerNorm(width, rngs=rngs)
        self.qkv, self.out = nnx.Linear(width, 3 * width, rngs=rngs), nnx.Linear(width, width, rngs=rngs)
        self.up, self.down = nnx.Linear(width, 4 * width, rngs=rngs), nnx.Linear(4 * width, width, rngs=rngs)
        self.heads = heads

    def __call__(self, x: Array) -> Array:
        n, t, c = x.shape
        q, k, v = jnp.split(self.qkv(self.norm1(x)), 3, axis=-1)
        apart = (n, t, self.heads, c // self.heads)
        y = jax.nn.dot_product_attention(q.reshape(apart), k.reshape(apart), v.reshape(apart))
        x = x + self.out(y.reshape(n, t, c))
        return x + self.down(nnx.gelu(self.up(self.norm2(x)), approximate=False))


class ViT(nnx.Module):
    """ViT with a class token (Dosovitskiy et al., 2020)."""

    def __init__(self, rngs: nnx.Rngs, width: int = 768, depth: int = 12, heads: int = 12, patch: int = 16) -> None:
        self.patches = nnx.Conv(3, width, (patch, patch), strides=patch, padding="VALID", rngs=rngs)
        self.token = nnx.Param(jnp.zeros((1, 1, width)))
        self.position = nnx.Param(jnp.zeros((1, 1 + (224 // patch) ** 2, width)))
        self.blocks = nnx.List([EncoderBlock(width, heads, rngs) for _ in range(depth)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, 1000, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = self.patches(x)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        token = jnp.broadcast_to(self.token[...], (x.shape[0], 1, x.shape[-1]))
        x = jnp.concatenate([token, x], axis=1) + self.position[...]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


MODELS: dict[str, Callable[[nnx.Rngs], nnx.Module]] = {
    "resnet-50": ResNet50,
    "efficientnet-b0": EfficientNetB0,
    "vit-b-16": ViT,
}


def make(name: str) -> Any:
    """Return an abstract module of `MODELS`."""
    return abstract(lambda: MODELS[name](nnx.Rngs(0)))
