"""Layers of torch.ao: integers whose weights lie packed in an object of the library.

Quantized tensors are int8 in the graph. Scales and zero points are numbers of the kernel; what a layer does to its sums
(scale, round, ReLU) is part of its kernel.
"""

from __future__ import annotations

from typing import Any

import torch

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import RULES, Arguments, lowering, shaped
from roofline.frontends.torch.rules.linear import product
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import ops

_INTEGERS = {torch.quint8: torch.uint8, torch.qint8: torch.int8, torch.qint32: torch.int32}
_LINEAR, _DYNAMIC = (
    ("quantized.linear", "quantized.linear_relu"),
    ("quantized.linear_dynamic", "quantized.linear_relu_dynamic"),
)
_CONVOLUTIONS = tuple(f"quantized.conv{n}d{then}" for n in (2, 3) for then in ("", "_relu"))
_SUMS, _PRODUCTS = ("quantized.add", "quantized.add_relu"), ("quantized.mul", "quantized.mul_relu")


def _integers(shape: Any) -> torch.Tensor:
    return torch.empty(tuple(shape), dtype=torch.uint8, device="meta")


@shaped("aten.quantize_per_tensor", "aten.quantize_per_tensor_dynamic", "aten.quantize_per_channel")
def _quantized(x: torch.Tensor, *how: Any, **named: Any) -> torch.Tensor:
    dtype = next(x for x in (*how, *named.values()) if isinstance(x, torch.dtype))
    return torch.empty(tuple(x.shape), dtype=_INTEGERS.get(dtype, torch.int8), device="meta")


@lowering("aten.quantize_per_tensor", "aten.quantize_per_tensor_dynamic", "aten.quantize_per_channel")
def _quantize(w: Writer, a: Any, out: Any) -> Value:
    return w.pointwise("quantize", out, a.input)


@shaped("aten.dequantize")
def _dequantized(x: torch.Tensor) -> torch.Tensor:
    return torch.empty(tuple(x.shape), device="meta")


@lowering("aten.dequantize")
def _dequantize(w: Writer, a: Any, out: Any) -> Value:
    return w.pointwise("dequantize", out, a.input)


@shaped("aten.mean")
def _mean(x: torch.Tensor, *how: Any, **named: Any) -> torch.Tensor:
    """The mean of quantized numbers is one; of other integers torch has none."""
    if x.dtype not in _INTEGERS.values():
        return torch.mean(x, *how, **named)
    return torch.mean(x.float(), *how, **named).to(x.dtype)


def stored(w: Writer, packed: Any) -> tuple[Value, list[Value]]:
    """Return the weight that an object holds packed, a parameter of int8, and its bias if there is one."""
    if id(packed) not in w.packed:
        weight, bias = packed.unpack()
        place = f"{w.place}." if w.place else ""
        numbers = torch.empty(tuple(weight.shape), dtype=torch.int8, device="meta")
        values = [w.leaf(f"{place}weight", numbers, "parameter")]
        values += [w.leaf(f"{place}bias", b, "parameter") for b in (bias,) if b is not None]
        w.packed[id(packed)] = (packed, values)
    first, *rest = w.packed[id(packed)][1]
    return first, rest


def _rows(x: torch.Tensor, packed: Any) -> tuple[int, ...]:
    return (*x.shape[:-1], packed.unpack()[0].shape[0])


@shaped(*_LINEAR)
def _shape_of_linear(x: torch.Tensor, packed: Any, *how: Any) -> torch.Tensor:
    return _integers(_rows(x, packed))


@shaped(*_DYNAMIC)
def _shape_of_dynamic(x: torch.Tensor, packed: Any, *how: Any) -> torch.Tensor:
    return torch.empty(_rows(x, packed), dtype=x.dtype, device="meta")


@lowering(*_LINEAR)
def _linear(w: Writer, a: Any, out: Any) -> Value:
    weight, bias = stored(w, a.W_prepack)
    return product(w, a.X, views.transpose(weight, 0, 1), out, *bias)


@lowering(*_DYNAMIC)
def _dynamic(w: Writer, a: Any, out: Any) -> Value:
    """The range of the input, its integers, and their product, whose sums are scaled back."""
    weight, bias = stored(w, a.W_prepack)
    number, integers = torch.empty((), dtype=out.dtype, device="meta"), _integers(a.X.shape)
    axes = tuple(range(a.X.rank))
    w.emit(ops.Reduce, [w.tensor(a.X, axes)], number, name="range", function="max", axes=axes)
    return product(w, w.pointwise("quantize", integers, a.X), views.transpose(weight, 0, 1), out, *bias)


@shaped(*_CONVOLUTIONS)
def _shape_of_convolution(x: torch.Tensor, packed: Any, *how: Any) -> torch.Tensor:
    like = (torch.empty(tuple(t.shape), device="meta") for t in (x, packed.unpack()[0]))
    none = [0] * (x.dim() - 2)
    return _integers(
        torch.ops.aten.convolution(
            *like, None, packed.stride(), packed.padding(), packed.dilation(), False, none, packed.groups()
        ).shape
    )


@lowering(*_CONVOLUTIONS)
def _convolution(w: Writer, a: Any, out: Any) -> Any:
    packed = a.packed_weight
    weight, bias = stored(w, packed)
    given = {"input": a.qx, "weight": weight, "bias": next(iter(bias), None), "stride": packed.stride()}
    more = {"padding": packed.padding(), "dilation": packed.dilation(), "groups": packed.groups(), "transposed": False}
    return RULES["aten.convolution"](w, Arguments(given | more), out)


@shaped(*_SUMS, *_PRODUCTS)
def _shape_of_pair(a: torch.Tensor, b: torch.Tensor, *how: Any) -> torch.Tensor:
    return _integers(torch.broadcast_shapes(a.shape, b.shape))  # type: ignore[no-untyped-call]


@lowering(*_SUMS)
def _sum(w: Writer, a: Any, out: Any) -> Value:
    return w.pointwise("add", out, a.qa, a.qb)


@lowering(*_PRODUCTS)
def _multiplied(w: Writer, a: Any, out: Any) -> Value:
    return w.pointwise("mul", out, a.qa, a.qb)


@shaped("quantized.cat", "quantized.cat_relu")
def _shape_of_joined(tensors: list[torch.Tensor], dim: int, *how: Any) -> torch.Tensor:
    return torch.cat(tensors, dim)


@lowering("quantized.cat", "quantized.cat_relu")
def _joined(w: Writer, a: Any, out: Any) -> Any:
    return RULES["aten.cat"](w, Arguments({"tensors": a.qx, "dim": a.dim}), out)
