"""A number or a column of numbers: every formula is written once for both."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError

Array: TypeAlias = NDArray[np.float64]
Numeric: TypeAlias = int | float | NDArray[Any]


def ceil_div(a: Numeric, b: Numeric) -> Numeric:
    """Return ``ceil(a / b)``; exact for integers below 2**53.

    Examples
    --------
    >>> ceil_div(9, 8)
    2
    """
    if isinstance(a, int) and isinstance(b, int):
        return -(-a // b)
    return np.ceil(a / b)


def floor_div(a: Numeric, b: Numeric) -> Numeric:
    """Return ``floor(a / b)``."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    return np.floor(a / b)


def least(a: Numeric, b: Numeric) -> Numeric:
    """Return the smaller of two numbers, or of each row; an integer of integers."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return np.minimum(a, b)


def product(values: Iterable[Numeric]) -> Numeric:
    """Return the float product of the values: integer columns would wrap silently.

    Examples
    --------
    >>> product([2, 3, 4])
    24.0
    """
    total: Numeric = 1.0
    for value in values:
        total = total * value
    return total


def same(a: Numeric, b: Numeric) -> bool:
    """Return whether two numbers, or all rows of two columns, are equal."""
    if a is b:
        return True
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b
    return bool(np.all(a == b))


def alike(a: Sequence[Numeric], b: Sequence[Numeric]) -> bool:
    """Return whether two shapes have the same dimensions."""
    return len(a) == len(b) and all(map(same, a, b))


def positive(a: Numeric) -> bool:
    """Return whether a number, or every row of a column, is positive and finite."""
    if isinstance(a, (int, float)):
        return 0 < a < math.inf
    return bool(np.all(a > 0) and np.all(np.isfinite(a)))


def whole_number(value: object, what: str, *, most: int) -> int:
    """Return `value` as an int in 1..`most`; NumPy's integers are whole numbers too, True and 2.0 are not.

    Raises
    ------
    InputError
        It is none; the message says `what` it is for.

    Examples
    --------
    >>> whole_number(np.int64(8), "batch", most=16)
    8
    """
    try:
        number = operator.index(value) if not isinstance(value, bool) else 0  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if not 1 <= number <= most:
        raise InputError(f"{what} must be a whole number in 1..{most}, got {value!r}")
    return number
