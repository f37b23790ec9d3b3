"""Shapes and memory order: broadcasting, and which reshapes of a transposed tensor need no copy."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from roofline.errors import ShapeError
from roofline.frontends.onnx.values import Dims
from roofline.graph.op import show
from roofline.graph.views import carried


def identity(rank: int) -> Dims:
    """Return the order of a tensor stored as it is written."""
    return tuple(range(rank))


def last(rank: int, axis: int) -> Dims:
    """Return the order that stores `axis` innermost and the others as written."""
    return (*(a for a in range(rank) if a != axis), axis)


def stored(shape: Dims, order: Dims) -> Dims:
    """Return the shape of the tensor that stores `shape` in `order`."""
    return tuple(shape[axis] for axis in order)


def axis_of(axis: int, rank: int) -> int:
    """Return an axis counted from 0.

    Raises
    ------
    ShapeError
        It is out of range.
    """
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis!r} is out of range for rank {rank}")
    return axis % rank


def broadcast(*shapes: Dims) -> Dims:
    """Return the shape that the operands of an element-wise operator have in common.

    Raises
    ------
    ShapeError
        They do not broadcast.

    Examples
    --------
    >>> broadcast((8, 1, 4), (3, 1))
    (8, 3, 4)
    """
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for i, size in enumerate(shape, rank - len(shape)):
            if size != 1 and result[i] not in (1, size):
                raise ShapeError(f"shapes do not broadcast: {', '.join(map(show, shapes))}")
            result[i] = result[i] if size == 1 else size
    return tuple(result)


def view_order(shape: Dims, order: Dims, new: Dims) -> Dims | None:
    """Return the order of the `new` shape over the same bytes, or None where a reshape has to copy."""
    found = carried(shape, order, new)
    if found is None:
        return None
    nested = iter(found)
    return tuple(a if size == 1 else next(nested) for a, size in enumerate(new))


def reshape_target(shape: Dims, target: Sequence[int], *, zero_is_zero: bool = False) -> Dims:
    """Return the shape that a Reshape asks for: 0 copies a dimension, one -1 takes the rest.

    Raises
    ------
    ShapeError
        The number of elements would change.

    Examples
    --------
    >>> reshape_target((8, 12, 64), (0, -1))
    (8, 768)
    """
    new = [
        shape[i] if size == 0 and not zero_is_zero and i < len(shape) else int(size) for i, size in enumerate(target)
    ]
    total = prod(shape)
    if new.count(-1) == 1:
        rest = -prod(new)
        if rest > 0 and total % rest == 0:
            new[new.index(-1)] = total // rest
    if any(size < 0 for size in new) or prod(new) != total:
        asked = "x".join(map(str, target))
        raise ShapeError(f"cannot reshape {show(shape)} to {asked or 'scalar'}")
    return tuple(new)
