"""Shapes and memory order: broadcasting, and which reshapes of a transposed tensor need no copy."""

from __future__ import annotations

from collections.abc import Sequence

from roofline.errors import ShapeError
from roofline.frontends.onnx.values import Dims
from roofline.graph.op import show


def identity(rank: int) -> Dims:
    """Return the order of a tensor stored as it is written."""
    return tuple(range(rank))


def channels_last(rank: int) -> Dims:
    """Return the order in which (N, C, *spatial) is stored channels last.

    Examples
    --------
    >>> channels_last(4), channels_last(2)
    ((0, 2, 3, 1), (0, 1))
    """
    return (0, *range(2, rank), 1) if rank > 2 else identity(rank)


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
    """Return the order of the `new` shape over the same bytes, or None where a reshape has to copy.

    Splitting an axis is a view; merging two is one where the inner follows the outer in memory. The rule is that of
    strided tensors (PyTorch's ``view``, NumPy's ``reshape``).

    Examples
    --------
    >>> view_order((8, 64, 7, 7), (0, 2, 3, 1), (8, 64, 49))  # an image's grid becomes one axis
    (0, 2, 1)
    >>> view_order((8, 64, 7, 7), (0, 2, 3, 1), (8, 3136)) is None  # channels do not lie outside the grid
    True
    """
    strides = _strides(shape, order)
    old = [(size, stride) for size, stride in zip(shape, strides, strict=True) if size != 1]
    new_strides = [0] * len(new)
    position = len(new) - 1
    chunk = count = 1
    base = old[-1][1] if old else 1
    for i in reversed(range(len(old))):
        count *= old[i][0]
        if i and old[i - 1][1] == count * base:
            continue
        while position >= 0 and (chunk < count or new[position] == 1):
            new_strides[position] = chunk * base
            chunk *= new[position]
            position -= 1
        if chunk != count:
            return None
        chunk = count = 1
        base = old[i - 1][1] if i else 1
    nested = iter(sorted((a for a, size in enumerate(new) if size != 1), key=lambda a: -new_strides[a]))
    return tuple(a if size == 1 else next(nested) for a, size in enumerate(new))


def _strides(shape: Dims, order: Dims) -> list[int]:
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return strides


def same_bytes(shape: Dims, first: Dims, second: Dims) -> bool:
    """Return whether two orders of a shape put the same element everywhere: axes of size 1 do not matter."""
    return [a for a in first if shape[a] != 1] == [a for a in second if shape[a] != 1]


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
    total = _product(shape)
    if new.count(-1) == 1:
        rest = -_product(new)
        if rest > 0 and total % rest == 0:
            new[new.index(-1)] = total // rest
    if any(size < 0 for size in new) or _product(new) != total:
        asked = "x".join(map(str, target))
        raise ShapeError(f"cannot reshape {show(shape)} to {asked or 'scalar'}")
    return tuple(new)


def _product(sizes: Sequence[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total
