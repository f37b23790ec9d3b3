"""Norms, softmax, reductions and scans: whole rows, or whole batches."""

from __future__ import annotations

from typing import Any

from roofline.graph.gradients import AffineGrad, BatchStatistics, NormGrad, SoftmaxGrad, Spread
from roofline.graph.indexing import Scan
from roofline.graph.movement import Expand
from roofline.graph.ops import BatchNorm, Norm, Reduce, Softmax, Statistic
from roofline.graph.tensor import Shape, Tensor
from roofline.passes.backward.registry import backward
from roofline.passes.backward.tape import Step


@backward(BatchNorm)
def batch_norm(step: Step[BatchNorm]) -> None:
    """Sums over the batch give scale and shift their gradients; with batch statistics x needs them too."""
    dy, x = step.dy, step.inputs[0]
    fixed = step.inputs[3].stored
    sums: tuple[Tensor, ...] = ()
    if step.needs(1) or step.needs(2) or not fixed:
        sums = step.add_all("sums", AffineGrad, (dy, step.x(0)), step.inputs[1:3])
        for i, total in enumerate(sums):
            step.give(1 + i, total)
    if not step.needs(0):
        return
    if fixed:  # scale and deviation are one factor
        step.give(0, step.pointwise("dx", "mul", dy, step.x(1), step.x(4), like=x))
    else:
        operands = (step.x(0), step.x(1), step.x(3), step.x(4), *sums)
        step.give(0, step.pointwise("dx", "batch_norm_grad", dy, *operands, like=x))


@backward(BatchStatistics)
def batch_statistics(step: Step[BatchStatistics]) -> None:
    """Nothing: what the statistics owe their input is in the gradient of the norm that reads them."""


@backward(Norm)
def norm(step: Step[Norm]) -> None:
    """One kernel for x, and one that sums over all rows for scale and shift."""
    if step.needs(0):
        scale = [step.x(1)] if len(step.op.inputs) > 1 else []
        step.give(0, step.add("dx", NormGrad, step.dy, step.x(0), *scale, dtype=step.inputs[0]))
    if step.needs(1):
        for i, total in enumerate(step.add_all("sums", AffineGrad, (step.dy, step.x(0)), step.inputs[1:3])):
            step.give(1 + i, total)


@backward(Softmax)
def softmax(step: Step[Softmax]) -> None:
    """Written in the result."""
    step.give(0, step.add("dx", SoftmaxGrad, step.dy, step.y(), dtype=step.inputs[0]))


def _kept(op: Any, shape: Shape) -> Shape:
    """Return the shape of a reduction's result with its axes kept as 1."""
    axes = {axis % len(shape) for axis in op.axes}
    return tuple(1 if i in axes else d for i, d in enumerate(shape))


@backward(Reduce)
def reduce(step: Step[Reduce]) -> None:
    """A sum repeats dy as a view, a mean writes its share of it, a maximum selects where it was."""
    x = step.inputs[0]
    kept = _kept(step.op, x.shape)
    dy = step.view(step.dy, kept)
    if step.op.function == "sum":
        step.give(0, step.add("dx", Expand, dy, shape=x.shape))
    elif step.op.function == "mean":
        step.give(0, step.add("dx", Spread, dy, shape=x.shape, dtype=x))
    else:
        step.give(0, step.pointwise("dx", "max_over_grad", step.x(0), step.view(step.y(), kept), dy, like=x))


@backward(Statistic)
def statistic(step: Step[Statistic]) -> None:
    """Each element's share of the result, from the element and the result."""
    x = step.inputs[0]
    kept = _kept(step.op, x.shape)
    dy, y = step.view(step.dy, kept), step.view(step.y(), kept)
    step.give(0, step.pointwise("dx", "statistic_grad", step.x(0), y, dy, like=x))


@backward(Scan)
def scan(step: Step[Scan]) -> None:
    """The same scan from the other end; a product or maximum is weighed by its result before and after."""
    dy, op = step.dy, step.op
    if op.function != "sum":
        dy = step.pointwise("weighed", "mul", dy, step.y())
    dx = step.add("dx", Scan, dy, axis=op.axis)
    step.give(0, dx if op.function == "sum" else step.pointwise("shared", "div", dx, step.x(0)))
