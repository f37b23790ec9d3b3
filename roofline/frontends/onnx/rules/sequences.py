"""Sequences, whose tensors are counted at load, and optional tensors, of which is known whether they are there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from roofline.dtypes import DTYPES
from roofline.errors import InputError, ShapeError
from roofline.frontends.onnx.registry import Node, lowering, numbers
from roofline.frontends.onnx.rules.shapes import concatenated, part
from roofline.frontends.onnx.values import Value, known
from roofline.frontends.onnx.views import axis_of
from roofline.frontends.onnx.writer import Writer


def _listed(parts: Sequence[Value]) -> Value:
    dtype = parts[0].dtype if parts else DTYPES["fp32"]
    return Value(shape=(len(parts),), dtype=dtype, parts=tuple(parts))


def _parts(node: Node) -> list[Value]:
    if node[0].parts is None:
        raise ShapeError("a tensor stands where a sequence is read")
    return list(node[0].parts)


def _place(node: Node, position: int, count: int) -> int:
    """Return a place in a sequence that is counted from either end, the last one by default."""
    given = node.get(position)
    index = count - 1 if given is None else int(numbers(given, "the position")[0])
    if not -count <= index < count:
        raise ShapeError(f"position {index} is out of range for {count} tensors")
    return index % count


@lowering("SequenceEmpty", "SequenceConstruct")
def sequence(w: Writer, node: Node) -> Value:
    """List tensors."""
    return _listed(node.given)


@lowering("SequenceInsert")
def sequence_insert(w: Writer, node: Node) -> Value:
    """Put a tensor into a sequence, at its end by default."""
    parts = _parts(node)
    parts.insert(_place(node, 2, len(parts) + 1), node[1])
    return _listed(parts)


@lowering("SequenceErase")
def sequence_erase(w: Writer, node: Node) -> Value:
    """Take a tensor out of a sequence, the last one by default."""
    parts = _parts(node)
    del parts[_place(node, 1, len(parts))]
    return _listed(parts)


@lowering("SequenceLength")
def sequence_length(w: Writer, node: Node) -> Value:
    """Return how many tensors there are: a known number."""
    return known(np.array(len(_parts(node)), dtype=np.int64))


@lowering("SequenceAt")
def sequence_at(w: Writer, node: Node) -> Value:
    """Return one tensor of a sequence."""
    parts = _parts(node)
    return parts[_place(node, 1, len(parts))]


@lowering("SequenceMap")
def sequence_map(w: Writer, node: Node) -> list[Value]:
    """Lower the body for every tensor of the sequences; other operands are the same each time."""
    body, lower = node.attributes.get("body"), getattr(w, "subgraph", None)
    if body is None or lower is None:
        raise InputError("a node without body")
    given = node.given
    turns = len(_parts(node))
    if any(v.parts is not None and len(v.parts) != turns for v in given):
        raise ShapeError("sequences of different lengths")
    results = [lower(body, [v if v.parts is None else v.parts[i] for v in given]) for i in range(turns)]
    return [_listed([row[i] for row in results]) for i in range(node.outputs)]


@lowering("SplitToSequence")
def split_to_sequence(w: Writer, node: Node) -> Value:
    """Split along an axis into parts of a size, or of one each."""
    x, given = node[0], node.get(1)
    axis = axis_of(node.integer("axis", 0), x.rank)
    size = x.shape[axis]
    wanted = [1] if given is None else [int(s) for s in numbers(given, "the split")]
    if given is None or not given.rank:
        each = wanted[0]
        if not each >= 1 or size > 10_000 * each:
            raise ShapeError(f"parts of {each} from {size}")
        wanted = [min(each, size - start) for start in range(0, size, each)]
    if sum(wanted) != size or min(wanted, default=0) < 1:
        raise ShapeError(f"parts of {wanted!r} do not make up {size}")
    parts, start = [], 0
    for one in wanted:
        parts.append(part(w, x, axis, start, one))
        start += one
    if given is None and not node.integer("keepdims", 1):
        parts = [w.reshaped(p, (*p.shape[:axis], *p.shape[axis + 1 :])) for p in parts]
    return Value(shape=(len(parts),), dtype=x.dtype, parts=tuple(parts))


@lowering("ConcatFromSequence")
def concat_from_sequence(w: Writer, node: Node) -> Value:
    """Concatenate the tensors of a sequence, along a new axis if asked."""
    parts, axis = list(node[0].parts or ()), node.integer("axis")
    if not parts:
        raise ShapeError("an empty sequence does not concatenate")
    if node.integer("new_axis", 0):
        axis = axis_of(axis, parts[0].rank + 1)
        parts = [w.reshaped(p, (*p.shape[:axis], 1, *p.shape[axis:])) for p in parts]
    return concatenated(w, parts, axis)


# optional tensors ------------------------------------------------------------------


@lowering("Optional", "OptionalGetElement")
def optional(w: Writer, node: Node) -> Value:
    """Pass the tensor on; an optional input of the file is taken to be there."""
    if not node.given:
        raise InputError("an optional tensor that is not there is read")
    return node[0]


@lowering("OptionalHasElement")
def has_element(w: Writer, node: Node) -> Value:
    """Return whether the tensor is there: known at load."""
    return known(np.array(bool(node.given)))
