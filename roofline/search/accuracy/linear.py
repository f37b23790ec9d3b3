"""Ridge regression, cross-validation and split-conformal half-widths, in plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError
from roofline.numeric import Array
from roofline.stats import conformal_quantile, kendall_tau

COVERAGES = (0.8, 0.9, 0.95)


def ridge(x: Array, y: Array, penalty: float) -> tuple[Array, float]:
    """Return weights and intercept that minimise the squared error + penalty x the squared weights."""
    mean_x, mean_y = x.mean(axis=0), float(y.mean())
    centred = x - mean_x
    gram = centred.T @ centred + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (y - mean_y))
    return weights, mean_y - float(mean_x @ weights)


def folds(count: int, number: int, seed: int = 0) -> NDArray[np.int64]:
    """Return the fold of each of `count` rows, in random order.

    Raises
    ------
    InputError
        There are fewer rows than folds.
    """
    if count < number:
        raise InputError(f"{count} rows do not make {number} folds")
    return np.random.default_rng(seed).permutation(count) % number


def out_of_fold(
    fit: Callable[[NDArray[np.bool_]], Callable[[NDArray[np.bool_]], Array]], fold: NDArray[np.int64]
) -> Array:
    """Return for every row the prediction of a model that has not seen its fold.

    `fit` takes a mask of rows to fit to, and returns what predicts the rows of another mask.
    """
    predicted = np.empty(len(fold))
    for k in np.unique(fold):
        predicted[fold == k] = fit(fold != k)(fold == k)
    return predicted


def told_of_fit(predicted: Array, truth: Array, penalty: float, number: int) -> dict[str, Any]:
    """Return what is shipped of a ridge beside its coefficients: how well predictions of unseen rows agree."""
    error = predicted - truth
    return {
        "rows": len(truth),
        "penalty": penalty,
        "folds": number,
        "tau": kendall_tau(predicted, truth),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "r2": float(1.0 - np.sum(error**2) / np.sum((truth - truth.mean()) ** 2)),
        "half_width": half_widths(predicted, truth),
        "lowest": float(truth.min()),
        "highest": float(truth.max()),
    }


def half_widths(predicted: Array, truth: Array) -> dict[str, float]:
    """Return the split-conformal half-width per coverage, of predictions for rows that the model has not seen."""
    errors = np.abs(predicted - truth)
    return {f"{coverage:g}": conformal_quantile(errors, coverage) for coverage in COVERAGES}
