"""Normalisation and softmax."""

from __future__ import annotations

from math import prod
from typing import Any

from roofline.frontends.torch import values as views
from roofline.frontends.torch.catch import caught
from roofline.frontends.torch.reader import Tracer
from roofline.frontends.torch.registry import lowering
from roofline.frontends.torch.rules.convolution import channels_last
from roofline.frontends.torch.rules.move import in_rows
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Lowering
from roofline.graph import ops
from roofline.graph.tensor import Tensor


@lowering("aten.native_batch_norm", "aten._native_batch_norm_legit", "aten._native_batch_norm_legit_no_training",
          "aten.cudnn_batch_norm", "aten.miopen_batch_norm", "aten.batch_norm",
          "aten._batch_norm_no_update", "aten._batch_norm_with_update")  # fmt: skip
def _batch_norm(t: Lowering, a: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    order = channels_last(first.dim()) if first.dim() > 1 else (0,)
    affine = [t.tensor(v) for v in (a.weight, a.bias) if v is not None]
    x = t.tensor(a.input, order)
    if a.get("running_mean") is None or (a.get("training") and t.op_name != "batch_norm"):
        made = t.emit(ops.Norm, [x, *affine], first, order=order, form="group", name="norm")
    else:
        stats = [t.tensor(v) for v in (a.running_mean, a.running_var)]
        made = t.emit(ops.BatchNorm, [x, *affine, *stats], first, order=order, name="batch_norm")
    return (made, None, None) if isinstance(out, tuple) else made


@lowering("aten.native_group_norm", "aten.group_norm")
def _group_norm(t: Lowering, a: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    order = channels_last(first.dim())
    affine = [t.tensor(v) for v in (a.weight, a.bias) if v is not None]
    made = t.emit(ops.Norm, [t.tensor(a.input, order), *affine], first, order=order, form="group", name="group_norm")
    return (made, None, None) if isinstance(out, tuple) else made


@lowering("aten.native_layer_norm", "aten.layer_norm")
def _layer_norm(t: Lowering, a: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    made = normalised(t, a.input, first, len(a.normalized_shape), a.weight, a.bias)
    return (made, None, None) if isinstance(out, tuple) else made


def normalised(t: Lowering, x: Value, out: Any, over: int, *affine: Value | None, form: str = "layer") -> Value:
    """Normalise the last `over` dimensions together."""
    shape = x.shape if over == 1 else (*x.shape[: x.rank - over], prod(x.shape[x.rank - over :]))
    x = views.reshape(x, shape)
    last = x.rank - 1
    x = in_rows(t, x, out, last)
    order = (*(d for d in views.settled(x).stored if d != last), last)
    tensors: list[Tensor] = [t.tensor(views.reshape(v, shape[-1:])) for v in affine if v is not None]
    made = t.emit(
        ops.Norm, [t.tensor(x, order), *tensors], out, order=order, torch_shape=shape, form=form, name=f"{form}_norm"
    )
    return views.reshape(made, tuple(out.shape))


@lowering("aten._fused_rms_norm", "aten.rms_norm")
def _fused_rms_norm(t: Lowering, a: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    made = normalised(t, a.input, first, len(a.normalized_shape), a.weight, form="rms")
    return (made, None) if isinstance(out, tuple) else made


@caught("rms_norm")
def rms_norm(tracer: Tracer, input: Any, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Any:
    """One kernel on a device, though several on the meta device."""
    made = input.new_empty(input.shape)
    scale = None if weight is None else tracer.value(weight)
    tracer.bind(made, normalised(tracer.t, tracer.value(input), made, len(normalized_shape), scale, form="rms"))
    return made


def rowwise(t: Lowering, x: Value, out: Any, dim: int, make: Any, **fields: Any) -> Value:
    """Add an op that works along the last axis, with `dim` there."""
    if not x.rank:
        return t.pointwise("exp", out, x)
    dim %= x.rank
    x = in_rows(t, x, out, dim)
    order = (*(d for d in views.settled(x).stored if d != dim), dim)
    return t.emit(make, [t.tensor(x, order)], out, order=order, **fields)


@lowering("aten._softmax", "aten._safe_softmax", "aten._log_softmax", "aten.softmax", "aten.log_softmax")
def _softmax(t: Lowering, a: Any, out: Any) -> Value:
    return rowwise(t, a.input, out, a.dim, ops.Softmax)


@lowering("aten._weight_norm_interface", "aten._weight_norm")
def weight_norm(t: Lowering, a: Any, out: Any) -> Any:
    """A weight's direction and length, put together at every run."""
    first = out[0] if isinstance(out, tuple) else out
    order = (*(d for d in range(first.dim()) if d != a.dim), a.dim)
    inputs = [t.tensor(a.v, order), t.tensor(views.reshape(a.g, (a.g.elements,)))]
    made = t.emit(ops.Norm, inputs, first, order=order, form="group", name="weight_norm")
    return (made, None) if isinstance(out, tuple) else made
