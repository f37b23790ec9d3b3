"""Arithmetic on what is known at load: the shape computations that exporters write into a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from roofline.dtypes import DTYPES, DType
from roofline.errors import GraphError
from roofline.frontends.onnx.registry import STANDARD, Node
from roofline.frontends.onnx.values import Constant, Data, Value, dtype_of, numpy_dtype
from roofline.frontends.onnx.views import axis_of, broadcast, reshape_target
from roofline.registry import filed
from roofline.text import pairs

#: elements of a tensor beyond which it is not computed, only its shape
MAX_COMPUTED = 65_536
Evaluator: TypeAlias = Callable[[Node, list[Data]], "Data | Sequence[Data] | None"]


def _numpy(text: str) -> dict[str, Callable[..., Any]]:
    """Return operators with the functions of numpy that compute them."""
    return {operator: getattr(np, name) for operator, name in pairs(text).items()}


_COMPARE = _numpy(
    "Equal=equal Less=less Greater=greater LessOrEqual=less_equal GreaterOrEqual=greater_equal And=logical_and "
    "Or=logical_or Xor=logical_xor"
)
_BINARY = _numpy("Add=add Sub=subtract Mul=multiply Pow=power") | _COMPARE
_UNARY = _numpy(
    "Neg=negative Abs=abs Floor=floor Ceil=ceil Round=round Sign=sign Sqrt=sqrt Reciprocal=reciprocal Exp=exp Log=log "
    "Not=logical_not IsNaN=isnan Identity=asarray Sin=sin Cos=cos"
)
_REDUCE = _numpy("ReduceProd=prod ReduceSum=sum ReduceMax=max ReduceMin=min ReduceMean=mean")
EVALUATORS: dict[str, Evaluator] = {}
#: whose result has another format than the first input
_RESULT_DTYPES = dict.fromkeys((*_COMPARE, "Not", "IsNaN"), "bool") | dict.fromkeys(
    ("Shape", "Size", "NonZero", "ArgMax"), "int64"
)


def evaluate(node: Node) -> list[Value] | None:
    """Return the outputs of a node whose inputs are known; None where they are too large or there is no rule."""
    rule = EVALUATORS.get(node.op)
    if rule is None or node.domain != STANDARD:
        return None
    arrays = [v.data for v in node.given]
    if node.op in ("Shape", "Size"):
        arrays = [np.zeros(0)]
    if any(a is None for a in arrays):
        return None
    with np.errstate(all="ignore"):
        found = rule(node, [a for a in arrays if a is not None])
    if found is None:
        return None
    listed = list(found) if isinstance(found, (list, tuple)) else [found]
    scalar = node.given[0].elements == 1 and max(map(np.size, listed)) <= 1024
    if any(np.size(a) > MAX_COMPUTED for a in listed) or (not scalar and repeats_weights(node, map(np.size, listed))):
        return None
    dtype, trained = _dtype(node), trains(node)
    return [_value(np.asarray(a), dtype, trained, node.name) for a in listed]


def trains(node: Node) -> bool:
    """Return whether a folded result is made of trained elements: shapes and formats of such tensors are not."""
    trained = (v.constant is not None and v.constant.trained for v in _elements_of(node))
    return any(trained) and node.op not in ("Shape", "Size")


def repeats_weights(node: Node, sizes: Iterable[int]) -> bool:
    """Return whether results of some `sizes` would hold weights more often than the file: a token for each example."""
    return sum(sizes) > sum([v.elements for v in _elements_of(node)]) and trains(node)


def _elements_of(node: Node) -> Sequence[Value]:
    """Return the inputs whose elements a result is made of."""
    return node.given[:1] if node.op in ("CastLike", "Expand", "Gather", "Reshape", "Tile") else node.given


def _value(array: Data, dtype: DType, trained: bool, name: str) -> Value:
    array = array.astype(numpy_dtype(dtype))
    return Value(shape=array.shape, dtype=dtype, data=array, constant=Constant(name=name, trained=trained))


def _dtype(node: Node) -> DType:
    if node.op in _RESULT_DTYPES:
        return DTYPES[_RESULT_DTYPES[node.op]]
    if node.op == "Cast":
        return dtype_of(node.integer("to"))
    if node.op in ("CastLike", "Where"):
        return node[1].dtype
    if node.op == "ConstantOfShape":
        filled = node.attributes.get("value")
        return filled.dtype if isinstance(filled, Value) else DTYPES["fp32"]
    return node[0].dtype


def _evaluator(*operators: str) -> Callable[[Evaluator], Evaluator]:
    return filed(EVALUATORS, operators, lambda name: f"ONNX operator {name!r} has two evaluators")


def _fits(shape: Sequence[int]) -> bool:
    return all(d >= 0 for d in shape) and math.prod(shape) <= MAX_COMPUTED


@_evaluator(*_BINARY, "Div", "Mod", "Max", "Min")
def _binary(node: Node, a: list[Data]) -> Data | None:
    if not _fits(broadcast(*(x.shape for x in a))):
        return None
    if node.op in ("Max", "Min"):
        result = a[0]
        for other in a[1:]:
            result = np.maximum(result, other) if node.op == "Max" else np.minimum(result, other)
        return result
    if node.op == "Div" and a[0].dtype.kind == "i":  # towards zero
        if np.any(a[1] == 0):
            raise GraphError("division by zero in a shape computation")
        return np.asarray(np.sign(a[0]) * np.sign(a[1]) * (np.abs(a[0]) // np.abs(a[1])))
    if node.op == "Div":
        return np.asarray(a[0] / a[1])
    if node.op == "Mod":
        return np.asarray(np.fmod(a[0], a[1]) if node.integer("fmod", 0) else np.mod(a[0], a[1]))
    if node.op == "Pow" and a[0].dtype.kind == "i":
        return np.asarray(np.power(a[0].astype(np.float64), a[1]))
    return np.asarray(_BINARY[node.op](a[0], a[1]))


@_evaluator(*_UNARY)
def _unary(node: Node, a: list[Data]) -> Data:
    return np.asarray(_UNARY[node.op](a[0]))


@_evaluator("Relu")
def _relu(node: Node, a: list[Data]) -> Data:
    return np.maximum(a[0], 0)


@_evaluator("Cast", "CastLike")
def _cast(node: Node, a: list[Data]) -> Data:
    return np.nan_to_num(a[0], posinf=2.0**62, neginf=-(2.0**62)) if a[0].dtype.kind == "f" else a[0]


@_evaluator("Shape")
def _shape(node: Node, a: list[Data]) -> Data:
    start, end = node.integer("start", 0), node.attributes.get("end")
    return np.array(node[0].shape[start : None if end is None else int(end)], dtype=np.int64)


@_evaluator("Size")
def _size(node: Node, a: list[Data]) -> Data:
    return np.array(min(node[0].elements, 2**62), dtype=np.int64)


@_evaluator("Gather")
def _gather(node: Node, a: list[Data]) -> Data | None:
    axis = axis_of(node.integer("axis", 0), a[0].ndim)
    if not _fits((*a[0].shape[:axis], *a[1].shape, *a[0].shape[axis + 1 :])):
        return None
    return np.asarray(np.take(a[0], a[1].astype(np.int64), axis=axis))


@_evaluator("Concat")
def _concat(node: Node, a: list[Data]) -> Data:
    return np.concatenate(a, axis=node.integer("axis"))


@_evaluator("Where")
def _where(node: Node, a: list[Data]) -> Data | None:
    return np.where(a[0], a[1], a[2]) if _fits(broadcast(*(x.shape for x in a))) else None


@_evaluator("Range")
def _range(node: Node, a: list[Data]) -> Data | None:
    start, limit, delta = (x.item() for x in a)
    if delta == 0 or not all(math.isfinite(x) for x in (start, limit, delta)):
        raise GraphError("a range with step 0 or infinite bounds")
    return np.arange(start, limit, delta) if abs((limit - start) / delta) <= MAX_COMPUTED else None


@_evaluator("ConstantOfShape")
def _constant_of_shape(node: Node, a: list[Data]) -> Data | None:
    shape = tuple(int(d) for d in a[0].ravel())
    filled = node.attributes.get("value")
    if isinstance(filled, Value):
        return np.full(shape, filled.data.ravel()[0]) if filled.data is not None and _fits(shape) else None
    return np.zeros(shape) if _fits(shape) else None


@_evaluator("Expand")
def _expand(node: Node, a: list[Data]) -> Data | None:
    shape = broadcast(a[0].shape, tuple(int(d) for d in a[1].ravel()))
    return np.broadcast_to(a[0], shape).copy() if _fits(shape) else None


@_evaluator("Tile")
def _tile(node: Node, a: list[Data]) -> Data | None:
    repeats = [int(r) for r in a[1].ravel()]
    return np.tile(a[0], repeats) if _fits(repeats) and _fits([*a[0].shape, *repeats]) else None


@_evaluator(*_REDUCE)
def _reduce(node: Node, a: list[Data]) -> Data:
    axes = node.list_or("axes", 1)
    keep = bool(node.integer("keepdims", 1))
    return np.asarray(_REDUCE[node.op](a[0], axis=axes or None, keepdims=keep))


@_evaluator("NonZero")
def _nonzero(node: Node, a: list[Data]) -> Data:
    return np.array(np.nonzero(np.atleast_1d(a[0])), dtype=np.int64)


@_evaluator("Reshape")
def _reshape(node: Node, a: list[Data]) -> Data:
    target = node.list_or("shape", 1) or ()
    return a[0].reshape(reshape_target(a[0].shape, target, zero_is_zero=bool(node.integer("allowzero", 0))))


@_evaluator("Trilu")
def _trilu(node: Node, a: list[Data]) -> Data:
    k = int(a[1].item()) if len(a) > 1 else 0
    return np.triu(a[0], k) if node.integer("upper", 1) else np.tril(a[0], k)


@_evaluator("CumSum")
def _cumsum(node: Node, a: list[Data]) -> Data:
    return np.cumsum(a[0], axis=int(a[1].item()))
