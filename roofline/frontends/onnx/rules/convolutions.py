"""Convolutions and pools. Images are stored channels last, whatever the file's order of axes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from roofline.dtypes import DTYPES, DType
from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering
from roofline.frontends.onnx.rules.windows import kernel_of, transposed_window, window_of
from roofline.frontends.onnx.values import Value
from roofline.frontends.onnx.views import identity
from roofline.frontends.onnx.writer import Writer
from roofline.graph.op import ContractionForm
from roofline.graph.ops import Conv, Pool, Reduce
from roofline.graph.resampling import ConvTranspose
from roofline.graph.tensor import Tensor
from roofline.graph.views import channels_last
from roofline.text import pairs

_ACTIVATIONS = pairs("Relu=relu Sigmoid=sigmoid Tanh=tanh LeakyRelu=leaky_relu Clip=clamp HardSigmoid=hard_sigmoid")
_ACTIVATIONS[""] = ""
#: of a float that products leave as
FEWEST_BITS = 16


def integers_behind(*values: Value) -> tuple[Value, ...]:
    """Return the operands of a product as it runs: the integers, where all of them were dequantized."""
    if all(v.quantized is not None for v in values):
        return tuple(v.quantized for v in values if v.quantized is not None)
    weights = values[-1].quantized
    if weights is not None and weights.known:  # weight-only quantization: the kernel dequantizes what it reads
        return (*values[:-1], weights)
    return values


def bias_of(w: Writer, value: Value | None) -> list[Tensor]:
    """Return a bias as operands: none where it is left out, or where an exporter writes zeros.

    Integers that are dequantized are read as they are stored: products of integers add them to their sums.
    """
    if value is not None and value.stored_integers is not None:
        value = value.stored_integers
    if value is None or (value.data is not None and not value.data.any() and not _trained(value)):
        return []
    return [w.read(w.reshaped(value, (value.elements,)), role="parameter" if value.known else None)]


def _trained(value: Value) -> bool:
    return value.constant is not None and value.constant.trained


def convolution(
    w: Writer, node: Node, x: Value, weight: Value, bias: Value | None, dtype: DType | None = None
) -> Value:
    """Add a convolution of x (N, C, *spatial) with a weight (K, C / groups, *kernel)."""
    groups = node.integer("group", 1)
    if x.rank < 3 or weight.rank != x.rank or groups < 1 or weight.shape[0] % groups:
        raise ShapeError(f"x of shape {x.shape!r}, weight of {weight.shape!r} and {groups} groups do not convolve")
    window = window_of(node, x.shape[2:], kernel_of(node, weight))
    x, weight = integers_behind(x, weight)
    order = channels_last(x.rank)
    tensors = [w.read(x, order), w.read(weight, (*range(2, weight.rank), 1, 0), role="parameter")]
    depthwise = groups > 1 and weight.shape[1] == 1 and groups == x.shape[1]
    form: ContractionForm = "depthwise" if depthwise else "grouped" if groups > 1 else "dense"
    out = w.add(
        Conv,
        *tensors,
        *bias_of(w, bias),
        dtype=dtype or result_of(x),
        kernel=window.kernel,
        stride=window.stride,
        padding=window.padding,
        groups=groups,
        form=form,
    )
    return w.value(out, order)


def result_of(x: Value) -> DType:
    """Products of integers, and of floats as narrow, leave as the floats that the next operator quantizes again."""
    return x.dtype if x.dtype.kind == "float" and x.dtype.bits >= FEWEST_BITS else DTYPES["fp32"]


@lowering("Conv")
def conv(w: Writer, node: Node) -> Value:
    """Convolution of any rank."""
    return convolution(w, node, node[0], node[1], node.get(2))


@lowering("FusedConv", domain=MICROSOFT)
def fused_conv(w: Writer, node: Node) -> Value:
    """Convolution, sum with another tensor, activation."""
    out = convolution(w, node, node[0], node[1], node.get(2))
    if (other := node.get(3)) is not None:
        out = w.pointwise("add", out, other)
    return activated(w, node, out)


def activated(w: Writer, node: Node, out: Value) -> Value:
    """Apply the activation that a fused operator names."""
    name = node.text("activation", "")
    if name not in _ACTIVATIONS:
        raise ShapeError(f"unknown activation {name!r}; allowed: {', '.join(_ACTIVATIONS)}")
    return w.pointwise(_ACTIVATIONS[name], out) if name else out


@lowering("ConvTranspose")
def conv_transpose(w: Writer, node: Node) -> Value:
    """Transposed convolution; its weight is (C, K / groups, *kernel)."""
    x, weight, groups = node[0], node[1], node.integer("group", 1)
    if x.rank < 3 or weight.rank != x.rank or groups < 1 or weight.shape[0] != x.shape[1]:
        raise ShapeError(f"x of shape {x.shape!r} and weight of {weight.shape!r} do not convolve")
    size = transposed_window(node, x.shape[2:], kernel_of(node, weight))
    channels = weight.shape[1] * groups
    x, weight = integers_behind(x, weight)
    order = channels_last(x.rank)
    depthwise = groups > 1 and groups == x.shape[1] == channels
    out = w.add(
        ConvTranspose,
        w.read(x, order),
        w.read(weight, (*range(2, weight.rank), 0, 1), role="parameter"),
        *bias_of(w, node.get(2)),
        dtype=result_of(x),
        kernel=weight.shape[2:],
        shape=(x.shape[0], *size, channels),
        groups=groups,
        form="depthwise" if depthwise else "grouped" if groups > 1 else "dense",
    )
    return w.value(out, order)


@lowering("MaxPool", "AveragePool", "LpPool")
def pool(w: Writer, node: Node) -> Value | list[Value]:
    """Maximum or mean of a sliding window."""
    x = node[0]
    if x.rank < 3:
        raise ShapeError(f"a pool of shape {x.shape!r}; allowed: (N, C, *spatial)")
    kernel = node.integers("kernel_shape")
    if len(kernel) != x.rank - 2 or min(kernel) < 1:
        raise ShapeError(f"kernel_shape {kernel!r} does not fit {x.rank - 2} spatial axes")
    window = window_of(node, x.shape[2:], kernel)
    order = channels_last(x.rank)
    function = "max" if node.op == "MaxPool" else "mean"
    fields: dict[str, Any] = {
        "kernel": window.kernel,
        "stride": window.stride,
        "padding": window.padding,
        "function": function,
    }
    if node.op == "MaxPool" and x.quantized is not None and 1 not in node.read:  # the largest is so in integers too
        inner = w.value(w.add(Pool, w.read(x.quantized, order), **fields), order)
        return replace(x, shape=inner.shape, tensor=None, quantized=inner)
    formats = [x.dtype, DTYPES["int64"]] if 1 in node.read else [x.dtype]
    outputs = w.write("", Pool, [w.read(x, order)], formats, **fields)
    return [w.value(t, order) for t in outputs]


@lowering("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(w: Writer, node: Node) -> Value:
    """Mean or maximum of all positions."""
    x = node[0]
    order = channels_last(x.rank)
    function = "max" if node.op == "GlobalMaxPool" else "mean"
    return w.value(w.add(Reduce, w.read(x, order), axes=tuple(range(1, x.rank - 1)), function=function), order)


@lowering("LRN")
def lrn(w: Writer, node: Node) -> Value:
    """Local response norm: squares, their mean over neighbouring channels, a power, a division."""
    x = node[0]
    squares = w.pointwise("square", x)
    order = (*(a for a in range(x.rank) if a != 1), 1)
    tensor = w.read(squares, order)
    flat = w.reshaped(w.value(tensor), (x.elements // x.shape[1], x.shape[1], 1))
    size = node.integer("size")
    if not 1 <= size <= 2 * x.shape[1]:
        raise ShapeError(f"a window of {size} over {x.shape[1]} channels")
    sums = w.add(Pool, w.read(flat), kernel=(size,), stride=(1,), padding="same", function="mean")
    back = w.reshaped(w.value(sums), tuple(x.shape[a] for a in order))
    scale = w.pointwise("pow", w.transposed(back, tuple(order.index(a) for a in identity(x.rank))))
    return w.pointwise("div", x, scale)
