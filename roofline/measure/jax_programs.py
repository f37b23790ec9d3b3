"""Ops and networks of the plan as JAX functions of parameters and inputs; images have their channels last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

Array: TypeAlias = Any
#: function of (parameters, *inputs), shapes of the parameters, shapes of the inputs
Program: TypeAlias = tuple[Callable[..., Array], Any, Sequence[tuple[int, ...]]]
CLASSES, PATCH = 1000, 16
NHWC = ("NHWC", "HWIO", "NHWC")


def convolve(x: Array, w: Array, stride: int = 1, groups: int = 1) -> Array:
    """Return a convolution that keeps the size of the image, but for its stride."""
    return lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=NHWC, feature_group_count=groups)


def layer_norm(x: Array) -> Array:
    """Return rows with mean 0 and deviation 1."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-6)


def attend(q: Array, k: Array, v: Array) -> Array:
    """Return softmax(q k / sqrt(width)) v for tensors (N, heads, tokens, width)."""
    scores = jnp.einsum("nhqd,nhkd->nhqk", q, k) * q.shape[-1] ** -0.5
    return jnp.einsum("nhqk,nhkd->nhqd", jax.nn.softmax(scores, -1), v)


def _conv(n: int, c: int, size: int, out: int, kernel: int, stride: int, groups: int) -> Program:
    shapes = {"w": (kernel, kernel, c // groups, out)}
    return lambda p, x: convolve(x, p["w"], stride, groups), shapes, ((n, size, size, c),)


def _max_pool(n: int, c: int, size: int, kernel: int, stride: int) -> Program:
    window, strides = (1, kernel, kernel, 1), (1, stride, stride, 1)
    return lambda p, x: lax.reduce_window(x, -jnp.inf, lax.max, window, strides, "SAME"), {}, ((n, size, size, c),)


def _flat(function: Callable[..., Array], inputs: int = 1) -> Callable[[int], Program]:
    return lambda elements: (lambda p, *x: function(*x), {}, ((elements,),) * inputs)


def _of(function: Callable[[Array], Array]) -> Callable[[int, int, int], Program]:
    return lambda n, rows, columns: (lambda p, x: function(x), {}, ((n, rows, columns),))


def _image(function: Callable[[Array], Array]) -> Callable[[int, int, int], Program]:
    return lambda n, c, size: (lambda p, x: function(x), {}, ((n, size, size, c),))


OPS: dict[str, Callable[..., Program]] = {
    "matmul": lambda m, n, k: (lambda p, x: x @ p["w"], {"w": (k, n)}, ((m, k),)),
    "bmm": lambda b, m, n, k: (lambda p, x, y: x @ y, {}, ((b, m, k), (b, k, n))),
    "conv": _conv,
    "depthwise": lambda n, c, size, kernel, stride: _conv(n, c, size, c, kernel, stride, c),
    "max_pool": _max_pool,
    "stream": _flat(lambda x: x * 1.5),
    "add": _flat(jnp.add, 2),
    "relu": _flat(lambda x: jnp.maximum(x, 0.0)),
    "sigmoid": _flat(jax.nn.sigmoid),
    "silu": _flat(jax.nn.silu),
    "gelu": _flat(jax.nn.gelu),
    "tanh": _flat(jnp.tanh),
    "exp": _flat(jnp.exp),
    "mean": _image(lambda x: x.mean((1, 2))),
    "concat": _image(lambda x: jnp.concatenate((x, x * 2.0), -1)),
    "layer_norm": _of(layer_norm),
    "softmax": _of(lambda x: jax.nn.softmax(x, -1)),
    "attention": lambda n, heads, tokens, width: (
        lambda p, q, k, v: attend(q, k, v),
        {},
        ((n, heads, tokens, width),) * 3,
    ),
}


def _pyramid(width: int, depth: int, size: int, batch: int, block: str) -> Program:
    """Return four stages of blocks: ``plain``, ``residual`` or ``inverted``."""
    shapes: dict[str, Any] = {"stem": (3, 3, 3, width), "head": (8 * width, CLASSES)}
    plan: list[tuple[str, int, int]] = []
    c = width
    for stage in range(4):
        for i in range(depth):
            name, out, stride = f"{stage}.{i}", width * 2**stage, 2 if i == 0 and stage else 1
            plan.append((name, stride, 6 * c))
            if block == "inverted":
                shapes[name] = [(1, 1, c, 6 * c), (3, 3, 1, 6 * c), (1, 1, 6 * c, out)]
            else:
                shapes[name] = [(3, 3, c, out), (3, 3, out, out)]
            c = out

    def forward(p: Any, x: Array) -> Array:
        x = jax.nn.relu(convolve(x, p["stem"], 2))
        for name, stride, wide in plan:
            first, *rest = p[name]
            if block == "inverted":
                y = jax.nn.relu(convolve(x, first))
                y = convolve(jax.nn.relu(convolve(y, rest[0], stride, wide)), rest[1])
            else:
                y = convolve(jax.nn.relu(convolve(x, first, stride)), rest[0])
            y = y + x if block != "plain" and y.shape == x.shape else y
            x = y if block == "inverted" else jax.nn.relu(y)
        return x.mean((1, 2)) @ p["head"]

    return forward, shapes, ((batch, size, size, 3),)


def _transformer(width: int, depth: int, size: int, batch: int, mix: str) -> Program:
    """Return layers over patches that mix them by ``attention`` or by a linear layer (``mixer``)."""
    tokens, heads = (size // PATCH) ** 2, max(1, width // 32)
    mixing = [(tokens, tokens // 2), (tokens // 2, tokens)] if mix == "mixer" else [(width, 3 * width), (width, width)]
    layer = {"mix": mixing, "mlp": [(width, 4 * width), (4 * width, width)]}
    shapes = {"stem": (PATCH, PATCH, 3, width), "layers": [layer] * depth, "head": (width, CLASSES)}

    def mixed(p: Any, x: Array) -> Array:
        if mix == "mixer":
            return jnp.swapaxes(jax.nn.gelu(jnp.swapaxes(x, 1, 2) @ p[0]) @ p[1], 1, 2)
        q, k, v = jnp.moveaxis((x @ p[0]).reshape(batch, tokens, 3, heads, width // heads), (2, 3), (0, 2))
        return jnp.swapaxes(attend(q, k, v), 1, 2).reshape(batch, tokens, width) @ p[1]

    def forward(p: Any, x: Array) -> Array:
        x = convolve(x, p["stem"], PATCH).reshape(batch, tokens, width)
        for one in p["layers"]:
            x = x + mixed(one["mix"], layer_norm(x))
            x = x + jax.nn.gelu(layer_norm(x) @ one["mlp"][0]) @ one["mlp"][1]
        return layer_norm(x).mean(1) @ p["head"]

    return forward, shapes, ((batch, size, size, 3),)


#: builders of (width, depth, size of the image, batch)
NETWORKS: dict[str, Callable[[int, int, int, int], Program]] = {
    "plain": lambda w, d, s, n: _pyramid(w, d, s, n, "plain"),
    "residual": lambda w, d, s, n: _pyramid(w, d, s, n, "residual"),
    "inverted": lambda w, d, s, n: _pyramid(w, d, s, n, "inverted"),
    "vision_transformer": lambda w, d, s, n: _transformer(w, d, s, n, "attention"),
    "mixer": lambda w, d, s, n: _transformer(w, d, s, n, "mixer"),
}
