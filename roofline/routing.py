"""Which experts tokens go to, as expected counts: closed forms, on numbers or on columns.

Experts differ in popularity, and those of like popularity are counted as one class. A token takes `top_k` different
experts, drawn one after the other by popularity: the experts of its highest scores, where scores are logits with
Gumbel noise. In results the classes are a last axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline.numeric import Array, Numeric

#: classes of popularity; more of them move no expectation of the tests by a percent
CLASSES = 16
#: steps of Newton's method, which starts below the root of a concave function: seven digits at exponents up to 2
NEWTON_STEPS = 12
#: share of all experts that a token takes at most: above it, every token takes every expert
ALL = 1.0 - 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Load:
    """Rows of the experts that have any.

    Attributes
    ----------
    experts
        Expected number of experts of each class that have rows.
    rows
        Expected rows of each of them.
    scatter
        1 where counts are random, 0 where every expert of a class has exactly `rows`.
    """

    experts: Array
    rows: Array
    scatter: Numeric = 1.0

    @property
    def active(self) -> Array:
        """Expected number of experts that have rows."""
        return np.asarray(self.experts.sum(axis=-1))

    @property
    def total_rows(self) -> Array:
        """Expected rows of all experts."""
        return np.asarray((self.experts * self.rows).sum(axis=-1))

    def tiles(self, height: Numeric) -> Array:
        """Return the expected number of tiles of `height` rows, each of one expert.

        An expert's last tile is half full where its count is random and many tiles high; one that has few rows has
        one tile.
        """
        exact = np.ceil(self.rows / height)
        random = np.maximum(1.0, self.rows / height + 0.5 * (1.0 - 1.0 / height))
        scatter = np.asarray(self.scatter)[..., None]
        return np.asarray((self.experts * (exact + scatter * (random - exact))).sum(axis=-1))


def popularity(experts: Numeric, exponent: Numeric) -> tuple[Array, Array]:
    """Return the share of all choices that an expert of each class gets, and how many experts each class has.

    The i-th most popular expert gets a share proportional to i ** -exponent (Zipf's law); 0 makes all alike.
    """
    e, s = np.asarray(experts, dtype=np.float64)[..., None], np.asarray(exponent, dtype=np.float64)[..., None]
    places = np.arange(CLASSES + 1) / CLASSES
    edges = 0.5 * ((e + 0.5) / 0.5) ** places  # expert i covers i - 1/2 to i + 1/2: classes are equally wide in log i
    edges = 0.5 + (edges - 0.5) * e / (edges[..., -1:] - 0.5)
    counts = np.diff(edges, axis=-1)
    middle = np.sqrt(edges[..., 1:] * edges[..., :-1])
    weights = middle**-s
    return weights / (weights * counts).sum(axis=-1, keepdims=True), counts


def taken(shares: Array, counts: Array, top_k: Numeric) -> Array:
    """Return the probability that a token takes an expert of each class: it takes `top_k` different ones.

    Draws without replacement, by weight, take what exponential clocks of these rates ring first: an expert is taken
    where its clock rings before a time that `top_k` ring before in the mean.
    """
    e = counts.sum(axis=-1, keepdims=True)
    k = np.minimum(np.asarray(top_k, dtype=np.float64)[..., None], ALL * e)
    until = -e * np.log1p(-k / e)
    for _ in range(NEWTON_STEPS):
        left = np.exp(-until * shares)
        until = until + (k - (counts * (1.0 - left)).sum(axis=-1, keepdims=True)) / (counts * shares * left).sum(
            axis=-1, keepdims=True
        )
    return np.asarray(-np.expm1(-until * shares))


def routed(tokens: Numeric, top_k: Numeric, experts: Numeric, exponent: Numeric) -> Load:
    """Return the rows of experts when `tokens` tokens take `top_k` of `experts` each.

    Examples
    --------
    >>> load = routed(1, 8, 128, 0.0)  # one token has as many experts as it takes
    >>> round(float(load.active), 6), round(float(load.total_rows), 6)
    (8.0, 8.0)
    >>> round(float(routed(64, 8, 128, 0.0).active), 2)  # 128 (1 - (15/16) ** 64)
    125.94
    """
    shares, counts = popularity(experts, exponent)
    chance = taken(shares, counts, top_k)
    n = np.asarray(tokens, dtype=np.float64)[..., None]
    busy = -np.expm1(n * np.log1p(-np.minimum(chance, ALL)))
    return Load(experts=counts * busy, rows=n * chance / busy)


def even(rows: Numeric, experts: Numeric) -> Load:
    """Return the rows of experts that all have as many; no more experts have any than there are rows."""
    busy = np.minimum(np.asarray(experts, dtype=np.float64), rows)[..., None] / CLASSES
    each = np.asarray(rows, dtype=np.float64)[..., None] / (busy * CLASSES)
    wide = np.ones(CLASSES)
    return Load(experts=busy * wide, rows=each * wide, scatter=0.0)


def active_experts(tokens: Numeric, top_k: Numeric, experts: Numeric, exponent: Numeric) -> Array:
    """Return the expected number of experts that any of the tokens takes: those whose weights are read."""
    return routed(tokens, top_k, experts, exponent).active
