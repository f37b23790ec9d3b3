"""How well predictions agree with measurements: errors, order, calibrated intervals; fronts; on plain arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roofline.errors import InputError
from roofline.numeric import Array


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Predictions beside measurements. Errors are shares of the measurement: 0.1 is 10 %.

    Attributes
    ----------
    count
        Pairs compared.
    mape, median
        Mean and median of |predicted / measured - 1|.
    bias
        Median of predicted / measured - 1: positive where predictions are too high.
    scaled
        Mean error once a single factor (the median ratio) has made up for what it can.
    tau, spearman
        Rank correlations (Kendall's tau-b, Spearman's rho); NaN where all values tie.
    within_10, within_20
        Share of pairs whose error is at most 10 % and 20 %.
    """

    count: int
    mape: float
    median: float
    bias: float
    scaled: float
    tau: float
    spearman: float
    within_10: float
    within_20: float


def agreement(predicted: ArrayLike, measured: ArrayLike) -> Agreement:
    """Return every statistic of predictions against measurements.

    Raises
    ------
    InputError
        The two differ in length, are empty, or are not positive finite numbers.

    Examples
    --------
    >>> found = agreement([1.1, 2.0, 2.7], [1.0, 2.0, 3.0])
    >>> round(found.mape, 3), found.median, found.tau, found.within_20
    (0.067, 0.1, 1.0, 1.0)
    """
    p, m = _pair(predicted, measured)
    error = p / m - 1.0
    size = np.round(np.abs(error), 12)
    return Agreement(
        count=len(p),
        mape=float(size.mean()),
        median=float(np.median(size)),
        bias=float(np.median(error)),
        scaled=float(np.abs((1.0 + error) / (1.0 + np.median(error)) - 1.0).mean()),
        tau=kendall_tau(p, m),
        spearman=spearman(p, m),
        within_10=float(np.mean(size <= 0.10)),
        within_20=float(np.mean(size <= 0.20)),
    )


def _pair(predicted: ArrayLike, measured: ArrayLike) -> tuple[Array, Array]:
    p, m = (np.asarray(x, dtype=np.float64).ravel() for x in (predicted, measured))
    if len(p) != len(m):
        raise InputError(f"{len(p)} predictions and {len(m)} measurements do not pair")
    if not len(p):
        raise InputError("there is nothing to compare")
    for what, values in (("prediction", p), ("measurement", m)):
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            raise InputError(f"every {what} must be positive and finite, number {int(bad.argmax()) + 1} is not")
    return p, m


def ranks(values: ArrayLike) -> Array:
    """Return the rank of each value, 1 for the smallest; equal values share their mean rank.

    Examples
    --------
    >>> ranks([30, 10, 20, 10]).tolist()
    [4.0, 1.5, 3.0, 1.5]
    """
    _, inverse, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[inverse], dtype=np.float64)


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's rho: Pearson's correlation of the ranks; NaN where one side is constant."""
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale else math.nan


def kendall_tau(a: ArrayLike, b: ArrayLike) -> float:
    """Return Kendall's tau-b by counting inversions while sorting; NaN where one side is constant.

    Source: W. R. Knight, J. Am. Stat. Assoc. 61 (1966).

    Examples
    --------
    >>> kendall_tau([1, 2, 3, 4], [1, 2, 4, 3])
    0.6666666666666666
    """
    x, y = (np.unique(np.asarray(v, dtype=np.float64), return_inverse=True)[1].astype(np.int64) for v in (a, b))
    count = len(x)
    pairs = count * (count - 1) // 2
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    tied_x, tied_y, tied_both = _ties(x), _ties(y), _ties(x * count + y)
    untied = (pairs - tied_x) * (pairs - tied_y)
    if untied == 0:
        return math.nan
    discordant = _inversions(y)
    concordant = pairs - tied_x - tied_y + tied_both - discordant
    return (concordant - discordant) / math.sqrt(untied)


def _ties(values: NDArray[np.int64]) -> int:
    counts = np.unique(values, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _inversions(values: NDArray[np.int64]) -> int:
    """Return how many pairs stand in falling order: a merge sort, all blocks of one width at a time."""
    count = len(values)
    place = np.arange(count)
    found, width = 0, 1
    values = values.copy()
    while width < count:
        block = place // (2 * width)
        key = block * count + values  # orders by block, then by value
        left = place % (2 * width) < width
        lefts, rights = key[left], key[~left]  # each half is sorted inside its block
        ends = np.searchsorted(lefts, (block[~left] + 1) * count)
        found += int((ends - np.searchsorted(lefts, rights, side="right")).sum())
        values = np.sort(key, kind="stable") - block * count
        width *= 2
    return found


def conformal_quantile(scores: ArrayLike, coverage: float) -> float:
    """Return what a new score stays below with probability `coverage`; infinite with too few scores.

    The split-conformal bound: the ceil((n + 1) coverage)-th smallest of n scores (Vovk et al., Algorithmic Learning in
    a Random World, 2005).

    Raises
    ------
    InputError
        The coverage is not between 0 and 1.

    Examples
    --------
    >>> conformal_quantile(range(1, 10), 0.9), conformal_quantile(range(1, 9), 0.9)
    (9.0, inf)
    """
    if not 0.0 < coverage < 1.0:
        raise InputError(f"coverage must be between 0 and 1, got {coverage!r}")
    values = np.sort(np.asarray(scores, dtype=np.float64))
    position = math.ceil(round((len(values) + 1) * coverage, 9))
    return float(values[position - 1]) if position <= len(values) else math.inf


def geometric_mean(values: ArrayLike) -> float:
    """Return the geometric mean of positive numbers.

    Examples
    --------
    >>> geometric_mean([1.0, 4.0])
    2.0
    """
    return float(np.exp(np.mean(np.log(np.asarray(values, dtype=np.float64)))))


def median_deviation(values: ArrayLike) -> float:
    """Return the median distance from the median, scaled to be the standard deviation of normal noise.

    Examples
    --------
    >>> round(median_deviation([1.0, 2.0, 3.0, 4.0, 100.0]), 4)
    1.4826
    """
    v = np.asarray(values, dtype=np.float64)
    return 1.4826 * float(np.median(np.abs(v - np.median(v))))


def front(points: Array) -> NDArray[np.int64]:
    """Return the rows (N, M) that no other row dominates, in order of the first objective; equal rows count once.

    Examples
    --------
    >>> front(np.array([[1.0, 3.0], [2.0, 1.0], [2.0, 2.0], [1.0, 3.0]])).tolist()
    [0, 1]
    """
    if not len(points):
        return np.empty(0, dtype=np.int64)
    order = np.lexsort(points.T[::-1])
    if points.shape[1] == 2:
        second = points[order, 1]
        before = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]])
        return np.asarray(order[second < before], dtype=np.int64)
    kept: list[int] = []
    for row in order:
        if not kept or not np.any(np.all(points[kept] <= points[row], axis=1)):
            kept.append(int(row))
    return np.array(kept, dtype=np.int64)
