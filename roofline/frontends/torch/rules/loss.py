"""Losses: the kernels that ATen runs for each, a reduction last."""

from __future__ import annotations

from typing import Any

import torch

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import aten, shaped
from roofline.frontends.torch.rules.create import unwritten
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import indexing, ops

_NONE, _MEAN = 0, 1


def _reduced(w: Writer, v: Value, out: Any, reduction: int, *more: Value) -> Value:
    """Return the mean or the sum of a loss; `more` is what the same kernel reads beside it."""
    x = views.settled(v) if v.rank else views.reshape(v, (1,))
    function = "mean" if reduction == _MEAN else "sum"
    inputs = [w.tensor(x), *(w.tensor(m) for m in more)]
    return w.emit(ops.Reduce, inputs, out, name=function, function=function, axes=tuple(range(x.rank)), keep=False)


def _like(shape: tuple[int, ...], out: Any) -> torch.Tensor:
    return torch.empty(shape, dtype=out.dtype, device="meta")


@aten("mse_loss smooth_l1_loss huber_loss binary_cross_entropy")
def elementwise_loss(w: Writer, a: Any, out: Any) -> Value:
    """A kernel for the elements, one for their mean."""
    function = w.op_name
    operands = [v for v in (a.input, a.target, a.get("weight")) if isinstance(v, Value)]
    shape = tuple(torch.broadcast_shapes(*(v.shape for v in operands)))  # type: ignore[no-untyped-call]
    made = w.pointwise(function, _like(shape, out), *operands)
    return made if a.reduction == _NONE else _reduced(w, made, out, a.reduction)


@aten("binary_cross_entropy_with_logits")
def with_logits(w: Writer, a: Any, out: Any) -> Value:
    """(1 - y) x - log sigmoid(x), a kernel for each operation."""
    whole = _like(a.input.shape, out)
    log = w.pointwise("log_sigmoid", whole, a.input)
    if isinstance(a.get("pos_weight"), Value):
        scaled = w.pointwise("mul", whole, w.pointwise("sub", whole, a.pos_weight), a.target)
        log = w.pointwise("mul", whole, log, w.pointwise("add", whole, scaled))
    rest = w.pointwise("mul", whole, w.pointwise("sub", whole, a.target), a.input)
    made = w.pointwise("sub", whole, rest, log)
    if isinstance(a.get("weight"), Value):
        made = w.pointwise("mul", whole, made, a.weight)
    return made if a.reduction == _NONE else _reduced(w, made, out, a.reduction)


@aten("soft_margin_loss")
def soft_margin(w: Writer, a: Any, out: Any) -> Value:
    """log(1 + exp(-x y)), a kernel for each operation."""
    whole = _like(a.input.shape, out)
    made = w.pointwise("mul", whole, a.input, a.target)
    for function in ("neg", "exp", "log"):
        made = w.pointwise(function, whole, made)
    return made if a.reduction == _NONE else _reduced(w, made, out, a.reduction)


@aten("nll_loss_forward nll_loss2d_forward")
def nll_loss(w: Writer, a: Any, out: Any) -> tuple[Value, Value]:
    """The log-probability of each target, picked and summed up by one kernel."""
    loss, total = out
    more = [v for v in (a.target, a.get("weight")) if isinstance(v, Value)]
    if a.reduction == _NONE:
        made = w.emit(indexing.Gather, [w.tensor(views.settled(a.input)), *map(w.tensor, more)], loss)
    else:
        picked = w.window(a.input, _like(a.target.shape or (1,), loss))
        made = _reduced(w, picked, loss, a.reduction, *more)
    return made, unwritten(total)  # the sum of the class weights, which the same kernel leaves


@shaped("aten._ctc_loss")
def ctc_shapes(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0, zero_infinity: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of each example and its table (N, T, 2 S + 1): torch has no rule for tensors without data.

    S is the longest target; where targets lie one after the other, that is their mean length at least.
    """
    steps, examples = (log_probs.shape[0], log_probs.shape[1]) if log_probs.dim() > 2 else (log_probs.shape[0], 1)
    if isinstance(target_lengths, (list, tuple)) and target_lengths:
        longest = max(target_lengths)
    else:
        longest = targets.shape[1] if targets.dim() > 1 else -(-targets.shape[0] // examples)
    return log_probs.new_empty((examples,)), log_probs.new_empty((examples, steps, 2 * longest + 1))


@aten("_ctc_loss")
def ctc_loss(w: Writer, a: Any, out: Any) -> tuple[Value, Value]:
    """The table of Graves et al. (2006): an entry sums three of the step before in logarithms."""
    loss, table = out
    picked = w.emit(indexing.Gather, [w.tensor(a.log_probs), w.tensor(a.targets)], table)
    alpha = w.pointwise("ctc_step", table, picked)
    return w.emit(indexing.Gather, [w.tensor(views.settled(alpha))], loss, name="ctc_loss"), alpha
