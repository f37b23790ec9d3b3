"""Which scaled networks to take: the most accurate within a target, those accuracy cannot tell apart, the cheapest.

A member's *load* is its cost over its target, on the device where that is largest: at most 1 where the target is met.
Coefficients are free for each member, or common to a family: member i is at (alpha, beta, gamma) ^ phi_i.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError
from roofline.numeric import Array
from roofline.search.scaling.grid import Grid

Index = NDArray[np.int64]
#: directions of common coefficients: the simplex of (ln alpha, ln beta, ln gamma) in this many parts
PARTS = 24
#: step along a direction, in ln(depth x width x resolution)
STEP = 0.01
#: multiples are compared up to float error
EXACT = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Pick:
    """One member of a family, as rows of the grid.

    Attributes
    ----------
    row
        The recommendation: no less accurate by prediction than `start`, and no slower (`scaling.promise`).
    start
        The cheapest network that accuracy cannot tell from the best, at the coefficients of the family.
    best
        The network of highest accuracy within the target.
    tied
        Rows that accuracy cannot tell from the best.
    phi
        Exponent of common coefficients, NaN where they are free.
    """

    row: int
    start: int
    best: int
    tied: Index
    phi: float = math.nan


@dataclass(frozen=True, kw_only=True, eq=False)
class Triple:
    """Common coefficients: phi = 1 doubles the cost of the base.

    Attributes
    ----------
    alpha, beta, gamma
        Of depth, width and resolution.
    best
        The triple of highest mean accuracy; the chosen one is the cheapest that accuracy cannot tell from it.
    lowest, highest
        Of each coefficient among the `count` triples that accuracy cannot tell from the best.
    """

    alpha: float
    beta: float
    gamma: float
    best: tuple[float, float, float]
    lowest: tuple[float, float, float]
    highest: tuple[float, float, float]
    count: int


def loads(costs: Array, targets: Array) -> Array:
    """Return cost over target, (N,), of costs (N, C) and one member's targets (C,): the largest over C."""
    return np.asarray((costs / targets).max(axis=1))


def pick_free(costs: Array, targets: Array, accuracy: Array, tie: float) -> list[Pick]:
    """Return a pick per row of targets (M, C): each member has the coefficients that are best for it."""
    picks = []
    for wanted in targets:
        load = loads(costs, wanted)
        inside = np.flatnonzero(load <= 1.0 + EXACT)
        order = np.lexsort((load[inside], -accuracy[inside]))
        best = int(inside[order[0]])
        tied = inside[accuracy[inside] >= accuracy[best] - tie]
        start = int(tied[np.argmin(load[tied])])
        picks.append(Pick(row=start, start=start, best=best, tied=tied))
    return picks


def pick_common(
    grid: Grid, costs: Array, targets: Array, accuracy: Array, tie: float, names: Sequence[str]
) -> tuple[list[Pick], Triple]:
    """Return a pick per row of targets (M, C) and the coefficients that they share.

    The best direction has the highest accuracy in the mean over members. Accuracy cannot tell a direction from it that
    reaches, within every target, what the best one has there less `tie`. The direction taken is the one of those whose
    members are cheapest, in the geometric mean of their loads.

    Raises
    ------
    InputError
        A target lies below the cost of the base.
    """
    directions, steps, rows = _paths(grid)
    there = rows >= 0
    reached = np.where(there, accuracy[rows], -np.inf)
    load = np.stack([np.where(there, loads(costs, wanted)[rows], np.inf) for wanted in targets])  # (M, K, S)
    within = np.where(load <= 1.0 + EXACT, reached, -np.inf)
    top = within.max(axis=2)  # (M, K)
    if not np.isfinite(top).any(axis=1).all():
        short = names[int(np.argmin(np.isfinite(top).any(axis=1)))]
        raise InputError(f"the target of {short!r} lies below the base: common coefficients only grow a network")
    best = int(top.mean(axis=0).argmax())
    floor = top[:, best] - tie
    fine = np.where(within >= floor[:, None, None], load, np.inf)
    place = fine.argmin(axis=2)  # (M, K)
    least = np.take_along_axis(fine, place[:, :, None], axis=2)[:, :, 0]
    tied = np.flatnonzero(np.isfinite(least).all(axis=0))
    chosen = int(tied[np.log(least[:, tied]).mean(axis=0).argmin()])
    base = costs[grid.base_row]
    growth = np.log(costs / base).mean(axis=1)
    doubling = _doubling(steps[place], growth[rows[np.arange(rows.shape[0]), place]])  # (K,)
    best_place = within[:, best].argmax(axis=1)
    best_doubling = float(_doubling(steps[best_place][:, None], growth[rows[best, best_place]][:, None])[0])
    triples = np.exp(directions[tied] * doubling[tied, None])
    alpha, beta, gamma = (float(x) for x in np.exp(directions[chosen] * doubling[chosen]))
    picks = [
        Pick(
            row=int(rows[chosen, place[m, chosen]]),
            start=int(rows[chosen, place[m, chosen]]),
            best=int(rows[best, best_place[m]]),
            tied=np.unique(rows[tied, place[m, tied]]),
            phi=float(steps[place[m, chosen]] / doubling[chosen]),
        )
        for m in range(len(targets))
    ]
    top = _three(np.exp(directions[best] * best_doubling))
    lowest, highest = _three(triples.min(axis=0)), _three(triples.max(axis=0))
    triple = Triple(alpha=alpha, beta=beta, gamma=gamma, best=top, lowest=lowest, highest=highest, count=len(tied))
    return picks, triple


def cheapest(grid: Grid, cost: Array, accuracy: Array, least: Array, *, common: bool) -> list[int]:
    """Return the rows of the cheapest family whose members are at least so accurate (M,): by cost (N,).

    Coefficients are common to its members, those of the least geometric mean of costs, or free.
    """
    if not common:
        enough = [np.flatnonzero(accuracy >= floor) for floor in least]
        return [int(rows[np.argmin(cost[rows])]) for rows in enough]
    _, _, rows = _paths(grid)
    there = rows >= 0
    reached = np.where(there, accuracy[rows], -np.inf)
    priced = np.where(there, cost[rows], np.inf)
    spent = np.where(reached >= least[:, None, None], priced, np.inf)  # (M, K, S)
    place = spent.argmin(axis=2)
    total = np.log(np.take_along_axis(spent, place[:, :, None], axis=2)[:, :, 0]).sum(axis=0)
    chosen = int(total.argmin())
    return [int(rows[chosen, p]) for p in place[:, chosen]]


def _three(values: Array) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c


def _doubling(steps: Array, growth: Array) -> Array:
    """Return the step at which the cost doubles, by a line through the origin: steps and growth are (M, K)."""
    slope = (steps * growth).sum(axis=0) / np.maximum((steps**2).sum(axis=0), STEP**2)
    return np.asarray(math.log(2.0) / np.maximum(slope, EXACT))


def _paths(grid: Grid) -> tuple[Array, Array, Index]:
    """Return directions (K, 3), steps (S,), and the row of the grid at each step along each, (K, S); -1 is none."""
    axes = grid.axes
    directions = np.array(
        [(i, j, PARTS - i - j) for i in range(PARTS + 1) for j in range(PARTS + 1 - i)], dtype=np.float64
    )
    held = [len(axis) == 1 for axis in axes]
    directions = directions[(directions[:, held] == 0).all(axis=1)] / PARTS
    if not len(directions):
        raise InputError(f"{grid.base.name!r} is held in every dimension: there is nothing to scale")
    tops = (float(grid.depth_tops[-1]), float(axes[1][-1]), float(axes[2][-1]))
    steps = np.arange(0.0, sum(math.log(top) for top in tops) + STEP, STEP)
    multiples = np.exp(directions[:, None, :] * steps[None, :, None])
    outside = np.zeros(multiples.shape[:2], dtype=bool)
    options = []
    for dimension, axis in enumerate(axes):
        wanted = multiples[:, :, dimension]
        outside |= wanted > tops[dimension] * (1.0 + EXACT)
        if dimension == 0:
            option = np.searchsorted(grid.depth_tops, wanted * (1.0 - EXACT))
        else:
            option = np.searchsorted(np.sqrt(axis[1:] * axis[:-1]), wanted)
        options.append(np.minimum(option, len(axis) - 1))
    rows = grid.row_of[tuple(options)]
    rows[outside] = -1
    return directions, steps, rows
