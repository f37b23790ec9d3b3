"""Integer arithmetic: quantize and dequantize around a product, and the operators that hold both."""

from __future__ import annotations

from dataclasses import replace

from roofline.dtypes import DTYPES, DType
from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering, numbers
from roofline.frontends.onnx.rules.convolutions import convolution, pool
from roofline.frontends.onnx.rules.norms import reduced, softmax
from roofline.frontends.onnx.rules.pointwise import BINARY, UNARY
from roofline.frontends.onnx.rules.products import product_of
from roofline.frontends.onnx.rules.shapes import concatenated
from roofline.frontends.onnx.values import Value, dtype_of
from roofline.frontends.onnx.views import identity
from roofline.frontends.onnx.writer import Writer
from roofline.graph.views import channels_last

FP32, INT8, INT32 = DTYPES["fp32"], DTYPES["int8"], DTYPES["int32"]


def _integers(node: Node, zero: Value | None) -> DType:
    if zero is not None:
        return zero.dtype
    return dtype_of(node.integer("output_dtype", 0) or 2)


@lowering("QuantizeLinear")
@lowering("QuantizeLinear", domain=MICROSOFT)
def quantize(w: Writer, node: Node) -> Value:
    """Scale, round, add the zero point, saturate. What was just dequantized is the integers again."""
    x, dtype = node[0], _integers(node, node.get(2))
    if x.known:
        return Value(shape=x.shape, dtype=dtype, constant=x.constant)
    if x.quantized is not None and x.quantized.dtype is dtype and not x.quantized.known:
        return x.quantized
    return w.pointwise("quantize", x, dtype=dtype)


@lowering("DequantizeLinear")
@lowering("DequantizeLinear", domain=MICROSOFT)
def dequantize(w: Writer, node: Node) -> Value:
    """Note what the integers stand for: a product reads the integers, other readers convert them."""
    x = node[0]
    scale = node[1].dtype
    return Value(shape=x.shape, dtype=scale if scale.kind == "float" else FP32, quantized=replace(x, data=None))


#: where qonnx, brevitas and FINN keep their operators
_FAKE = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")


def fake_quantize(w: Writer, node: Node) -> Value:
    """Quantize and dequantize in one node: products read the narrow integers, as between the two nodes."""
    x, place = node[0], {"BipolarQuant": 0, "Trunc": 4}.get(node.op, 3)
    bits = max(map(float, numbers(node[place], "the number of bits"))) if place else 1.0
    dtype = next((d for d in (DTYPES["int4"], INT8) if d.bits >= bits), INT32)
    if x.known:
        integers = Value(shape=x.shape, dtype=dtype, constant=x.constant)
    else:
        integers = w.pointwise("quantize", x, dtype=dtype)
    return Value(shape=x.shape, dtype=x.dtype, quantized=integers)


for _domain in _FAKE:
    lowering("Quant", "BipolarQuant", "Trunc", "IntQuant", domain=_domain)(fake_quantize)


@lowering("DynamicQuantizeLinear")
def dynamic_quantize(w: Writer, node: Node) -> list[Value]:
    """Find the range of the whole tensor, then quantize."""
    x = node[0]
    scale = reduced(w, x, identity(x.rank), "max", keep=False)
    return [w.pointwise("quantize", x, dtype=INT8), scale, replace(scale, dtype=INT8)]


@lowering("QLinearConv")
@lowering("QLinearConv", domain=MICROSOFT)
def qlinear_conv(w: Writer, node: Node) -> Value:
    """Convolution from integers to integers."""
    x = node[0]
    if node.domain == MICROSOFT and node.integer("channels_last", 0):
        x = w.transposed(x, (0, x.rank - 1, *range(1, x.rank - 1)))
        out = convolution(w, node, x, node[3], node.get(8), dtype=node[7].dtype)
        return w.transposed(out, (0, *range(2, x.rank), 1))
    return convolution(w, node, x, node[3], node.get(8), dtype=node[7].dtype)


@lowering("ConvInteger")
def conv_integer(w: Writer, node: Node) -> Value:
    """Convolution of integers; the sums are 32 bits wide."""
    return convolution(w, node, node[0], node[1], None, dtype=INT32)


@lowering("QLinearMatMul")
def qlinear_matmul(w: Writer, node: Node) -> Value:
    """Product from integers to integers."""
    return product_of(w, node[0], node[3], dtype=node[7].dtype)


@lowering("QGemm", domain=MICROSOFT)
def qgemm(w: Writer, node: Node) -> Value:
    """Gemm of integers."""
    a, b = node[0], node[3]
    a = w.transposed(a, (1, 0)) if node.integer("transA", 0) else a
    b = w.transposed(b, (1, 0)) if node.integer("transB", 0) else b
    zero = node.get(8)
    return product_of(w, a, b, node.get(6), dtype=FP32 if zero is None else zero.dtype)


@lowering("MatMulInteger")
def matmul_integer(w: Writer, node: Node) -> Value:
    """Product of integers; the sums are 32 bits wide."""
    return product_of(w, node[0], node[1], dtype=INT32)


@lowering("MatMulIntegerToFloat", "DynamicQuantizeMatMul", domain=MICROSOFT)
def matmul_to_float(w: Writer, node: Node) -> Value:
    """Product of integers, scaled back to floats; the dynamic form quantizes its first operand."""
    a, bias = node[0], node.get(4 if node.op.startswith("Dynamic") else 6)
    if node.op.startswith("Dynamic"):
        reduced(w, a, identity(a.rank), "max", keep=False)
        a = w.pointwise("quantize", a, dtype=INT8)
    return product_of(w, a, node[1], bias, dtype=FP32)


@lowering("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def qlinear_binary(w: Writer, node: Node) -> Value:
    """Dequantize, combine, quantize: one kernel."""
    a, b = (w.pointwise("dequantize", node[i], dtype=FP32) for i in (0, 3))
    out = w.pointwise(BINARY[node.op.removeprefix("QLinear")], a, b)
    return w.pointwise("quantize", out, dtype=node[0].dtype)


@lowering("QLinearSigmoid", "QLinearLeakyRelu", domain=MICROSOFT)
def qlinear_unary(w: Writer, node: Node) -> Value:
    """Dequantize, apply, quantize: runtimes look all of it up in a table of 256 entries."""
    out = w.pointwise("dequantize", node[0], dtype=FP32)
    out = w.pointwise(UNARY[node.op.removeprefix("QLinear")], out)
    return w.pointwise("quantize", out, dtype=node[0].dtype)


@lowering("QLinearSoftmax", domain=MICROSOFT)
def qlinear_softmax(w: Writer, node: Node) -> Value:
    """Dequantize, softmax, quantize."""
    x = w.pointwise("dequantize", node[0], dtype=FP32)
    out = softmax(w, replace(node, inputs=(x,), version=node.integer("opset", 13)))
    return w.pointwise("quantize", out, dtype=node[0].dtype)


@lowering("QLinearWhere", domain=MICROSOFT)
def qlinear_where(w: Writer, node: Node) -> Value:
    """Select between integers of two scales: a look-up for each."""
    return w.pointwise("select", node[1], node[4], node[0], dtype=node[1].dtype)


@lowering("QLinearReduceMean", domain=MICROSOFT)
def qlinear_mean(w: Writer, node: Node) -> Value:
    """Mean over some axes, in integers; over all where none are named."""
    axes = node.integers("axes", identity(node[0].rank))
    return reduced(w, node[0], axes, "mean", keep=bool(node.integer("keepdims", 1)))


@lowering("QLinearAveragePool", domain=MICROSOFT)
def qlinear_average(w: Writer, node: Node) -> Value:
    """Mean of a sliding window, in integers."""
    last = node.integer("channels_last", 0)
    x = w.transposed(node[0], (0, node[0].rank - 1, *range(1, node[0].rank - 1))) if last else node[0]
    found = pool(w, replace(node, op="AveragePool", inputs=(x,)))
    out = found if isinstance(found, Value) else found[0]
    return w.transposed(out, (0, *range(2, out.rank), 1)) if last else out


@lowering("QLinearGlobalAveragePool", domain=MICROSOFT)
def qlinear_pool(w: Writer, node: Node) -> Value:
    """Mean of all positions, in integers."""
    x = node[0]
    axes = tuple(range(1, x.rank - 1)) if node.integer("channels_last", 0) else channels_last(x.rank)[1:-1]
    return reduced(w, x, axes, "mean", keep=True)


@lowering("QLinearConcat", domain=MICROSOFT)
def qlinear_concat(w: Writer, node: Node) -> Value:
    """Concatenate integers."""
    parts = list(node.given[2::3])
    if not parts:
        raise ShapeError("nothing to concatenate")
    return concatenated(w, parts, node.integer("axis"))
