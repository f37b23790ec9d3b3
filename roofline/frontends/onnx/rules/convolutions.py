"""Convolutions and pools. Images are stored channels last, whatever the file's order of axes."""

from __future__ import annotations

from dataclasses import replace

from roofline.dtypes import DTYPES, DType
from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering
from roofline.frontends.onnx.rules.windows import kernel_of, transposed_window, window_of
from roofline.frontends.onnx.values import Dims, Value
from roofline.frontends.onnx.views import channels_last, identity
from roofline.frontends.onnx.writer import Context
from roofline.graph.op import ContractionForm
from roofline.graph.ops import Conv, Pool, Reduce
from roofline.graph.resampling import ConvTranspose
from roofline.graph.tensor import Tensor

_ACTIVATIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "LeakyRelu": "leaky_relu", "Clip": "clamp",
                "HardSigmoid": "hard_sigmoid", "": ""}  # fmt: skip


def integers_behind(*values: Value) -> tuple[Value, ...]:
    """Return the operands of a product as it runs: the integers, where all of them were dequantized."""
    if all(v.quantized is not None for v in values):
        return tuple(v.quantized for v in values if v.quantized is not None)
    weights = values[-1].quantized
    if weights is not None and weights.known:  # weight-only quantization: the kernel dequantizes what it reads
        return (*values[:-1], weights)
    return values


def bias_of(context: Context, value: Value | None) -> list[Tensor]:
    """Return a bias as operands: none where it is left out, or where an exporter writes zeros."""
    if value is None or (value.data is not None and not value.data.any() and not _trained(value)):
        return []
    return [context.read(context.reshaped(value, (value.elements,)), role="parameter" if value.known else None)]


def _trained(value: Value) -> bool:
    return value.constant is not None and value.constant.trained


def convolution(
    context: Context, node: Node, x: Value, weight: Value, bias: Value | None, dtype: DType | None = None
) -> Value:
    """Add a convolution of x (N, C, *spatial) with a weight (K, C / groups, *kernel)."""
    groups = node.integer("group", 1)
    if x.rank < 3 or weight.rank != x.rank or groups < 1 or weight.shape[0] % groups:
        raise ShapeError(f"x of shape {x.shape!r}, weight of {weight.shape!r} and {groups} groups do not convolve")
    window = window_of(node, x.shape[2:], kernel_of(node, weight))
    x, weight = integers_behind(x, weight)
    order = channels_last(x.rank)
    tensors = [context.read(x, order), context.read(weight, (*range(2, weight.rank), 1, 0), role="parameter")]
    depthwise = groups > 1 and weight.shape[1] == 1 and groups == x.shape[1]
    form: ContractionForm = "depthwise" if depthwise else "grouped" if groups > 1 else "dense"
    out = context.add(
        Conv, *tensors, *bias_of(context, bias), dtype=dtype or _result(x, weight), kernel=window.kernel,
        stride=window.stride, padding=window.padding, groups=groups, form=form,
    )  # fmt: skip
    return context.value(out, order)


def _result(x: Value, weight: Value) -> DType:
    """Integer products leave as the floats that the next operator quantizes again."""
    return x.dtype if x.dtype.kind == "float" else DTYPES["fp32"]


@lowering("Conv")
def conv(context: Context, node: Node) -> Value:
    """Convolution of any rank."""
    return convolution(context, node, node[0], node[1], node.get(2))


@lowering("FusedConv", domain=MICROSOFT)
def fused_conv(context: Context, node: Node) -> Value:
    """Convolution, sum with another tensor, activation."""
    out = convolution(context, node, node[0], node[1], node.get(2))
    if (other := node.get(3)) is not None:
        out = context.pointwise("add", out, other)
    name = node.text("activation", "")
    if name not in _ACTIVATIONS:
        raise ShapeError(f"unknown activation {name!r}; allowed: {', '.join(_ACTIVATIONS)}")
    return context.pointwise(_ACTIVATIONS[name], out) if name else out


@lowering("ConvTranspose")
def conv_transpose(context: Context, node: Node) -> Value:
    """Transposed convolution; its weight is (C, K / groups, *kernel)."""
    x, weight, groups = node[0], node[1], node.integer("group", 1)
    if x.rank < 3 or weight.rank != x.rank or groups < 1 or weight.shape[0] != x.shape[1]:
        raise ShapeError(f"x of shape {x.shape!r} and weight of {weight.shape!r} do not convolve")
    size = transposed_window(node, x.shape[2:], kernel_of(node, weight))
    channels = weight.shape[1] * groups
    x, weight = integers_behind(x, weight)
    order = channels_last(x.rank)
    depthwise = groups > 1 and groups == x.shape[1] == channels
    out = context.add(
        ConvTranspose, context.read(x, order),
        context.read(weight, (*range(2, weight.rank), 0, 1), role="parameter"), *bias_of(context, node.get(2)),
        dtype=_result(x, weight), kernel=weight.shape[2:], shape=(x.shape[0], *size, channels), groups=groups,
        form="depthwise" if depthwise else "grouped" if groups > 1 else "dense",
    )  # fmt: skip
    return context.value(out, order)


@lowering("MaxPool", "AveragePool", "LpPool")
def pool(context: Context, node: Node) -> Value | list[Value]:
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
    if node.op == "MaxPool" and x.quantized is not None:  # the largest is the largest in integers too
        inner = _pooled(context, x.quantized, order, window.kernel, window.stride, window.padding, function)
        return replace(x, shape=inner.shape, tensor=None, quantized=inner)
    out = _pooled(context, x, order, window.kernel, window.stride, window.padding, function)
    return [out, replace(out, dtype=DTYPES["int64"])][: node.outputs]


def _pooled(
    context: Context, x: Value, order: Dims, kernel: Dims, stride: Dims, padding: object, function: str
) -> Value:
    out = context.add(
        Pool, context.read(x, order), kernel=kernel, stride=stride, padding=padding, function=function
    )  # fmt: skip
    return context.value(out, order)


@lowering("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(context: Context, node: Node) -> Value:
    """Mean or maximum of all positions."""
    x = node[0]
    order = channels_last(x.rank)
    function = "max" if node.op == "GlobalMaxPool" else "mean"
    out = context.add(Reduce, context.read(x, order), axes=tuple(range(1, x.rank - 1)), function=function)
    return context.value(out, order)


@lowering("LRN")
def lrn(context: Context, node: Node) -> Value:
    """Local response norm: squares, their mean over neighbouring channels, a power, a division."""
    x = node[0]
    squares = context.pointwise("square", x)
    order = (*(a for a in range(x.rank) if a != 1), 1)
    tensor = context.read(squares, order)
    flat = context.reshaped(context.value(tensor), (x.elements // x.shape[1], x.shape[1], 1))
    size = node.integer("size")
    if not 1 <= size <= 2 * x.shape[1]:
        raise ShapeError(f"a window of {size} over {x.shape[1]} channels")
    sums = context.add(Pool, context.read(flat), kernel=(size,), stride=(1,), padding="same", function="mean")
    back = context.reshaped(context.value(sums), tuple(x.shape[a] for a in order))
    scale = context.pointwise("pow", context.transposed(back, tuple(order.index(a) for a in identity(x.rank))))
    return context.pointwise("div", x, scale)


@lowering("MaxUnpool", "MaxRoiPool", "RoiAlign", "GridSample", "DeformConv")
def by_coordinates(context: Context, node: Node) -> Value:
    """Refuse what reads at computed coordinates."""
    raise ShapeError("reads at computed coordinates, which the op graph cannot express: cut the model around it")
