"""What operators of old sets say otherwise than today's: brought into the form that the rules know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto

from roofline.errors import GraphError
from roofline.frontends.onnx.registry import STANDARD, Node, numbers
from roofline.frontends.onnx.values import Value, known
from roofline.frontends.onnx.writer import Writer
from roofline.text import words

#: from this operator set on, the rules know every operator
NEWEST = 10
#: that say where their second operand stands, instead of broadcasting as numpy does (before set 7)
_ALIGNED = words("Add Sub Mul Div Pow And Or Xor Equal Less Greater")
#: ... and the others whose older forms differ
_CHANGED = frozenset({*_ALIGNED, *words("PRelu Cast Concat Pad Upsample Tile")})


def modern(w: Writer, node: Node) -> Node:
    """Return a node as newer operator sets would have it; one of another domain, or a newer one, as it is.

    Raises
    ------
    GraphError
        Its attributes are not those of its operator set.
    """
    if node.domain != STANDARD or node.version >= NEWEST or node.op not in _CHANGED:
        return node
    inputs, said = list(node.inputs), dict(node.attributes)
    if node.op in _ALIGNED and node.version < 7 and "axis" in said and len(inputs) == 2:
        behind = node[0].rank - node.integer("axis") % max(node[0].rank, 1) - node[1].rank
        inputs[1] = w.reshaped(node[1], (*node[1].shape, *(1,) * max(behind, 0)))
    elif node.op == "PRelu" and node.version < 7 and node[1].rank == 1:
        inputs[1] = w.reshaped(node[1], (*node[1].shape, *(1,) * max(node[0].rank - 2, 0)))
    elif node.op == "Cast" and isinstance(said.get("to"), str):
        said["to"] = _code(said["to"])
    elif node.op == "Concat":
        said.setdefault("axis", 1)
    elif node.op == "Pad" and "paddings" in said:
        said["pads"] = said["paddings"]
    elif node.op == "Upsample" and "height_scale" in said:
        said["scales"] = [1.0, 1.0, node.number("height_scale", 1.0), node.number("width_scale", 1.0)]
    elif node.op == "Tile" and len(inputs) == 3:
        inputs[1:] = [_repeats(node)]
    return replace(node, inputs=tuple(inputs), attributes=said)


def _code(name: str) -> int:
    try:
        return int(TensorProto.DataType.Value(name))
    except ValueError:
        raise GraphError(f"unknown element type {name!r}") from None


def _repeats(node: Node) -> Value:
    repeats: Any = np.ones(node[0].rank, dtype=np.int64)
    repeats[int(numbers(node[2], "the axis")[0])] = int(numbers(node[1], "the tiles")[0])
    return known(repeats)
