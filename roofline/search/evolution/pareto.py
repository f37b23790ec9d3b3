"""Which candidates nobody beats: fronts, an archive, ties, hypervolume. Objectives are minimised."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError
from roofline.numeric import Array
from roofline.search.evolution.objective import Evaluation
from roofline.stats import front

#: the archive keeps this many candidates, the most crowded go first
MAX_ARCHIVE = 512


def objectives(evaluation: Evaluation) -> Array:
    """Return latency on every device, and minus the accuracy: (N, D + 1)."""
    return np.hstack([evaluation.latency_s, -evaluation.accuracy[:, None]])


def update(archive: Evaluation | None, candidates: Evaluation) -> Evaluation | None:
    """Return the archive of feasible candidates that nobody beats, with a generation added."""
    fresh = candidates.take(np.flatnonzero(candidates.violation <= 0))
    if archive is not None and len(fresh):
        fresh = fresh.take(~_dominated(objectives(fresh), objectives(archive)))
    if not len(fresh):
        return archive
    joined = fresh if archive is None else Evaluation.join([archive, fresh])
    kept = joined.take(front(objectives(joined)))
    return kept.take(_least_crowded(objectives(kept))) if len(kept) > MAX_ARCHIVE else kept


def _dominated(points: Array, by: Array) -> NDArray[np.bool_]:
    """Return which points are no better anywhere than some row of `by`."""
    if points.shape[1] == 2:  # `by` is a front in order of its first objective: its second one falls
        place = np.searchsorted(by[:, 0], points[:, 0], side="right") - 1
        return np.asarray((place >= 0) & (by[np.maximum(place, 0), 1] <= points[:, 1]))
    worse = np.ones((len(points), len(by)), dtype=bool)
    for m in range(points.shape[1]):
        worse &= by[None, :, m] <= points[:, m, None]
    return np.asarray(worse.any(axis=1))


def _least_crowded(points: Array) -> NDArray[np.int64]:
    gap = np.zeros(len(points))
    for m in range(points.shape[1]):
        order = np.argsort(points[:, m], kind="stable")
        values = points[order, m]
        span = max(values[-1] - values[0], 1e-300)
        gap[order[1:-1]] += (values[2:] - values[:-2]) / span
        gap[order[[0, -1]]] = np.inf
    return np.sort(np.argsort(-gap, kind="stable")[:MAX_ARCHIVE])


def tie_groups(accuracy: Array, half_width: Array) -> NDArray[np.int64]:
    """Return the tie group of each candidate, 0 for the best: within the half-width of its best, accuracy cannot tell.

    Examples
    --------
    >>> tie_groups(np.array([67.0, 66.5, 66.1, 60.0]), np.full(4, 0.75)).tolist()
    [0, 0, 1, 2]
    """
    groups = np.empty(len(accuracy), dtype=np.int64)
    group, best = -1, np.inf
    for row in np.argsort(-accuracy, kind="stable"):
        width = half_width[row] if np.isfinite(half_width[row]) else 0.0
        if group < 0 or best - accuracy[row] > width:
            group, best = group + 1, accuracy[row]
        groups[row] = group
    return groups


def extra(module: str) -> Any:
    """Return a module of pymoo.

    Raises
    ------
    InputError
        It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError("Pareto search needs pymoo: pip install 'roofline[search]'") from None


def hypervolume(points: Array, reference: Array) -> float:
    """Return the volume that the points dominate up to `reference`, by pymoo."""
    return float(extra("pymoo.indicators.hv").HV(ref_point=np.asarray(reference))(np.asarray(points)))
