"""Where a dimension that grows with the batch goes when an array is seen in another shape."""

from __future__ import annotations

from math import prod

from roofline.graph.tensor import Shape


def reshaped(factors: tuple[int, ...], old: Shape, new: Shape, batch: int) -> tuple[int, ...] | None:
    """Return the factors of the new shape; None where that cannot be told.

    A view may permute axes, or merge and split them in row-major order. Sizes tell which, unless the batch is 1 or as
    large as another axis.

    Examples
    --------
    >>> reshaped((1, 0, 0), (2, 49, 768), (98, 768), 2)  # merged
    (49, 0)
    >>> reshaped((1, 0, 0), (2, 49, 768), (49, 2, 768), 2)  # permuted
    (0, 1, 0)
    >>> reshaped((12, 0, 0), (24, 49, 64), (2, 12, 49, 64), 2)  # split
    (1, 0, 0, 0)
    >>> reshaped((1, 0, 0), (1, 49, 768), (49, 1, 768), 1) is None  # merged or permuted?
    True
    """
    if not any(factors):
        return (0,) * len(new)
    before, after = tuple(int(d) for d in old), tuple(int(d) for d in new)
    if before == after:
        return factors
    if sum(f > 0 for f in factors) > 1 or 0 in before:
        return None
    position = next(i for i, f in enumerate(factors) if f)
    if batch == 1 and position == 0 and after and after[0] == 1:
        return _at(0, 1, len(after))
    if before[position] == 1:
        return _of_one(before, after, position)
    if sorted(_long(before)) == sorted(_long(after)):
        return _permuted(factors, before, after, position)
    return _merged(before, after, position, batch)


def _at(position: int, factor: int, rank: int) -> tuple[int, ...]:
    return tuple(factor if i == position else 0 for i in range(rank))


def _long(shape: tuple[int, ...]) -> list[int]:
    return [d for d in shape if d != 1]


def _of_one(before: tuple[int, ...], after: tuple[int, ...], position: int) -> tuple[int, ...] | None:
    """Follow a batch of 1: merged into the first axis, or the only axis of size 1 before and after a permutation."""
    if position == 0 and 1 not in after and after:
        first = _merged((1, *_long(before)), after, 1, 1) if len(_long(before)) else None
        return None if first is None else _at(0, after[0], len(after))
    if sorted(before) == sorted(after) and before.count(1) == 1 and _long(before) != _long(after):
        return _at(after.index(1), 1, len(after))
    return None


def _permuted(
    factors: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...], position: int
) -> tuple[int, ...] | None:
    size = before[position]
    if after.count(size) == 1:
        return _at(after.index(size), factors[position], len(after))
    if _long(before) == _long(after):  # only axes of size 1 came or went
        rank = len(_long(before[:position]))
        return _at([i for i, d in enumerate(after) if d != 1][rank], factors[position], len(after))
    if before[0] == after[0] and position == 0:
        return _at(0, factors[0], len(after))
    return None


def _merged(before: tuple[int, ...], after: tuple[int, ...], position: int, batch: int) -> tuple[int, ...] | None:
    """Follow an axis through the smallest runs of axes of equal size, in row-major order."""
    i = j = 0
    while i < len(before):
        if before[i] == 1:
            i += 1
            continue
        while j < len(after) and after[j] == 1:
            j += 1
        if j >= len(after):
            return None
        start, first = i, j
        i, j = i + 1, j + 1
        while prod(before[start:i]) != prod(after[first:j]):
            if prod(before[start:i]) < prod(after[first:j]):
                i += 1
            else:
                j += 1
            if i > len(before) or j > len(after):
                return None
        if start <= position < i:
            leads = position == next(k for k in range(start, i) if before[k] != 1)
            whole = j - first == 1
            if (leads or whole) and after[first] % batch == 0:
                return _at(first, after[first] // batch, len(after))
            return None
    return None
