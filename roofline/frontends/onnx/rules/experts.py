"""Mixtures of experts: each token goes through the few networks that a router picks for it."""

from __future__ import annotations

from functools import partial

from roofline.dtypes import DTYPES
from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering
from roofline.frontends.onnx.rules.indexing import picked
from roofline.frontends.onnx.rules.norms import reduced
from roofline.frontends.onnx.rules.products import unpacked
from roofline.frontends.onnx.rules.shapes import part
from roofline.frontends.onnx.values import Value
from roofline.frontends.onnx.writer import Writer
from roofline.graph import indexing, ops
from roofline.graph.tensor import Role

INT32, INT64 = DTYPES["int32"], DTYPES["int64"]

_FUNCTIONS = {name: name for name in ("relu", "gelu", "identity")} | {"silu": "swish", "swiglu": "swish"}


@lowering("MoE", "QMoE", domain=MICROSOFT)
def mixture(w: Writer, node: Node) -> Value:
    """Pick experts for each token, run all in one product a layer, weigh, add up."""
    x, router, kept = node[0], node[1], node.integer("k", 1)
    if router.rank != 2 or x.rank not in (2, 3):
        raise ShapeError(
            f"tokens of shape {x.shape!r}, a router of {router.shape!r}; allowed: (..., C) and (T, experts)"
        )
    width, (tokens, experts) = x.shape[-1], router.shape
    rows = w.reshaped(x, (x.elements // width, width))
    if rows.shape[0] != tokens or not 1 <= kept <= experts:
        raise ShapeError(f"tokens of shape {x.shape!r}, a router of {router.shape!r}, {kept} experts a token")
    chances = w.add(ops.Softmax, w.read(router))
    shares, choice = (w.value(t) for t in w.write("", indexing.Sort, [chances], [router.dtype, INT64], kept=kept))
    sent = picked(w, rows, choice, (tokens * kept, width))
    step = 3 if node.op == "QMoE" else 2  # scales lie between weights and biases
    weights = [_weight(node, 2 + i * step) for i in range(3)]
    biases = [node.get(1 + (i + 1) * step) for i in range(3)]
    ends = w.value(w.add(indexing.Fill, dtype=INT32, shape=(experts,), function="ends"))
    found = _expert(w, node, sent, ends, weights, biases)
    weighed = w.pointwise("mul", found, w.reshaped(shares, (tokens * kept, 1)))
    every = w.reshaped(weighed, (tokens, kept, width))
    return w.reshaped(reduced(w, every, (1,), "sum", keep=False), x.shape)


def _weight(node: Node, position: int) -> Value | None:
    """Return weights (experts, outputs, inputs); those of few bits as the file packs them."""
    value = node.get(position)
    bits = node.integer("expert_weight_bits", 4) if node.op == "QMoE" else 0
    if value is None or not bits:
        return value
    return unpacked(value, (*value.shape[:-1], value.shape[-1] * 8 // bits), bits)


def _expert(
    w: Writer, node: Node, x: Value, ends: Value, weights: list[Value | None], biases: list[Value | None]
) -> Value:
    """Return rows (T, C) behind two layers of their experts, or three where another one gates the first."""
    name = node.text("activation_type", "relu").lower()
    if name not in _FUNCTIONS:
        raise ShapeError(f"unknown activation {name!r}; allowed: {', '.join(_FUNCTIONS)}")
    up, down, gate = (partial(_layer, w, ends, *pair) for pair in zip(weights, biases, strict=True))
    hidden, value = up(x), None if weights[2] is None else gate(x)
    if name == "swiglu" and value is None:  # both halves in one layer
        half = hidden.shape[-1] // 2
        value, hidden = part(w, hidden, 1, half, half), part(w, hidden, 1, 0, half)
    hidden = w.pointwise(_FUNCTIONS[name], hidden)
    return down(hidden if value is None else w.pointwise("mul", hidden, value))


def _layer(w: Writer, ends: Value, weight: Value | None, bias: Value | None, x: Value) -> Value:
    if weight is None or weight.rank != 3 or x.shape[-1] not in weight.shape[1:]:
        raise ShapeError(f"weights of shape {None if weight is None else weight.shape!r} do not fit {x.shape!r}")
    weight = w.transposed(weight, (0, 2, 1)) if weight.shape[2] == x.shape[-1] else weight
    role: Role | None = "parameter" if weight.known else None
    tensors = (w.read(x), w.read(weight, role=role), w.read(ends))
    out = w.value(w.add(ops.GroupedMatMul, *tensors, dtype=x.dtype))
    if bias is None:
        return out
    rows = w.add(indexing.Gather, w.read(bias, role="parameter" if bias.known else None), shape=out.shape)
    return w.pointwise("add", out, w.value(rows))
