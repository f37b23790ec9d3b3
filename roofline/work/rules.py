"""The rules: vector operations by class for every op. Matrix products come from the ops themselves.

Counts are per run of the op; a multiply-add is two simple operations.
"""

from __future__ import annotations

import numpy as np

from roofline.errors import UnknownOpError, nearest
from roofline.graph import decoding, indexing, movement, ops, resampling, sampling
from roofline.graph.quantize import Quantize
from roofline.graph.tensor import Tensor
from roofline.numeric import product
from roofline.work.functions import complex_ops, function_ops
from roofline.work.quantized import attention_scaling, carried, product_scaling, quantization
from roofline.work.registry import Tensors, rule
from roofline.work.types import Work

#: softmax of one element: maximum, subtract, sum, multiply by the reciprocal of the sum; one exponential
SOFTMAX_SIMPLE, SOFTMAX_TRANSCENDENTAL = 4.0, 1.0
#: normalisation of one element: sum, square, sum of squares, subtract, multiply
NORM_SIMPLE = 5.0
#: scale and shift of one element
AFFINE_SIMPLE = 2.0
#: (simple, transcendental) operations per element read
PER_ELEMENT: dict[str, tuple[float, float]] = {
    "var": (6.0, 0.0),  # Welford: difference, mean 2, difference to the new mean, product, sum
    "prod": (1.0, 0.0),
    "sum": (1.0, 0.0),
    "norm": (2.0, 0.0),  # square, sum
    "distance": (3.0, 0.0),  # of two rows: difference, square, sum
    "max": (1.0, 0.0),
    "logsumexp": (3.0, 1.0),  # maximum, subtract, sum; exponential
}
#: of one sample between the points of an image, per side: its place scaled and rounded (3); the fraction and its
#: complement (2), or four cubic weights by Horner's rule with their distances (26)
PLACE_SIMPLE: dict[str, float] = {"nearest": 3.0, "linear": 5.0, "cubic": 29.0}


def _bias(inputs: Tensors, outputs: Tensors, position: int) -> float:
    """One addition per output where the op has a bias operand."""
    return outputs[0].numbers if len(inputs) > position else 0.0  # type: ignore[return-value]


@rule(ops.Conv)
def conv(op: ops.Conv, inputs: Tensors, outputs: Tensors) -> Work:
    """The products, and the bias; a depthwise window loads an operand for every multiply-accumulate."""
    products = op.products(inputs, outputs)
    loads = products[0].macs if op.form == "depthwise" else 0.0
    return Work(contractions=products, simple_ops=_bias(inputs, outputs, 2), window_loads=loads)


@rule(ops.MatMul)
def matmul(op: ops.MatMul, inputs: Tensors, outputs: Tensors) -> Work:
    """The products, the bias, and what quantized operands cost."""
    simple_ops = _bias(inputs, outputs, 2) + product_scaling(op, inputs, outputs)
    return Work(contractions=op.products(inputs, outputs), simple_ops=simple_ops)


@rule(ops.GroupedMatMul)
def grouped_matmul(op: ops.GroupedMatMul, inputs: Tensors, outputs: Tensors) -> Work:
    """The products, and what quantized operands cost."""
    return Work(contractions=op.contractions(inputs, outputs), simple_ops=product_scaling(op, inputs, outputs))


@rule(ops.Attention)
def attention(op: ops.Attention, inputs: Tensors, outputs: Tensors) -> Work:
    """Both products; scaling, biases and softmax of every score; conversion of quantized keys and values."""
    scores = op.products(inputs, outputs)[0]
    elements = product((scores.batch, scores.m, scores.n))
    scale_and_bias = 1.0 + len(inputs[3:])
    return Work(
        contractions=op.products(inputs, outputs),
        simple_ops=elements * (SOFTMAX_SIMPLE + scale_and_bias) + attention_scaling(op, inputs, outputs),
        transcendental_ops=elements * SOFTMAX_TRANSCENDENTAL,
    )


@rule(decoding.Recurrence)
def recurrence(op: decoding.Recurrence, inputs: Tensors, outputs: Tensors) -> Work:
    """The products; of each chunk the state's decay and sum, of each gate an exponential and a multiplication."""
    chunks, _ = op.chunks(inputs)
    gates = sum(t.elements for t in inputs[4:])
    return Work(
        contractions=op.contractions(inputs, outputs),
        simple_ops=2.0 * inputs[0].elements * chunks + gates + outputs[1].elements,
        transcendental_ops=gates,
    )


@rule(decoding.IndexScores)
def index_scores(op: decoding.IndexScores, inputs: Tensors, outputs: Tensors) -> Work:
    """The products; each head's scores are bounded by 0, weighed and added."""
    return Work(contractions=op.contractions(inputs, outputs), simple_ops=3.0 * outputs[0].elements * op.heads)


@rule(ops.Elementwise)
def elementwise(op: ops.Elementwise, inputs: Tensors, outputs: Tensors) -> Work:
    """The function's operations for every output element."""
    of_complex = any(t.dtype.kind == "complex" for t in (*inputs, *outputs))
    simple, transcendental = complex_ops(op.function) if of_complex else function_ops(op.function)
    elements = outputs[0].elements
    return Work(simple_ops=elements * simple, transcendental_ops=elements * transcendental)


@rule(ops.Cast)
def cast(op: ops.Cast, inputs: Tensors, outputs: Tensors) -> Work:
    """One conversion per number."""
    return Work(simple_ops=outputs[0].numbers)


@rule(ops.BatchNorm)
def batch_norm(op: ops.BatchNorm, inputs: Tensors, outputs: Tensors) -> Work:
    """Scale and shift: with stored statistics nothing else is per element."""
    return Work(simple_ops=outputs[0].elements * AFFINE_SIMPLE)


@rule(ops.Norm)
def norm(op: ops.Norm, inputs: Tensors, outputs: Tensors) -> Work:
    """Statistics, normalisation, and scale and shift where there are any; one reciprocal root per row."""
    x = outputs[0]
    affine = AFFINE_SIMPLE if len(inputs) > 1 else 0.0
    return Work(simple_ops=x.elements * (NORM_SIMPLE + affine), transcendental_ops=_rows(x))


@rule(ops.Softmax)
def softmax(op: ops.Softmax, inputs: Tensors, outputs: Tensors) -> Work:
    """Softmax of every element."""
    elements = outputs[0].elements
    return Work(simple_ops=elements * SOFTMAX_SIMPLE, transcendental_ops=elements * SOFTMAX_TRANSCENDENTAL)


@rule(ops.Reduce)
def reduce(op: ops.Reduce, inputs: Tensors, outputs: Tensors) -> Work:
    """One operation per number read."""
    return Work(simple_ops=inputs[0].numbers)


@rule(Quantize)
def quantize(op: Quantize, inputs: Tensors, outputs: Tensors) -> Work:
    """Largest magnitudes, scaling, rounding; a reciprocal for every scale."""
    return quantization(op, inputs[0], outputs[0])


@rule(ops.Statistic)
def statistic(op: ops.Statistic, inputs: Tensors, outputs: Tensors) -> Work:
    """The function's operations for every number read."""
    if op.function not in PER_ELEMENT:
        raise UnknownOpError(f"no work rule for statistic {op.function!r}{nearest(op.function, PER_ELEMENT)}")
    simple, transcendental = PER_ELEMENT[op.function]
    return Work(simple_ops=inputs[0].numbers * simple, transcendental_ops=inputs[0].numbers * transcendental)


@rule(ops.Pool)
def pool(op: ops.Pool, inputs: Tensors, outputs: Tensors) -> Work:
    """One operation per window element; a window that is larger than the image holds the image."""
    sides = zip(op.kernel, inputs[0].shape[1:-1], strict=True)
    window = outputs[0].elements * product(np.minimum(kernel, side) for kernel, side in sides)
    return Work(simple_ops=window, window_loads=window)


@rule(resampling.ConvTranspose)
def conv_transpose(op: resampling.ConvTranspose, inputs: Tensors, outputs: Tensors) -> Work:
    """The products, and the bias; loads as for a convolution."""
    products = op.products(inputs, outputs)
    loads = products[0].macs if op.form == "depthwise" else 0.0
    return Work(contractions=products, simple_ops=_bias(inputs, outputs, 2), window_loads=loads)


@rule(resampling.Resize)
def resize(op: resampling.Resize, inputs: Tensors, outputs: Tensors) -> Work:
    """A multiplication and an addition for every neighbour; the nearest is copied."""
    per_element = 2.0 * op.neighbours if op.function != "nearest" else 0.0
    elements = outputs[0].elements
    return Work(simple_ops=elements * per_element, window_loads=elements * op.neighbours)


@rule(sampling.Sample)
def sample(op: sampling.Sample, inputs: Tensors, outputs: Tensors) -> Work:
    """A multiplication and an addition for every neighbour and one for every factor; places once for all channels."""
    samples = outputs[0].elements * op.averaged
    weighing = 2.0 * op.neighbours if op.function != "nearest" else 0.0
    means = outputs[0].elements * np.greater(op.averaged, 1)
    return Work(
        simple_ops=samples * (weighing + len(inputs[2:])) + samples / op.together * place_ops(op) + means,
        window_loads=samples * op.neighbours,
    )


def place_ops(op: sampling.Sample) -> float:
    """Operations for one place: along each side, and the weight of every neighbour as a product of those of sides."""
    return PLACE_SIMPLE[op.function] * op.sides + (op.neighbours * (op.sides - 1) if op.function != "nearest" else 0)


@rule(sampling.Fourier)
def fourier(op: sampling.Fourier, inputs: Tensors, outputs: Tensors) -> Work:
    """5 n log2 n operations for n complex points (Cooley and Tukey, 1965), half as many for real ones (FFTW)."""
    axis, shape = op.axis % len(op.shape), op.shape[:-1] if op.pairs else op.shape
    rows = product(d for i, d in enumerate(shape) if i != axis)
    operations = 5.0 * op.length * np.log2(op.length)
    return Work(simple_ops=rows * operations * (0.5 if op.real else 1.0))


@rule(indexing.Gather)
def gather(op: indexing.Gather, inputs: Tensors, outputs: Tensors) -> Work:
    """Picking is no work; what is combined is an operation per element picked, and one where it is weighted."""
    weighted = any(t.dtype.kind == "float" for t in inputs[2:])
    return Work(simple_ops=outputs[0].elements * op.combined * np.greater(op.combined, 1) * (2.0 if weighted else 1.0))


@rule(indexing.Sort)
def sort(op: indexing.Sort, inputs: Tensors, outputs: Tensors) -> Work:
    """A bitonic network: log2 n (log2 n + 1) / 2 comparisons of every element of a row of n (Batcher, 1968)."""
    levels = np.ceil(np.log2(np.maximum(inputs[0].shape[-1], 2)))
    return Work(simple_ops=inputs[0].elements * levels * (levels + 1) / 2)


@rule(indexing.Scan)
def scan(op: indexing.Scan, inputs: Tensors, outputs: Tensors) -> Work:
    """Two operations per element: up and down the tree of a work-efficient scan (Blelloch, 1990)."""
    return Work(simple_ops=2.0 * inputs[0].elements)


@rule(indexing.Update)
def update(op: indexing.Update, inputs: Tensors, outputs: Tensors) -> Work:
    """One addition per value where they accumulate; rounding on the way into a quantized target."""
    return Work(simple_ops=inputs[1].elements * float(op.accumulate) + carried(inputs[1:2], outputs))


def _rows(x: Tensor) -> float:
    return product(x.shape[:-1])  # type: ignore[return-value]


def _moves_only(op: object, inputs: Tensors, outputs: Tensors) -> Work:
    """Bytes move, nothing is computed; the graph counts the bytes. Only quantized elements are converted."""
    return Work(simple_ops=carried(inputs, outputs))


_COPIES = (movement.Embedding, movement.Concat, movement.Slice, movement.Move, resampling.Pad)
_VIEWS = (movement.Reshape, movement.Part, movement.Expand, movement.Window)
for _op_type in (*_COPIES, *_VIEWS, indexing.Fill):
    rule(_op_type)(_moves_only)
