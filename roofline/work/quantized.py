"""What quantized tensors cost beside the bytes they save: conversions, scales, and finding the scales.

All of it is vector work of the kernel that does it. Operands of products are converted once; libraries whose blocks
convert the same weights again and again say so in formulas of their own.
"""

from __future__ import annotations

import numpy as np

from roofline.graph.ops import Attention, MatMul
from roofline.graph.quantize import Quantize
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric, ceil_div
from roofline.work.types import Work

#: operations that make a wide float of one stored element: a conversion, where they lie packed in bytes after a shift
#: and mask; the small floats are rearranged as bits, two of them at a time
WIDENING: dict[str, float] = {
    "int8": 1.0,
    "fp8": 1.0,
    "mxfp8": 1.0,
    "int4": 2.0,
    "nvfp4": 2.0,
    "mxfp4": 2.0,
    "mxfp6": 3.0,  # a number may lie across two bytes
}
#: of one element that is rounded: times the reciprocal scale, clamp 2, conversion
ROUNDING = 4.0
#: of one element on the way to the scale: magnitude, maximum
SCALE_SEARCH = 2.0


def attention_scaling(op: Attention, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Numeric:
    """Return the operations that widen the quantized keys and values that are touched; none beside narrow queries.

    Their scales are those of scores and of results: they are multiplied into what these are scaled with anyway.
    """
    touched = op.touched(inputs, outputs)
    total: Numeric = 0.0
    for tensor in inputs[1:3]:
        if tensor.scales and not inputs[0].scales:
            total = total + touched.get(tensor.id, tensor.elements) * WIDENING[tensor.dtype.name]
    return total


def product_scaling(op: MatMul, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Numeric:
    """Return the operations of a product on what its quantized operands need; none where neither is.

    A second operand of another format than the first is widened, and scaled where its scales change along the sum. Else
    both are multiplied as they are stored: results are scaled, once for each operand, and where scales change along the
    sum and the matrix unit does not apply them, partial sums are.
    """
    a, b = inputs[:2]
    if not (a.scales or b.scales):
        return 0.0
    results = outputs[0].elements
    touched = op.touched(inputs, outputs)
    total: Numeric = 0.0
    widened = b.scales is not None and not _multiplied(a, b)
    for tensor in (a, b):
        if tensor.scales is None:
            continue
        along = not np.isinf(tensor.scales.run)
        if tensor is b and widened:
            elements = touched.get(b.id, b.elements)
            total = total + elements * (WIDENING[b.dtype.name] + float(along))
            total = total + results * float(not along)
        elif along and not tensor.scales.in_matrix:
            total = total + results * ceil_div(a.shape[-1], tensor.scales.run)
        else:
            total = total + results
    return total


def _multiplied(a: Tensor, b: Tensor) -> bool:
    """Whether a matrix unit multiplies both operands as they are stored: block formats with one another, too."""
    in_matrix = bool(a.scales and b.scales and a.scales.in_matrix and b.scales.in_matrix)
    return a.dtype.name == b.dtype.name or in_matrix


def quantization(op: Quantize, x: Tensor, y: Tensor) -> Work:
    """Return the work of rounding a tensor: every element, and the reciprocals of scales that are found on the way."""
    per_element = ROUNDING + SCALE_SEARCH * float(op.dynamic)
    run = y.scales.run if y.scales else np.inf
    scales = ceil_div(x.elements, np.minimum(run, x.shape[-1])) * float(op.dynamic)
    return Work(simple_ops=x.elements * per_element, transcendental_ops=scales)


def carried(inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Numeric:
    """Return the operations of a copy out of a quantized table or into a quantized cache; none of other copies."""
    y = outputs[0]
    total: Numeric = 0.0
    for x in inputs:
        if x.scales and not y.scales:
            total = total + np.minimum(x.elements, y.elements) * (WIDENING[x.dtype.name] + 1.0)
        elif y.scales and not x.scales and x.dtype.kind == "float":
            total = total + np.minimum(x.elements, y.elements) * ROUNDING
    return total
