"""The made-up routing of a benchmark of experts: named distributions of rows over experts, and the rank with most.

Balanced: every expert has the same rows. Power law: rows are drawn from a density proportional to a power of them,
scaled to the rows there are and rounded; the rank whose experts have most is the one that is timed.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np

from roofline.numeric import Array
from roofline.routing import CLASSES, Load

#: draws whose mean stands for the one that was timed
DRAWS = 32
#: ends of the density: of rows where there are more rows than experts (up to this share of all tokens), else of shares
LEAST, MOST_SHARE, FEW = 1.0, 0.8, (0.01, 2.0)


@lru_cache(maxsize=65536)
def load_of_rank(tokens: int, top_k: int, experts: int, ranks: int, exponent: float) -> Load:
    """Return the rows of the timed rank; exponent 0 is balanced.

    Examples
    --------
    >>> load = load_of_rank(64, 8, 128, 4, 0.0)
    >>> float(load.active), float(load.total_rows), float(load.tiles(64))
    (32.0, 128.0, 32.0)
    """
    own, rows = experts // ranks, tokens * top_k
    if exponent == 0.0:
        busy = min(1.0, rows / experts) * own
        return _padded(np.array([busy]), np.array([rows / ranks / busy]), scatter=0.0)
    counts = _largest_rank(_drawn(rows, tokens, experts, exponent), ranks)
    edges = np.unique(np.r_[0, np.geomspace(1, own, CLASSES).round().astype(int)])
    classes = [counts[:, a:b] for a, b in pairwise(edges)]
    active = np.array([(c > 0).sum(axis=1).mean() for c in classes])
    total = np.array([c.sum(axis=1).mean() for c in classes])
    return _padded(active, total / np.maximum(active, 1e-9), scatter=1.0)


def _padded(active: Array, rows: Array, *, scatter: float) -> Load:
    experts, each = np.zeros(CLASSES), np.ones(CLASSES)
    experts[: len(active)], each[: len(rows)] = active, np.maximum(rows, 1.0)
    return Load(experts=experts, rows=each, scatter=scatter)


def _drawn(rows: int, tokens: int, experts: int, exponent: float) -> Array:
    """Return draws x experts: whole rows that add up, the largest first."""
    low, high = (LEAST, max(MOST_SHARE * tokens, 1.5)) if rows > experts else FEW
    uniform, power = np.random.default_rng(0).random((DRAWS, experts)), 1.0 - exponent
    drawn = ((high**power - low**power) * uniform + low**power) ** (1.0 / power)
    counts = -np.sort(-np.round(drawn / drawn.sum(axis=1, keepdims=True) * rows), axis=1)
    for draw in counts:  # rounding has lost or made some rows: the largest get or lose one each
        while missing := int(rows - draw.sum()):
            some = np.flatnonzero(draw > 0) if missing < 0 else np.arange(experts)
            draw[some[: abs(missing)]] += np.sign(missing)
    return np.asarray(counts)


def _largest_rank(counts: Array, ranks: int) -> Array:
    """Return draws x experts of the rank with most rows, where experts are dealt at random; the largest first."""
    dealt = np.random.default_rng(1).permuted(counts, axis=1).reshape(len(counts), ranks, -1)
    most = dealt.sum(axis=2).argmax(axis=1)
    return np.asarray(-np.sort(-dealt[np.arange(len(counts)), most], axis=1))


def stacked(loads: list[Load]) -> Load:
    """Return the loads of many calls as columns."""
    return Load(
        experts=np.stack([load.experts for load in loads]),
        rows=np.stack([load.rows for load in loads]),
        scatter=np.array([load.scatter for load in loads]),
    )
