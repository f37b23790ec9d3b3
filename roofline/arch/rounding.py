"""Rounding of channels and repeats when a network is scaled (EfficientNet's rules, arXiv 1905.11946)."""

from __future__ import annotations

import math

from roofline.errors import ShapeError

#: rounding may not lose more than a tenth of the channels (EfficientNet's ``round_filters``)
KEPT_SHARE = 0.9


def round_filters(channels: float, divisor: int = 8, kept: float = KEPT_SHARE) -> int:
    """Return `channels` rounded to a multiple of `divisor`, not below `kept` x `channels`.

    Examples
    --------
    >>> round_filters(32 * 1.1), round_filters(3.0), round_filters(40 * 1.4)
    (32, 8, 56)
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < kept * channels else rounded


def some(channels: int, what: str) -> int:
    """Return a number of channels that was rounded down.

    Raises
    ------
    ShapeError
        None are left.
    """
    if channels < 1:
        raise ShapeError(f"{what} leaves no channels")
    return channels


def round_repeats(repeats: int, depth: float) -> int:
    """Return ceil(repeats x depth).

    Examples
    --------
    >>> round_repeats(3, 1.1)
    4
    """
    return math.ceil(depth * repeats)
