"""One example of every op type, as a function of its sizes: numbers or columns, with the work counted by hand."""

from __future__ import annotations

from typing import Any

from example import Example
from gradient_examples import GRADIENT_EXAMPLES

from roofline.dtypes import DTYPES
from roofline.graph import decoding, indexing, movement, ops, resampling, sampling
from roofline.graph.builder import GraphBuilder
from roofline.graph.quantize import Quantize
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric


def recurrence(b: GraphBuilder, n: Numeric, t: Numeric, d: Numeric, v: Numeric, *, delta: bool) -> Tensor:
    """Two heads that share queries and keys, in chunks of four tokens, with a gate of each."""
    operands = (
        b.input("state", (n, 2, d, v)), b.input("q", (n, t, d)), b.input("k", (n, t, d)), b.input("v", (n, t, 2 * v)),
        b.input("gates", (n, t, 2)),
    )  # fmt: skip
    fields: dict[str, Any] = {"heads": 2, "key_heads": 1, "chunk": 4, "delta": delta}
    return b.write("recurrence", decoding.Recurrence, operands, (operands[0].dtype, operands[3].dtype), **fields)[1]


EXAMPLES: dict[str, Example] = GRADIENT_EXAMPLES | {
    "recurrence": Example(
        op=decoding.Recurrence,
        sizes=(2, 6, 3, 5),
        build=lambda b, n, t, d, v: recurrence(b, n, t, d, v, delta=False),
        macs=2 * 2 * (2 * (4 * 3 * 5 + 4 * 3 * 5)  # 2 sequences of 2 chunks: both heads' states read and added to
                      + 4 * 4 * 3 + 2 * (4 * 4 * 5)),  # scores once, with the values of both heads
        simple=2 * (2 * 60) + 24 + 120,  # decay and sum of 60 numbers in 2 chunks; gates; results
        transcendental=24,
    ),
    "delta rule": Example(
        op=decoding.Recurrence,
        sizes=(2, 6, 3, 5),
        build=lambda b, n, t, d, v: recurrence(b, n, t, d, v, delta=True),
        macs=2 * 2 * (2 * (4 * 3 * 5 + 4 * 3 * 5) + 4 * 4 * 3 + 2 * (4 * 4 * 5)
                      + 2 * (4 * 3 * 5) + 4 * 4 * 3 + 2 * (4 * 4 * (3 + 5))),  # states read by keys; the inverse
        simple=2 * (2 * 60) + 24 + 120,
        transcendental=24,
    ),
    "index scores": Example(
        op=decoding.IndexScores,
        sizes=(2, 3, 5, 4),
        build=lambda b, n, t, s, d: b.add_op(
            "scores", decoding.IndexScores, b.input("q", (n, t, 2 * d)), b.input("k", (n, s, d)),
            b.input("weights", (n, t, 2)), heads=2,
        ),
        macs=2 * (3 * 2) * 5 * 4,  # 3 queries of 2 heads with 5 keys of 4 channels
        simple=2 * 3 * 5 * 2 * 3,  # each head's score: bound, weigh, add
    ),
    "conv": Example(
        op=ops.Conv,
        sizes=(2, 4, 6, 3, 5),
        build=lambda b, n, h, w, c, k: b.conv(b.input("x", (n, h, w, c)), k, kernel=3, stride=2, bias=True),
        macs=2 * (2 * 3) * 5 * (3 * 3 * 3),  # 2 images of 2x3 outputs, 5 filters, 3x3 taps of 3 channels
        simple=2 * (2 * 3) * 5,  # the bias of each output
    ),
    "depthwise": Example(
        op=ops.Conv,
        sizes=(2, 4, 4, 3),
        build=lambda b, n, h, w, c: b.depthwise(b.input("x", (n, h, w, c)), kernel=3),
        macs=2 * (4 * 4) * 3 * (3 * 3),  # each channel with its own 3x3
    ),
    "grouped": Example(
        op=ops.Conv,
        sizes=(1, 4, 4, 8, 8),
        build=lambda b, n, h, w, c, k: b.conv(b.input("x", (n, h, w, c)), k, kernel=1, groups=4),
        macs=(4 * 4) * 8 * 2,  # each filter sees 8 / 4 channels
    ),
    "linear": Example(
        op=ops.MatMul,
        sizes=(2, 3, 4, 5),
        build=lambda b, n, t, c, k: b.linear(b.input("x", (n, t, c)), k),
        macs=(2 * 3) * 4 * 5,
        simple=(2 * 3) * 5,  # the bias
    ),
    "batched matmul": Example(
        op=ops.MatMul,
        sizes=(2, 3, 4, 5),
        build=lambda b, n, t, c, k: b.add_op("mm", ops.MatMul, b.input("x", (n, t, c)), b.input("y", (n, c, k))),
        macs=2 * 3 * 4 * 5,
    ),
    "grouped matmul": Example(
        op=ops.GroupedMatMul,
        sizes=(6, 4, 5, 8),
        build=lambda b, t, k, n, e: b.add_op(
            "experts", ops.GroupedMatMul, b.input("x", (t, k)), b.parameter("w", e, k, n),
            b.input("ends", (e,), DTYPES["int32"]),
        ),
        macs=6 * 4 * 5,  # every row meets the weights of one expert, however many there are
    ),
    "attention": Example(
        op=ops.Attention,
        sizes=(2, 3, 5, 8),
        build=lambda b, n, q, k, c: b.attention(
            b.input("q", (n, q, c)), b.input("k", (n, k, c)), b.input("v", (n, k, c)), heads=2
        ),
        macs=2 * (2 * 2 * 3 * 5 * 4),  # scores and context: 2 images, 2 heads, 3x5 scores, 4 channels a head
        simple=(2 * 2 * 3 * 5) * 5,  # per score: scale, maximum, subtract, sum, multiply
        transcendental=2 * 2 * 3 * 5,  # an exponential per score
    ),
    "biased attention": Example(
        op=ops.Attention,
        sizes=(2, 3, 5, 8),
        build=lambda b, n, q, k, c: b.attention(
            b.input("q", (n, q, c)),
            b.input("k", (n, k, c)),
            b.input("v", (n, k, c)),
            heads=2,
            bias=b.parameter("bias", 2, q, k),
        ),
        macs=2 * (2 * 2 * 3 * 5 * 4),
        simple=(2 * 2 * 3 * 5) * 6,  # one addition more
        transcendental=2 * 2 * 3 * 5,
    ),
    "relu": Example(
        op=ops.Elementwise,
        sizes=(2, 3, 4),
        build=lambda b, *shape: b.relu(b.input("x", shape)),
        simple=2 * 3 * 4,  # one comparison
    ),
    "sigmoid": Example(
        op=ops.Elementwise,
        sizes=(2, 3, 4),
        build=lambda b, *shape: b.activation("sigmoid", b.input("x", shape)),
        simple=3 * 24,  # 1 / (1 + exp2(-x log2 e)): negate, scale, add
        transcendental=2 * 24,  # exp2, reciprocal
    ),
    "gate": Example(
        op=ops.Elementwise,
        sizes=(2, 4, 4, 3),
        build=lambda b, n, h, w, c: b.gate(b.input("x", (n, h, w, c)), b.input("g", (n, 1, 1, c))),
        simple=2 * 4 * 4 * 3,  # a multiplication for every element of x, not of the gate
    ),
    "cast": Example(
        op=ops.Cast,
        sizes=(2, 3),
        build=lambda b, *shape: b.add_op("cast", ops.Cast, b.input("x", shape), dtype=DTYPES["bf16"]),
        simple=6,
    ),
    "batch norm": Example(
        op=ops.BatchNorm,
        sizes=(2, 4, 4, 3),
        build=lambda b, *shape: b.batch_norm(b.input("x", shape)),
        simple=2 * (2 * 4 * 4 * 3),  # x * scale + shift
    ),
    "layer norm": Example(
        op=ops.Norm,
        sizes=(2, 3, 8),
        build=lambda b, *shape: b.layer_norm(b.input("x", shape)),
        simple=7 * (2 * 3 * 8),  # sum, square, sum of squares, subtract, multiply; scale, shift
        transcendental=2 * 3,  # the reciprocal root of each row
    ),
    "plain norm": Example(
        op=ops.Norm,
        sizes=(2, 3, 8),
        build=lambda b, *shape: b.add_op("norm", ops.Norm, b.input("x", shape)),
        simple=5 * (2 * 3 * 8),
        transcendental=2 * 3,
    ),
    "softmax": Example(
        op=ops.Softmax,
        sizes=(2, 3, 8),
        build=lambda b, *shape: b.add_op("softmax", ops.Softmax, b.input("x", shape)),
        simple=4 * (2 * 3 * 8),  # maximum, subtract, sum, multiply
        transcendental=2 * 3 * 8,
    ),
    "mean": Example(
        op=ops.Reduce,
        sizes=(2, 4, 4, 3),
        build=lambda b, *shape: b.mean(b.input("x", shape), (1, 2)),
        simple=2 * 4 * 4 * 3,  # one addition per input
    ),
    "pool": Example(
        op=ops.Pool,
        sizes=(2, 4, 4, 3),
        build=lambda b, *shape: b.pool(b.input("x", shape), "max", kernel=3, stride=2),
        simple=2 * (2 * 2) * 3 * 9,  # nine comparisons per output
    ),
    "embedding": Example(
        op=movement.Embedding,
        sizes=(2, 3, 10, 4),
        build=lambda b, n, t, rows, c: b.embedding(b.input("ids", (n, t), DTYPES["int32"]), rows, c),
    ),
    "concat": Example(
        op=movement.Concat,
        sizes=(2, 3, 4),
        build=lambda b, n, c, k: b.concat([b.input("x", (n, c)), b.input("y", (n, k))]),
    ),
    "slice": Example(
        op=movement.Slice, sizes=(2, 4), build=lambda b, n, c: b.slice(b.input("x", (n, c)), 3)
    ),
    "move": Example(
        op=movement.Move,
        sizes=(2, 3, 4),
        build=lambda b, n, t, c: b.move("transpose", b.input("x", (n, t, c)), (n, c, t)),
    ),
    "reshape": Example(
        op=movement.Reshape,
        sizes=(2, 3, 4),
        build=lambda b, n, t, c: b.reshape(b.input("x", (n, t, c)), (n, t * c)),
    ),
    "part": Example(
        op=movement.Part, sizes=(2, 6), build=lambda b, n, c: b.part(b.input("x", (n, c)), 2, start=3)
    ),
    "expand": Example(
        op=movement.Expand,
        sizes=(2, 3, 4),
        build=lambda b, n, t, c: b.expand(b.input("x", (1, t, c)), (n, t, c)),
    ),
    "transposed convolution": Example(
        op=resampling.ConvTranspose,
        sizes=(2, 3, 4, 5, 6),
        build=lambda b, n, h, w, c, k: b.add_op(
            "up", resampling.ConvTranspose, b.input("x", (n, h, w, c)), b.parameter("w", 2, 2, c, k),
            b.parameter("bias", k), kernel=(2, 2), shape=(n, 2 * h, 2 * w, k),
        ),
        macs=2 * (3 * 4) * 5 * (2 * 2 * 6),  # every input of 5 channels meets 2x2 taps of 6 filters
        simple=2 * (6 * 8) * 6,  # the bias of each output
    ),
    "transposed depthwise": Example(
        op=resampling.ConvTranspose,
        sizes=(2, 3, 4, 5),
        build=lambda b, n, h, w, c: b.add_op(
            "up", resampling.ConvTranspose, b.input("x", (n, h, w, c)), b.parameter("w", 2, 2, c, 2),
            kernel=(2, 2), shape=(n, 2 * h, 2 * w, 2 * c), groups=c, form="depthwise",
        ),
        macs=2 * (3 * 4) * 5 * (2 * 2) * 2,  # every input element meets 2x2 taps of its 2 filters
    ),
    "resize": Example(
        op=resampling.Resize,
        sizes=(2, 4, 4, 3),
        build=lambda b, n, h, w, c: b.add_op("up", resampling.Resize, b.input("x", (n, h, w, c)), size=(2 * h, 2 * w)),
        simple=2 * (8 * 8) * 3 * 8,  # four neighbours, each multiplied and added
    ),
    "nearest": Example(
        op=resampling.Resize,
        sizes=(2, 4, 4, 3),
        build=lambda b, n, h, w, c: b.add_op(
            "up", resampling.Resize, b.input("x", (n, h, w, c)), size=(2 * h, 2 * w), function="nearest"
        ),
    ),
    "pad": Example(
        op=resampling.Pad,
        sizes=(2, 4),
        build=lambda b, n, c: b.add_op("pad", resampling.Pad, b.input("x", (n, c)), before=(0, 1), after=(0, 2)),
    ),
    "fourier": Example(
        op=sampling.Fourier,
        sizes=(3, 8),
        build=lambda b, n, t: b.add_op("fft", sampling.Fourier, b.input("x", (n, t)), axis=1, length=t, shape=(n, t)),
        simple=3 * (5 * 8 * 3),  # log2 8 stages of 5 x 8 operations for each row
    ),
    "real fourier": Example(
        op=sampling.Fourier,
        sizes=(3, 16, 2),
        build=lambda b, n, t, c: b.add_op(
            "rfft", sampling.Fourier, b.input("x", (n, t, c, 1)), axis=1, length=t, shape=(n, t / 2 + 1, c, 2),
            real=True, pairs=True,
        ),
        simple=3 * 2 * (5 * 16 * 4) / 2,  # rows of images and channels; real ones take half
    ),
    "grid sample": Example(
        op=sampling.Sample,
        sizes=(2, 4, 5, 3, 6),
        build=lambda b, n, h, w, c, t: b.add_op(
            "sample", sampling.Sample, b.input("x", (n, h, w, c)), b.input("grid", (n, t, 1, 2)), shape=(n, t, 1, c),
            together=c,
        ),
        simple=2 * 6 * (3 * 4 * 2 + 2 * 5 + 4),  # each channel weighs 4; along 2 sides 5 each, 4 weights of 2 factors
    ),
    "deformable columns": Example(
        op=sampling.Sample,
        sizes=(2, 4, 5, 3),
        build=lambda b, n, h, w, c: b.add_op(
            "columns", sampling.Sample, b.input("x", (n, h, w, c)), b.input("offsets", (n, h, w, 18)),
            b.input("mask", (n, h, w, 9)), shape=(n, h, w, 9 * c), together=c,
        ),
        simple=2 * 4 * 5 * 9 * (3 * (4 * 2 + 1) + 2 * 5 + 4),  # each sample is multiplied by its mask
    ),
    "boxes": Example(
        op=sampling.Sample,
        sizes=(2, 8, 8, 3, 5),
        build=lambda b, n, h, w, c, r: b.add_op(
            "align", sampling.Sample, b.input("x", (n, h, w, c)), b.input("boxes", (r, 5)), shape=(r, 7, 7, c),
            together=c, averaged=4,
        ),
        simple=5 * 49 * (3 * (4 * 8 + 1) + 4 * 14),  # four samples of four neighbours, and one division
    ),
    "gather": Example(
        op=indexing.Gather,
        sizes=(10, 4, 3),
        build=lambda b, rows, c, n: b.add_op(
            "take", indexing.Gather, b.input("x", (rows, c)), b.input("i", (n,), DTYPES["int32"]), shape=(n, c)
        ),
    ),
    "update": Example(
        op=indexing.Update,
        sizes=(10, 4, 3),
        build=lambda b, rows, c, n: b.add_op(
            "put", indexing.Update, b.input("x", (rows, c)), b.input("values", (n, c)), accumulate=True
        ),
        simple=3 * 4,  # an addition for every value, not for every element of the target
    ),
    "overwriting update": Example(
        op=indexing.Update,
        sizes=(10, 4, 3),
        build=lambda b, rows, c, n: b.add_op(
            "put", indexing.Update, b.input("x", (rows, c)), b.input("values", (n, c)), accumulate=False
        ),
    ),
    "sort": Example(
        op=indexing.Sort,
        sizes=(2, 8),
        build=lambda b, n, c: b.add_op("sort", indexing.Sort, b.input("x", (n, c))),
        simple=(2 * 8) * 6,  # a bitonic network of 8 has 1 + 2 + 3 rounds, in each every element takes part
    ),
    "quantize": Example(
        op=Quantize,
        sizes=(2, 8),
        build=lambda b, n, c: b.add_op("quantize", Quantize, b.input("x", (n, c))),
        simple=(2 * 8) * (2 + 4),  # magnitude, maximum; scale, clamp 2, conversion
        transcendental=2,  # a reciprocal for each row
    ),
    "quantize with known scales": Example(
        op=Quantize,
        sizes=(2, 8),
        build=lambda b, n, c: b.add_op("quantize", Quantize, b.input("x", (n, c)), dynamic=False),
        simple=(2 * 8) * 4,
    ),
    "scan": Example(
        op=indexing.Scan,
        sizes=(2, 8),
        build=lambda b, n, c: b.add_op("cumsum", indexing.Scan, b.input("x", (n, c)), axis=-1),
        simple=2 * (2 * 8),  # up and down the tree
    ),
    "fill": Example(
        op=indexing.Fill,
        sizes=(2, 8),
        build=lambda b, n, c: b.add_op("zeros", indexing.Fill, dtype=DTYPES["fp32"], shape=(n, c)),
    ),
    "statistic": Example(
        op=ops.Statistic,
        sizes=(2, 8),
        build=lambda b, n, c: b.add_op(
            "lse", ops.Statistic, b.input("x", (n, c)), axes=(1,), function="logsumexp"
        ),
        simple=3 * (2 * 8),  # maximum, subtract, sum
        transcendental=2 * 8,  # an exponential per element; the logarithm of each row is left out
    ),
    "window": Example(
        op=movement.Window,
        sizes=(2, 8),
        build=lambda b, n, c: b.add_op("frames", movement.Window, b.input("x", (n, c)), shape=(n, 3, c)),
    ),
}  # fmt: skip
