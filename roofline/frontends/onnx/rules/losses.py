"""Losses: the scores of the right classes are picked, weighed and averaged, as losses of PyTorch are."""

from __future__ import annotations

from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import Node, lowering
from roofline.frontends.onnx.rules.indexing import picked
from roofline.frontends.onnx.rules.norms import reduced
from roofline.frontends.onnx.values import Value
from roofline.frontends.onnx.views import identity, last
from roofline.frontends.onnx.writer import Writer
from roofline.graph import ops


def picked_loss(w: Writer, node: Node, scores: Value, labels: Value, weights: Value | None) -> Value:
    """Return minus the scores (N, C, ...) of the labels (N, ...), times the weights of their classes, reduced."""
    if scores.rank < 2 or labels.shape != (scores.shape[0], *scores.shape[2:]):
        raise ShapeError(f"labels of shape {labels.shape!r} do not fit scores of {scores.shape!r}")
    how = node.text("reduction", "mean")
    if how not in ("none", "sum", "mean"):
        raise ShapeError(f"unknown reduction {how!r}; allowed: none, sum, mean")
    loss = picked(w, scores, labels, labels.shape)
    factor = None
    if weights is None:
        loss = w.pointwise("neg", loss)
    else:
        factor = picked(w, weights, labels, labels.shape)
        loss = w.pointwise("mul", loss, factor)
    if how == "none":
        return loss
    every = identity(loss.rank)
    total = reduced(w, loss, every, "mean" if how == "mean" and factor is None else "sum", keep=False)
    if how == "mean" and factor is not None:  # by the sum of the weights
        total = w.pointwise("div", total, reduced(w, factor, every, "sum", keep=False))
    return total


@lowering("NegativeLogLikelihoodLoss")
def likelihood(w: Writer, node: Node) -> Value:
    """Loss of scores that are logarithms of probabilities."""
    return picked_loss(w, node, node[0], node[1], node.get(2))


@lowering("SoftmaxCrossEntropyLoss")
def cross_entropy(w: Writer, node: Node) -> list[Value]:
    """Softmax over the classes, then the loss; the logarithms of the probabilities are the second output."""
    scores = node[0]
    if scores.rank < 2:
        raise ShapeError(f"scores of shape {scores.shape!r}; allowed: (N, C, ...)")
    order = last(scores.rank, 1)
    logarithms = w.value(w.add(ops.Softmax, w.read(scores, order)), order)
    return [picked_loss(w, node, logarithms, node[1], node.get(2)), logarithms][: max(node.outputs, 1)]
