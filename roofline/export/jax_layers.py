"""What exported JAX programs are made of: the writer copies from here what a network uses.

Nothing in the package imports this file: it is text, kept as code so that it is checked as code.
"""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
Tree = dict[str, Any]


# layers: each takes the parameters of what it stands in, and its own name in there -----------------------------------


def layer(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``function(p, x)`` be called as ``function(params, name, x)``: with its own parameters, in a scope."""

    @functools.wraps(function)
    def call(params: Tree, name: str, *inputs: Array, **sizes: Any) -> Any:
        with jax.named_scope(name):
            return function(params.get(name, {}), *inputs, **sizes)

    return call


def within(name: str, function: Callable[..., Any], *inputs: Array) -> Any:
    """Call a function in a scope."""
    with jax.named_scope(name):
        return function(*inputs)


@layer
def conv(p: Tree, x: Array, stride: Any = 1, padding: Any = None) -> Array:
    """Convolve images (N, H, W, C); by default an odd kernel is bordered by its half."""
    height, width, per_group, _ = p["weight"].shape
    y = lax.conv_general_dilated(
        x,
        p["weight"],
        window_strides=stride if isinstance(stride, tuple) else (stride, stride),
        padding=padding or [(height // 2, height // 2), (width // 2, width // 2)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // per_group,
    )
    return y + p["bias"] if "bias" in p else y


@layer
def linear(p: Tree, x: Array) -> Array:
    """Multiply the last axis by a matrix."""
    y = x @ p["weight"]
    return y + p["bias"] if "bias" in p else y


@layer
def batch_norm(p: Tree, x: Array) -> Array:
    """Normalise every channel by its running statistics."""
    return (x - p["mean"]) * lax.rsqrt(p["variance"] + BATCH_NORM_EPSILON) * p["scale"] + p["shift"]


@layer
def folded_batch_norm(p: Tree, x: Array) -> Array:
    """Scale and shift every channel: a batch norm whose running statistics are folded into both."""
    return x * p["scale"] + p["shift"]


@layer
def layer_norm(p: Tree, x: Array) -> Array:
    """Normalise every vector of channels by its own mean and variance."""
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), axis=-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + LAYER_NORM_EPSILON) * p["scale"] + p["shift"]


@layer
def embedding(p: Tree, ids: Array) -> Array:
    """Look up the rows of a table."""
    return jnp.take(p["table"], ids, axis=0)


def attend(q: Array, k: Array, v: Array, *added: Array, heads: int, causal: bool = False) -> Array:
    """Attend from every token (N, T, heads x D) to every other one; each of `added` is added to the scores."""
    n, length, width = q.shape
    q, k, v = (x.reshape(n, length, heads, width // heads) for x in (q, k, v))
    scores = jnp.einsum("nqhd,nkhd->nhqk", q, k) / math.sqrt(width // heads)
    for each in added:
        scores = scores + each
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
    context = jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(scores, axis=-1), v)
    return context.reshape(n, length, width)


# functions -----------------------------------------------------------------------------------------------------------


def gelu(x: Array) -> Array:
    """X times the normal distribution's function of x."""
    return jax.nn.gelu(x, approximate=False)


def gelu_tanh(x: Array) -> Array:
    """GELU by its tanh form."""
    return jax.nn.gelu(x, approximate=True)


def prepend(token: Array, x: Array) -> Array:
    """Put one vector in front of the tokens of every example."""
    return jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], 1, x.shape[2])), x], axis=1)


def max_pool(x: Array, kernel: Any, stride: Any, border: Any) -> Array:
    """Return the maximum of each window of images."""
    return lax.reduce_window(x, jnp.asarray(-jnp.inf, x.dtype), lax.max, *windows(kernel, stride, border))


def mean_pool(x: Array, kernel: Any, stride: Any, border: Any) -> Array:
    """Return the mean of each window of images; zeros of the border count."""
    window, *rest = windows(kernel, stride, border)
    return lax.reduce_window(x, jnp.asarray(0, x.dtype), lax.add, window, *rest) / math.prod(window)


def windows(kernel: Any, stride: Any, border: Any) -> tuple[Any, Any, Any]:
    """Return kernel, stride and borders of all axes of images; `border` is that of all sides, or (before, behind)."""
    height, width = border if isinstance(border, tuple) else (border, border)
    sides = [side if isinstance(side, tuple) else (side, side) for side in (height, width)]
    both = (value if isinstance(value, tuple) else (value, value) for value in (kernel, stride))
    window, steps = ((1, *value, 1) for value in both)
    return window, steps, [(0, 0), *sides, (0, 0)]


def flatten(x: Array, first: int, last: int) -> Array:
    """Join neighbouring axes, from the first to the last."""
    return x.reshape(*x.shape[:first], -1, *x.shape[last + 1 :])


def space_to_depth(x: Array) -> Array:
    """Move squares of 2 x 2 positions into the channels, columns before rows."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return x.transpose(0, 1, 3, 4, 2, 5).reshape(n, height // 2, width // 2, 4 * channels)


def space_to_batch(x: Array) -> Array:
    """Move squares of 2 x 2 positions into the batch."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return x.transpose(2, 4, 0, 1, 3, 5).reshape(4 * n, height // 2, width // 2, channels)


def batch_to_space(x: Array) -> Array:
    """Put together again what `space_to_batch` took apart."""
    n, height, width, channels = x.shape
    x = x.reshape(2, 2, n // 4, height, width, channels)
    return x.transpose(2, 3, 0, 4, 1, 5).reshape(n // 4, 2 * height, 2 * width, channels)


def window_partition(x: Array, window: int) -> Array:
    """Cut images into windows, which join the batch: (N, H, W, C) -> (N x windows, window x window, C)."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // window, window, width // window, window, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, window * window, channels)


def window_reverse(x: Array, window: int, height: int, width: int) -> Array:
    """Join windows to images again."""
    x = x.reshape(-1, height // window, width // window, window, window, x.shape[-1])
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, height, width, x.shape[-1])


def heads_first(rows: Array) -> Array:
    """Turn the rows of a window's table, (area x area, heads), into (heads, area, area)."""
    area = math.isqrt(rows.shape[0])
    return rows.T.reshape(-1, area, area)


def attend_in_windows(q: Array, k: Array, v: Array, bias: Array, mask: Any = None, *, heads: int) -> Array:
    """Attend inside windows; `bias` is added to the scores of every window, `mask` to those of each one of an image."""
    if mask is None:
        return attend(q, k, v, bias, heads=heads)
    images = q.shape[0] // mask.shape[0]
    return attend(q, k, v, bias, jnp.tile(mask.astype(q.dtype), (images, 1, 1, 1)), heads=heads)


# weights -------------------------------------------------------------------------------------------------------------


class Weights:
    """Draws the weights of layers, each from a key of its own."""

    def __init__(self, key: Array) -> None:
        self.key = key

    def normal(self, shape: tuple[int, ...], deviation: float) -> Array:
        """Return normal numbers; those beyond two deviations are drawn again where the network's paper says so."""
        self.key, key = jax.random.split(self.key)
        if TRUNCATED:
            return deviation * jax.random.truncated_normal(key, -2, 2, shape)
        return deviation * jax.random.normal(key, shape)

    def conv(self, in_channels: int, out_channels: int, kernel: Any = 1, groups: int = 1, bias: bool = False) -> Tree:
        """Return the weight (height, width, in_channels / groups, out_channels) of a convolution."""
        height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        deviation = CONV_DEVIATION or math.sqrt(2 * groups / (height * width * out_channels))
        weight = self.normal((height, width, in_channels // groups, out_channels), deviation)
        return {"weight": weight, "bias": jnp.zeros(out_channels)} if bias else {"weight": weight}

    def linear(self, in_channels: int, out_channels: int, bias: bool = True, deviation: float = 0.0) -> Tree:
        """Return the weight (in_channels, out_channels) of a fully connected layer."""
        weight = self.normal((in_channels, out_channels), deviation or LINEAR_DEVIATION)
        return {"weight": weight, "bias": jnp.zeros(out_channels)} if bias else {"weight": weight}

    def batch_norm(self, channels: int) -> Tree:
        """Return scale, shift and running statistics."""
        return self.layer_norm(channels) | {"mean": jnp.zeros(channels), "variance": jnp.ones(channels)}

    def layer_norm(self, channels: int) -> Tree:
        """Return scale and shift."""
        return {"scale": jnp.ones(channels), "shift": jnp.zeros(channels)}

    def embedding(self, rows: int, channels: int) -> Tree:
        """Return a table."""
        return {"table": self.normal((rows, channels), LINEAR_DEVIATION)}


def split(tree: Tree, buffers: tuple[str, ...] = ("mean", "variance")) -> tuple[Tree, Tree]:
    """Return what is trained, and the running statistics."""
    trained: Tree = {}
    kept: Tree = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            trained[name], inner = split(value, buffers)
            kept |= {name: inner} if inner else {}
        else:
            (kept if name in buffers else trained)[name] = value
    return trained, kept


def merged(a: Tree, b: Tree) -> Tree:
    """Return two trees as one."""
    return a | {k: merged(a[k], v) if k in a else v for k, v in b.items()}


BATCH_NORM_EPSILON = 1e-5
LAYER_NORM_EPSILON = 1e-5
TRUNCATED = False
CONV_DEVIATION = 0.0
LINEAR_DEVIATION = 0.01
LAYER_SCALE = 1e-6
RESIDUAL_DEVIATION = 0.0
