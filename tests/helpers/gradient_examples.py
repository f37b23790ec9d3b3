"""Examples of the ops that only backward passes have; see `op_examples`."""

from __future__ import annotations

from typing import Any

from example import Example

from roofline.dtypes import DTYPES
from roofline.graph import gradients
from roofline.graph.builder import GraphBuilder
from roofline.graph.op import Op
from roofline.graph.tensor import Tensor


def add(b: GraphBuilder, make: type[Op], *inputs: Tensor, results: int = 1, **fields: Any) -> Tensor:
    """Add an op that may have several results and return the first."""
    op = make(inputs=tuple(t.id for t in inputs), outputs=tuple(f"op:{i}" for i in range(results)), **fields)
    b.ops["op"] = op
    for name, shape in zip(op.outputs, op.infer(*(t.shape for t in inputs)), strict=True):
        b.tensors[name] = Tensor(id=name, shape=shape)
    return b.tensors["op:0"]


GRADIENT_EXAMPLES: dict[str, Example] = {
    "conv input gradient": Example(
        op=gradients.ConvInputGrad,
        sizes=(2, 4, 6, 3, 5),
        build=lambda b, n, h, w, c, k: add(
            b, gradients.ConvInputGrad, b.input("dy", (n, h / 2, w / 2, k)), b.parameter("w", 3, 3, c, k),
            shape=(n, h, w, c), kernel=(3, 3),
        ),
        macs=2 * (2 * 3) * 5 * (3 * 3 * 3),  # as forward: every product of an input and a weight is met once
    ),
    "conv weight gradient": Example(
        op=gradients.ConvWeightGrad,
        sizes=(2, 4, 6, 3, 5),
        build=lambda b, n, h, w, c, k: add(
            b, gradients.ConvWeightGrad, b.input("dy", (n, h / 2, w / 2, k)), b.input("x", (n, h, w, c)),
            shape=(3, 3, c, k), kernel=(3, 3),
        ),
        macs=2 * (2 * 3) * 5 * (3 * 3 * 3),  # as forward
    ),
    "depthwise weight gradient": Example(
        op=gradients.ConvWeightGrad,
        sizes=(2, 4, 4, 3),
        build=lambda b, n, h, w, c: add(
            b, gradients.ConvWeightGrad, b.input("dy", (n, h, w, c)), b.input("x", (n, h, w, c)),
            shape=(3, 3, 1, c), kernel=(3, 3), groups=c, form="depthwise",
        ),
        macs=2 * (4 * 4) * 3 * (3 * 3),
    ),
    "transposed conv input gradient": Example(
        op=gradients.ConvInputGrad,
        sizes=(2, 3, 4, 5),
        build=lambda b, n, h, c, k: add(
            b, gradients.ConvInputGrad, b.input("dy", (n, 2 * h, 2 * h, k)), b.parameter("w", 2, 2, c, k),
            shape=(n, h, h, c), kernel=(2, 2), transposed=True,
        ),
        macs=2 * (3 * 3) * 4 * 5 * (2 * 2),  # every input position writes a 2x2 window
    ),
    "attention gradient": Example(
        op=gradients.AttentionGrad,
        sizes=(2, 3, 4, 6),
        build=lambda b, n, q, k, c: add(
            b, gradients.AttentionGrad, b.input("dy", (n, q, c)), b.input("out", (n, q, c)), b.input("q", (n, q, c)),
            b.input("k", (n, k, c)), b.input("v", (n, k, c)), results=3, heads=2, kv_heads=2,
        ),
        macs=5 * 2 * (3 * 4) * 6,  # five products of 2 images, each with all heads' channels
        simple=5 * (2 * 2 * 3 * 4) + 2 * (2 * 3 * 6),  # of each score; and dy times the result
        transcendental=2 * 2 * 3 * 4,
    ),
    "biased attention gradient": Example(
        op=gradients.AttentionGrad,
        sizes=(2, 3, 4, 6),
        build=lambda b, n, q, k, c: add(
            b, gradients.AttentionGrad, b.input("dy", (n, q, c)), b.input("out", (n, q, c)), b.input("q", (n, q, c)),
            b.input("k", (n, k, c)), b.input("v", (n, k, c)), b.parameter("position", 2, q, k),
            b.input("mask", (1, q, k)), results=4, heads=2, kv_heads=2, biases=(0,),
        ),
        macs=5 * 2 * (3 * 4) * 6,
        simple=(5 + 2 + 1) * (2 * 2 * 3 * 4) + 2 * (2 * 3 * 6),  # two biases added, one of them trained: a sum of dS
        transcendental=2 * 2 * 3 * 4,
    ),
    "softmax gradient": Example(
        op=gradients.SoftmaxGrad,
        sizes=(2, 8),
        build=lambda b, n, c: add(b, gradients.SoftmaxGrad, b.input("dy", (n, c)), b.input("y", (n, c))),
        simple=4 * (2 * 8),  # product, sum, difference, product
    ),
    "norm gradient": Example(
        op=gradients.NormGrad,
        sizes=(2, 8),
        build=lambda b, n, c: add(b, gradients.NormGrad, b.input("dy", (n, c)), b.input("x", (n, c))),
        simple=10 * (2 * 8),  # dy scale; x hat 2; two sums 3; their shares 3; product
    ),
    "batch statistics": Example(
        op=gradients.BatchStatistics,
        sizes=(2, 4, 8),
        build=lambda b, n, h, c: add(b, gradients.BatchStatistics, b.input("x", (n, h, c)), results=2),
        simple=3 * (2 * 4 * 8),  # sum, square, sum of squares
    ),
    "affine gradient": Example(
        op=gradients.AffineGrad,
        sizes=(2, 4, 8),
        build=lambda b, n, h, c: add(
            b, gradients.AffineGrad, b.input("dy", (n, h, c)), b.input("x", (n, h, c)), results=2
        ),
        simple=4 * (2 * 4 * 8),  # difference, product, two sums
    ),
    "pool gradient": Example(
        op=gradients.PoolGrad,
        sizes=(1, 2, 3),
        build=lambda b, n, h, c: add(
            b, gradients.PoolGrad, b.input("dy", (n, h, h, c)), shape=(n, 2 * h, 2 * h, c), kernel=(3, 3)
        ),
        simple=(2 * 2) * 3 * 9,  # every window once
    ),
    "resize gradient": Example(
        op=gradients.ResizeGrad,
        sizes=(1, 4, 3),
        build=lambda b, n, h, c: add(
            b, gradients.ResizeGrad, b.input("dy", (n, h, h, c)), shape=(n, h / 2, h / 2, c), neighbours=4
        ),
        simple=2 * 4 * (4 * 4 * 3),  # a product and a sum for each of 4 neighbours
    ),
    "sample gradient": Example(
        op=gradients.SampleGrad,
        sizes=(1, 4, 3),
        build=lambda b, n, h, c: add(
            b, gradients.SampleGrad, b.input("dy", (n, h, h, c)), b.input("x", (n, 8, 8, c)),
            b.input("grid", (n, h, h, 2)), shape=(n, h, h, 2), neighbours=4,
        ),
        simple=(2 * 4 + 2) * (4 * 4 * 3),  # 4 neighbours weighed, then a product with dy and the sum over channels
    ),
    "sum to": Example(
        op=gradients.SumTo,
        sizes=(4, 8),
        build=lambda b, n, c: add(b, gradients.SumTo, b.input("dy", (n, c)), shape=(c,)),
        simple=4 * 8,
    ),
    "spread": Example(
        op=gradients.Spread,
        sizes=(4, 8),
        build=lambda b, n, c: add(b, gradients.Spread, b.input("dy", (1, c)), shape=(n, c)),
        simple=4 * 8,
    ),
    "scatter": Example(
        op=gradients.Scatter,
        sizes=(10, 4, 3),
        build=lambda b, rows, c, n: add(
            b, gradients.Scatter, b.input("dy", (n, c)), b.input("i", (n,), DTYPES["int32"]), shape=(rows, c),
            accumulate=True,
        ),
        simple=3 * 4,  # an addition for every value
    ),
    "scatter to distinct rows": Example(
        op=gradients.Scatter,
        sizes=(10, 4, 3),
        build=lambda b, rows, c, n: add(
            b, gradients.Scatter, b.input("dy", (n, c)), b.input("i", (n,), DTYPES["int32"]), shape=(rows, c),
            accumulate=False,
        ),
    ),
    "optimizer step": Example(
        op=gradients.OptimizerStep,
        sizes=(3, 4),
        build=lambda b, c, k: add(
            b, gradients.OptimizerStep, b.parameter("w", c, k), b.tensor("m", (c, k), "buffer"),
            b.tensor("v", (c, k), "buffer"), b.input("g", (c, k)), results=3, algorithm="adam",
        ),
        simple=12 * 12,  # moments 3 and 4, their corrections 2, epsilon, quotient's product, difference
        transcendental=2 * 12,  # root and quotient
    ),
}  # fmt: skip
