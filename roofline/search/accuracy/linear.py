"""Ridge regression, cross-validation and split-conformal half-widths, in plain numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError
from roofline.numeric import Array
from roofline.stats import conformal_quantile

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


def out_of_fold(fit: Callable[[NDArray[np.bool_]], Callable[[NDArray[np.bool_]], Array]], fold: NDArray[np.int64],
                ) -> Array:  # fmt: skip
    """Return for every row the prediction of a model that has not seen its fold.

    `fit` takes a mask of rows to fit to, and returns what predicts the rows of another mask.
    """
    predicted = np.empty(len(fold))
    for k in np.unique(fold):
        predicted[fold == k] = fit(fold != k)(fold == k)
    return predicted


def half_widths(predicted: Array, truth: Array) -> dict[str, float]:
    """Return the split-conformal half-width per coverage, of predictions for rows that the model has not seen."""
    errors = np.abs(predicted - truth)
    return {f"{coverage:g}": conformal_quantile(errors, coverage) for coverage in COVERAGES}
