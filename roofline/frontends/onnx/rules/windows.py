"""Sliding windows as ONNX states them: pads per side, dilation, ceil mode, ``auto_pad``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from roofline.errors import GraphError, ShapeError
from roofline.frontends.onnx.registry import Node
from roofline.frontends.onnx.values import Dims, Value
from roofline.graph.ops import Padding, window_size
from roofline.graph.resampling import transposed_size


@dataclass(frozen=True, kw_only=True)
class Window:
    """Kernel and stride per axis, the output's size, and the padding that gives it."""

    kernel: Dims
    stride: Dims
    size: Dims
    padding: Padding


def window_of(node: Node, spatial: Dims, kernel: Dims) -> Window:
    """Return the sliding window of a convolution or a pool."""
    rank = len(spatial)
    stride = _per_axis(node, "strides", rank)
    dilation = _per_axis(node, "dilations", rank)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    mode = node.text("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        size = tuple(-(-s // t) for s, t in zip(spatial, stride, strict=True))
        return Window(kernel=kernel, stride=stride, size=size, padding="same")
    pads = (0,) * (2 * rank) if mode == "VALID" else node.integers("pads", (0,) * (2 * rank))
    if len(pads) != 2 * rank:
        raise GraphError(f"{len(pads)} pads for {rank} axes")
    sizes = []
    for i, (length, k, step) in enumerate(zip(spatial, reach, stride, strict=True)):
        covered = length + pads[i] + pads[rank + i] - k
        out = covered // step + 1
        if node.integer("ceil_mode", 0) and covered % step and out * step < length + pads[i]:
            out += 1  # a last window that starts inside the image, though it may end outside
        if out < 1:
            raise ShapeError(f"a window of {k} does not fit into {length} with pads {pads!r}")
        sizes.append(out)
    return Window(
        kernel=kernel, stride=stride, size=tuple(sizes), padding=_padding(spatial, kernel, stride, sizes, pads[:rank])
    )


def _padding(spatial: Dims, kernel: Dims, stride: Dims, sizes: Sequence[int], stated: Dims) -> Padding:
    """Return the padding per side: as stated where that gives the size, else what does (dilation, uneven pads)."""
    padding: list[float | int] = []
    for size, k, step, out, pad in zip(spatial, kernel, stride, sizes, stated, strict=True):
        total = (out - 1) * step + k - size
        exact = total // 2 if total % 2 == 0 else total / 2
        padding.append(pad if window_size(size, k, step, pad) == out else exact)
    return tuple(padding)


def transposed_window(node: Node, spatial: Dims, kernel: Dims) -> Dims:
    """Return the size of a transposed convolution's result."""
    rank = len(spatial)
    stride, dilation = _per_axis(node, "strides", rank), _per_axis(node, "dilations", rank)
    if "output_shape" in node.attributes:
        return node.integers("output_shape")[-rank:]
    if node.text("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return tuple(s * t for s, t in zip(spatial, stride, strict=True))
    pads = node.integers("pads", (0,) * (2 * rank))
    extra = node.integers("output_padding", (0,) * rank)
    if len(pads) != 2 * rank or len(extra) != rank:
        raise GraphError(f"{len(pads)} pads and {len(extra)} output pads for {rank} axes")
    sizes = (
        transposed_size(s, k, t, 0, extra[i] - pads[i] - pads[rank + i], d)
        for i, (s, k, t, d) in enumerate(zip(spatial, kernel, stride, dilation, strict=True))
    )
    return tuple(int(size) for size in sizes)


def kernel_of(node: Node, weight: Value) -> Dims:
    """Return the kernel's size, which the attribute repeats where it is given."""
    kernel = weight.shape[2:]
    if "kernel_shape" in node.attributes and node.integers("kernel_shape") != kernel:
        raise ShapeError(f"kernel_shape {node.integers('kernel_shape')!r} is not that of the weight: {kernel!r}")
    return kernel


def _per_axis(node: Node, name: str, rank: int) -> Dims:
    values = node.integers(name, (1,) * rank)
    if len(values) != rank or min(values, default=1) < 1:
        raise GraphError(f"{name} {values!r} for {rank} axes; allowed: one positive number for each")
    return values
