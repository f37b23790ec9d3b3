"""Matrix products."""

from __future__ import annotations

from typing import Any

import torch

from roofline.errors import UnknownOpError
from roofline.frontends.torch import values as views
from roofline.frontends.torch.catch import caught
from roofline.frontends.torch.reader import Tracer
from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import ops


def unflattened(v: Value, last: int) -> Value:
    """Return what a reshape made `v` of, where that ends in the same dimensions: torch flattens, then multiplies."""
    source = v.node.source
    if source is None or v.node.flat != v.order or source.rank <= v.rank or source.shape[-last:] != v.shape[-last:]:
        return v
    return source


def product(w: Writer, a: Value, b: Value, out: Any, *bias: Value) -> Value:
    """A (..., M, K) x a shared b (K, N), with the rows as the program had them before it flattened them."""
    rows = unflattened(a, 1)
    shape = (*rows.shape[:-1], b.shape[-1])
    inputs = [w.tensor(rows, range(rows.rank)), w.tensor(b, (0, 1)), *(w.tensor(v) for v in bias)]
    made = w.emit(ops.MatMul, inputs, out, torch_shape=shape)
    return views.reshape(made, tuple(out.shape))


def _added(a: Any) -> tuple[Value, ...]:
    return (a.input,) if a.get("beta", 1) != 0 else ()


@aten("mm")
def _mm(w: Writer, a: Any, out: Any) -> Value:
    return product(w, a.input, a.mat2, out)


@aten("addmm _addmm_activation")
def _addmm(w: Writer, a: Any, out: Any) -> Value:
    return product(w, a.mat1, a.mat2, out, *_added(a))


@aten("linear")
def _linear(w: Writer, a: Any, out: Any) -> Value:
    bias = (a.bias,) if a.bias is not None else ()
    return product(w, _matrix(a.input), views.transpose(a.weight, 0, 1), out, *bias)


@caught("linear")
def linear(tracer: Tracer, input: Any, weight: Any, bias: Any = None) -> Any:
    """One product with its bias. Torch takes it apart where the input is no dense matrix, as norms leave it on meta."""
    if input.dim() < 2 or weight.dim() != 2:
        return NotImplemented
    fits = input.shape[-1] == weight.shape[1] and (bias is None or bias.shape == weight.shape[:1])
    if not fits or input.dtype != weight.dtype:
        return NotImplemented  # torch says what is wrong
    tracer.writer.op_name = "mm" if bias is None else "addmm"
    made = torch.empty((*input.shape[:-1], weight.shape[0]), dtype=input.dtype, device="meta")
    columns = views.transpose(tracer.value(weight), 0, 1)
    biases = () if bias is None else (tracer.value(bias),)
    tracer.bind(made, product(tracer.writer, tracer.value(input), columns, made, *biases))
    return made


def _matrix(v: Value) -> Value:
    return v if v.rank > 1 else views.reshape(v, (1, *v.shape))


def _batched(w: Writer, a: Value, b: Value, out: Any, *bias: Value) -> Value:
    """One product per leading index, with the leading dimensions as the program had them before it flattened them."""
    left, right = unflattened(a, 2), unflattened(b, 2)
    if left.shape[:-2] != right.shape[:-2]:
        left, right = a, b
    shape = (*left.shape[:-1], right.shape[-1])
    axes = range(left.rank)
    inputs = [w.tensor(left, axes), w.tensor(right, axes), *(w.tensor(v) for v in bias)]
    return views.reshape(w.emit(ops.MatMul, inputs, out, torch_shape=shape), tuple(out.shape))


@aten("bmm")
def _bmm(w: Writer, a: Any, out: Any) -> Value:
    return _batched(w, a.input, a.mat2, out)


@aten("baddbmm")
def _baddbmm(w: Writer, a: Any, out: Any) -> Value:
    return _batched(w, a.batch1, a.batch2, out, *_added(a))


@aten("mv addmv")
def _mv(w: Writer, a: Any, out: Any) -> Value:
    matrix = a.get("mat") or a.input
    column = views.reshape(a.vec, (a.vec.shape[0], 1))
    inputs = [w.tensor(matrix, (0, 1)), w.tensor(column, (0, 1))]
    made = w.emit(ops.MatMul, inputs, out, torch_shape=(out.shape[0], 1))
    return views.reshape(made, tuple(out.shape))


@aten("dot vdot")
def _dot(w: Writer, a: Any, out: Any) -> Value:
    other = a.get("tensor") or a.get("other")
    row, column = views.reshape(a.input, (1, a.input.elements)), views.reshape(other, (other.elements, 1))
    made = w.emit(ops.MatMul, [w.tensor(row, (0, 1)), w.tensor(column, (0, 1))], out, torch_shape=(1, 1))
    return views.reshape(made, ())


@aten("_trilinear")
def trilinear(w: Writer, a: Any, out: Any) -> Any:
    """`nn.Bilinear`: the first input by the weight (K, A, B), then each of the rows found by the second input."""
    first, weight, second = a.i1, a.i2, a.i3
    if (a.sumdim, a.expand1, a.expand2, a.expand3) != ([2, 3], [1, 3], [0], [1, 2]):
        raise UnknownOpError("a product of three tensors that is no bilinear layer has no lowering rule")
    (rows, left), (outs, _, right) = first.shape, weight.shape
    matrix = views.reshape(views.permute(weight, (1, 0, 2)), (left, outs * right))
    inputs = [w.tensor(first, (0, 1)), w.tensor(matrix, (0, 1))]
    made = w.emit(ops.MatMul, inputs, out, torch_shape=(rows, outs * right), name="mm")
    found = views.reshape(made, (rows, outs, right))
    inputs = [w.tensor(found, range(3)), w.tensor(views.reshape(second, (rows, right, 1)), range(3))]
    return views.reshape(w.emit(ops.MatMul, inputs, out, torch_shape=(rows, outs, 1), name="bmm"), (rows, outs))


@aten("addbmm")
def addbmm(w: Writer, a: Any, out: Any) -> Value:
    """The sum over the batch is part of the contraction."""
    b, m, k = a.batch1.shape
    left = views.reshape(views.permute(a.batch1, (1, 0, 2)), (m, b * k))
    right = views.reshape(a.batch2, (b * k, a.batch2.shape[-1]))
    return product(w, left, right, out, *_added(a))


@aten("addr outer ger")
def _outer(w: Writer, a: Any, out: Any) -> Value:
    v1, v2 = a.get("vec1") or a.input, a.get("vec2")
    return w.pointwise("mul", out, views.reshape(v1, (v1.shape[0], 1)), v2)
