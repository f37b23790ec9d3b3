"""Arrays whose axes lie in memory in another order than programs state them: what all front ends ask of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def channels_last(rank: int) -> tuple[int, ...]:
    """Return the order in which (N, C, *spatial) is stored channels last.

    Examples
    --------
    >>> channels_last(4), channels_last(2)
    ((0, 2, 3, 1), (0, 1))
    """
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


def significant(order: Iterable[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return the axes of `order` that are not of size 1: the others can stand anywhere."""
    return tuple(axis for axis in order if shape[axis] != 1)


def carried(shape: Sequence[int], order: Sequence[int], new: Sequence[int]) -> list[int] | None:
    """Return the axes of a `new` shape over the same bytes as they follow each other in memory; None: it takes a copy.

    Both shapes fall into runs of axes of equal product. A run may be split where it lies; its axes merge if they are
    neighbours in memory. Axes of size 1 are left out.

    Parameters
    ----------
    shape, order
        The sizes that the program sees, and its axes as they follow each other in memory.

    Examples
    --------
    >>> carried((8, 64, 7, 7), (0, 2, 3, 1), (8, 64, 49))  # an image's grid becomes one axis
    [0, 2, 1]
    >>> carried((8, 64, 7, 7), (0, 2, 3, 1), (8, 3136)) is None  # channels do not lie outside the grid
    True
    """
    old, wanted = significant(range(len(shape)), shape), significant(range(len(new)), new)
    if 0 in shape:  # no bytes: nothing to copy
        return list(wanted)
    memory = significant(order, shape)
    runs: list[tuple[int, list[int]]] = []
    i = j = 0
    while i < len(old):
        before, after = [old[i]], [wanted[j]]
        left, right = shape[old[i]], new[wanted[j]]
        i, j = i + 1, j + 1
        while left != right:
            if left < right:
                before.append(old[i])
                left, i = left * shape[old[i]], i + 1
            else:
                after.append(wanted[j])
                right, j = right * new[wanted[j]], j + 1
        at = memory.index(before[0])
        if list(memory[at : at + len(before)]) != before:
            return None
        runs.append((at, after))
    return [axis for _, after in sorted(runs) for axis in after]
