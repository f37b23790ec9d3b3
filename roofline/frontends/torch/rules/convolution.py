"""Convolutions and pools: images are stored with channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.rules.move import in_one_piece
from roofline.frontends.torch.values import Dims, Value, reshape
from roofline.frontends.torch.writer import Writer
from roofline.graph import ops, resampling
from roofline.graph.ops import window_size
from roofline.graph.views import channels_last
from roofline.numeric import Numeric


def each(value: Any, count: int) -> tuple[int, ...]:
    """Return a number or list of numbers as one number per dimension."""
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return values if len(values) == count else values[:1] * count


def fitting_padding(
    sizes: Dims, outs: Dims, kernel: tuple[int, ...], stride: tuple[int, ...], pads: tuple[int, ...]
) -> tuple[Numeric, ...]:
    """Return the padding per side with which a plain window gives torch's output sizes.

    It is torch's own, except with dilation, rounding up, or adaptive windows: then it may be a half, or negative.
    """
    fitting: list[Numeric] = []
    for size, out, k, s, pad in zip(sizes, outs, kernel, stride, pads, strict=True):
        if window_size(size, k, s, pad) == out:
            fitting.append(pad)
            continue
        twice = (out - 1) * s + k - size
        fitting.append(twice // 2 if twice % 2 == 0 else twice / 2)
    return tuple(fitting)


@aten("convolution _convolution cudnn_convolution mkldnn_convolution convolution_overrideable")
def _convolution(w: Writer, a: Any, out: Any) -> Value:
    if a.get("transposed"):
        return _transposed(w, a, out)
    rank = out.dim()
    order = channels_last(rank)
    weight = w.tensor(a.weight, (*range(2, rank), 1, 0))
    kernel = a.weight.shape[2:]
    stride = each(a.stride, rank - 2)
    channels, per_group = a.input.shape[1], a.weight.shape[1]
    form = "dense" if a.groups == 1 else "depthwise" if per_group == 1 and channels == a.groups else "grouped"
    return w.emit(
        ops.Conv,
        [w.tensor(in_one_piece(w, a.input, out), order), weight, *_bias(w, a)],
        out,
        order=order,
        name="conv",
        kernel=kernel,
        stride=stride,
        groups=a.groups,
        form=form,
        padding=fitting_padding(a.input.shape[2:], tuple(out.shape[2:]), kernel, stride, each(a.padding, rank - 2)),
    )


def _bias(w: Writer, a: Any) -> list[Any]:
    return [w.tensor(a.bias)] if a.get("bias") is not None else []


def _transposed(w: Writer, a: Any, out: Any) -> Value:
    rank = out.dim()
    order = channels_last(rank)
    weight = w.tensor(a.weight, (*range(2, rank), 0, 1))
    depthwise = a.groups > 1 and a.groups == a.input.shape[1] == out.shape[1]
    form = "dense" if a.groups == 1 else "depthwise" if depthwise else "grouped"
    return w.emit(
        resampling.ConvTranspose,
        [w.tensor(a.input, order), weight, *_bias(w, a)],
        out,
        order=order,
        name="conv_transpose",
        kernel=a.weight.shape[2:],
        groups=a.groups,
        form=form,
    )


def _pool(w: Writer, x: Value, outs: Any, function: str, kernel: Any, stride: Any, padding: Any, dims: int) -> Any:
    """Slide a window over the last `dims` dimensions; an image without a batch has one.

    The positions of maxima are another result of the op where somebody reads them.
    """
    out = outs[0] if isinstance(outs, tuple) else outs
    shape = tuple(out.shape)
    if x.rank == dims + 1:
        x, shape = reshape(x, (1, *x.shape)), (1, *shape)
    order = channels_last(dims + 2)
    kernels, strides = each(kernel, dims), each(stride, dims)
    image = w.tensor(in_one_piece(w, x, out), order)
    made = w.emit(
        ops.Pool,
        [image],
        out,
        order=order,
        torch_shape=shape,
        name=f"{function}_pool",
        function=function,
        kernel=kernels,
        stride=strides,
        padding=fitting_padding(x.shape[2:], shape[2:], kernels, strides, each(padding, dims)),
    )
    results = [made] if out is outs else [made, w.beside(made, outs[1])]
    values = tuple(reshape(v, tuple(out.shape)) for v in results)
    return values[0] if out is outs else values


def _windowed(name: str, function: str, dims: int) -> None:
    @aten(name)
    def pool(w: Writer, a: Any, out: Any) -> Any:
        return _pool(w, a.input, out, function, a.kernel_size, a.stride or a.kernel_size, a.padding, dims)


for _dims in (1, 2, 3):
    _windowed(f"avg_pool{_dims}d", "mean", _dims)
    _windowed(f"max_pool{_dims}d", "max", _dims)
    _windowed(f"max_pool{_dims}d_with_indices", "max", _dims)


def _adaptive(name: str, function: str, dims: int) -> None:
    @aten(name)
    def pool(w: Writer, a: Any, out: Any) -> Any:
        """Windows of ceil(size / out) elements, size / out apart."""
        first = out[0] if isinstance(out, tuple) else out
        pairs = list(zip(a.input.shape[-dims:], first.shape[-dims:], strict=True))
        kernel = tuple(-(-size // o) for size, o in pairs)
        stride = tuple(max(size // o, 1) for size, o in pairs)
        return _pool(w, a.input, out, function, kernel, stride, 0, dims)


for _dims in (1, 2, 3):
    _adaptive(f"_adaptive_avg_pool{_dims}d", "mean", _dims)
    _adaptive(f"adaptive_avg_pool{_dims}d", "mean", _dims)
    _adaptive(f"adaptive_max_pool{_dims}d", "max", _dims)


@aten("fractional_max_pool2d fractional_max_pool3d")
def fractional(w: Writer, a: Any, out: Any) -> Any:
    """Windows at random places, about size / out apart."""
    dims = len(each(a.kernel_size, 2 if w.op_name.endswith("2d") else 3))
    steps = tuple(max(size // o, 1) for size, o in zip(a.input.shape[-dims:], out[0].shape[-dims:], strict=True))
    return _pool(w, a.input, out, "max", a.kernel_size, steps, 0, dims)
