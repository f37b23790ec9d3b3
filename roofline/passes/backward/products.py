"""Convolutions, matrix products and attention: two products for each, one for each operand that needs a gradient."""

from __future__ import annotations

from typing import Any

from roofline.graph.gradients import AttentionGrad, ConvInputGrad, ConvWeightGrad
from roofline.graph.ops import Attention, Conv, GroupedMatMul, MatMul
from roofline.graph.resampling import ConvTranspose
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import product
from roofline.passes.backward.registry import backward
from roofline.passes.backward.tape import Step


@backward(Conv, ConvTranspose)
def conv(step: Step[Conv | ConvTranspose]) -> None:
    """The input's gradient reads the weight, the weight's the input, both dy; a bias sums dy."""
    op, dy, (x, weight) = step.op, step.dy, step.inputs[:2]
    shared: dict[str, Any] = {"kernel": op.kernel, "groups": op.groups, "form": op.form, "layout": op.layout}
    shared["transposed"] = isinstance(op, ConvTranspose)
    if step.needs(0):
        step.give(0, step.add("dx", ConvInputGrad, dy, step.x(1), shape=x.shape, dtype=x, **shared))
    if step.needs(1):
        step.give(1, step.add("dw", ConvWeightGrad, dy, step.x(0), shape=weight.shape, dtype=weight, **shared))
    step.give(2, dy)


@backward(MatMul)
def matmul(step: Step[MatMul]) -> None:
    """Da = dy b^T and db = a^T dy, transposed by the libraries' flags; a bias sums dy."""
    dy, (a, b) = step.dy, step.inputs[:2]
    if step.needs(0):
        step.give(0, step.add("dx", MatMul, dy, step.view(step.x(1), _transposed(b.shape)), dtype=a))
    if step.needs(1):
        left, right = step.x(0), dy
        if len(b.shape) == 2:  # one product over all rows
            rows = product(a.shape[:-1])
            left, right = step.view(left, (a.shape[-1], rows)), step.view(dy, (rows, dy.shape[-1]))
        else:
            left = step.view(left, _transposed(a.shape))
        step.give(1, step.add("dw", MatMul, left, right, dtype=b))
    step.give(2, dy)


@backward(GroupedMatMul)
def grouped_matmul(step: Step[GroupedMatMul]) -> None:
    """Da = dy b^T and db = a^T dy, in the same groups."""
    dy, (a, b, _) = step.dy, step.inputs[:3]
    if step.needs(0):
        step.give(0, step.add("dx", GroupedMatMul, dy, _turned(step, step.x(1)), step.x(2), dtype=a))
    if step.needs(1):
        step.give(1, step.add("dw", GroupedMatMul, _turned(step, step.x(0)), dy, step.x(2), dtype=b))


def _turned(step: Step[Any], x: Tensor) -> Tensor:
    return step.view(x, _transposed(x.shape))


def _transposed(shape: Shape) -> Shape:
    return (*shape[:-2], shape[-1], shape[-2])


@backward(Attention)
def attention(step: Step[Attention]) -> None:
    """One kernel that computes the scores again, as FlashAttention's backward pass."""
    trained = tuple(i for i in range(len(step.op.inputs) - 3) if step.needs(3 + i))
    operands: tuple[Tensor, ...] = (step.dy, step.y(), *(step.x(i) for i in range(len(step.op.inputs))))
    places = (0, 1, 2, *(3 + i for i in trained))
    wanted = tuple(step.inputs[i] for i in places)
    heads = {"heads": step.op.heads, "kv_heads": step.op.kv_heads}
    found = step.add_all("grad", AttentionGrad, operands, wanted, biases=trained, **heads)
    for place, gradient in zip(places, found, strict=True):
        step.give(place, gradient)
