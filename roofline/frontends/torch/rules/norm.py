"""Normalisation and softmax."""

from __future__ import annotations

from math import prod
from typing import Any

from roofline.frontends.torch import values as views
from roofline.frontends.torch.catch import caught
from roofline.frontends.torch.reader import Tracer
from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.rules.create import unwritten
from roofline.frontends.torch.rules.move import in_rows
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import ops
from roofline.graph.tensor import Tensor
from roofline.graph.views import channels_last


@aten(
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm "
    "miopen_batch_norm batch_norm _batch_norm_no_update _batch_norm_with_update"
)
def _batch_norm(w: Writer, a: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    order = channels_last(first.dim()) if first.dim() > 1 else (0,)
    affine = [w.tensor(v) for v in (a.weight, a.bias) if v is not None]
    x = w.tensor(a.input, order)
    if a.get("running_mean") is None or (a.get("training") and w.op_name != "batch_norm"):
        return _with_statistics(w.emit(ops.Norm, [x, *affine], first, order=order, form="group", name="norm"), out)
    stats = [w.tensor(v) for v in (a.running_mean, a.running_var)]
    return _with_statistics(w.emit(ops.BatchNorm, [x, *affine, *stats], first, order=order, name="batch_norm"), out)


def _with_statistics(made: Value, out: Any) -> Any:
    """Return a norm's results: the statistics that it keeps for training are written where somebody reads them."""
    return (made, *map(unwritten, out[1:])) if isinstance(out, tuple) else made


@aten("native_group_norm group_norm")
def _group_norm(w: Writer, a: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    order = channels_last(first.dim())
    affine = [w.tensor(v) for v in (a.weight, a.bias) if v is not None]
    made = w.emit(ops.Norm, [w.tensor(a.input, order), *affine], first, order=order, form="group", name="group_norm")
    return _with_statistics(made, out)


@aten("native_layer_norm layer_norm")
def _layer_norm(w: Writer, a: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    return _with_statistics(normalised(w, a.input, first, len(a.normalized_shape), a.weight, a.bias), out)


def normalised(w: Writer, x: Value, out: Any, over: int, *affine: Value | None, form: str = "layer") -> Value:
    """Normalise the last `over` dimensions together."""
    shape = x.shape if over == 1 else (*x.shape[: x.rank - over], prod(x.shape[x.rank - over :]))
    x = views.reshape(x, shape)
    last = x.rank - 1
    x = in_rows(w, x, out, last)
    order = (*(d for d in views.settled(x).stored if d != last), last)
    tensors: list[Tensor] = [w.tensor(views.reshape(v, shape[-1:])) for v in affine if v is not None]
    made = w.emit(
        ops.Norm, [w.tensor(x, order), *tensors], out, order=order, torch_shape=shape, form=form, name=f"{form}_norm"
    )
    return views.reshape(made, tuple(out.shape))


@aten("_fused_rms_norm rms_norm")
def _fused_rms_norm(w: Writer, a: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    return _with_statistics(normalised(w, a.input, first, len(a.normalized_shape), a.weight, form="rms"), out)


@caught("rms_norm")
def rms_norm(tracer: Tracer, input: Any, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Any:
    """One kernel on a device, though several on the meta device."""
    made = input.new_empty(input.shape)
    scale = None if weight is None else tracer.value(weight)
    tracer.bind(made, normalised(tracer.writer, tracer.value(input), made, len(normalized_shape), scale, form="rms"))
    return made


def rowwise(w: Writer, x: Value, out: Any, dim: int, make: Any, **fields: Any) -> Value:
    """Add an op that works along the last axis, with `dim` there."""
    if not x.rank:
        return w.pointwise("exp", out, x)
    dim %= x.rank
    x = in_rows(w, x, out, dim)
    order = (*(d for d in views.settled(x).stored if d != dim), dim)
    return w.emit(make, [w.tensor(x, order)], out, order=order, **fields)


@aten("_softmax _safe_softmax _log_softmax softmax log_softmax")
def _softmax(w: Writer, a: Any, out: Any) -> Value:
    return rowwise(w, a.input, out, a.dim, ops.Softmax)


@aten("_weight_norm_interface _weight_norm")
def weight_norm(w: Writer, a: Any, out: Any) -> Any:
    """A weight's direction and length, put together at every run."""
    first = out[0] if isinstance(out, tuple) else out
    order = (*(d for d in range(first.dim()) if d != a.dim), a.dim)
    inputs = [w.tensor(a.v, order), w.tensor(views.reshape(a.g, (a.g.elements,)))]
    return w.emit(ops.Norm, inputs, first, order=order, form="group", name="weight_norm")
