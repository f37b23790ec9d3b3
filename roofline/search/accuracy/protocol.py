"""What a search asks about accuracy, and what it is told: a mean, how far off it may be, whether to believe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from roofline.arch.spec import Arch
from roofline.errors import InputError, RooflineError
from roofline.numeric import Array
from roofline.search.space.base import BaseSpace
from roofline.search.space.genomes import Genomes
from roofline.search.space.own.modules import Network


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Accuracy of N candidates.

    Attributes
    ----------
    mean
        Accuracy in percent, or a score, (N,).
    half_width
        The truth is within mean +- half_width for 90 % of networks like those the oracle was fitted to; NaN where
        nothing is known (a score).
    in_domain
        Whether the candidate is like those networks.
    """

    mean: Array
    half_width: Array
    in_domain: NDArray[np.bool_]


@runtime_checkable
class AccuracyOracle(Protocol):
    """Anything that predicts accuracy; `kind` "score" orders candidates and is no accuracy."""

    @property
    def name(self) -> str:
        """What results call it."""

    @property
    def kind(self) -> Literal["accuracy", "score"]:
        """Percent of correct answers, or a number that is only larger or smaller."""

    @property
    def recipe(self) -> str:
        """The training that the accuracies are those of."""

    def predict(self, architectures: Any) -> Prediction:
        """Return the accuracy of genomes (N, L), or of a list of architectures or mappings."""


def as_genomes(space: BaseSpace, architectures: Any) -> Genomes:
    """Return genomes (N, L) for genomes, a list of mappings, or a list of architectures.

    Raises
    ------
    InputError
        A genome is out of range, or something is no network of the space.
    """
    listed = isinstance(architectures, Sequence) and not isinstance(architectures, str)
    if listed and len(architectures) and isinstance(architectures[0], (Mapping, Arch, Network)):
        return np.stack([space.encode(one) for one in architectures])
    return space.check(architectures)


def checked(oracle: AccuracyOracle, genomes: Genomes) -> Prediction:
    """Return the oracle's prediction, if it is one.

    Raises
    ------
    InputError
        It has another length, is NaN or infinite, or the oracle failed.
    """
    try:
        prediction = oracle.predict(genomes)
    except RooflineError:
        raise
    except Exception as error:
        raise InputError(f"accuracy oracle {oracle.name!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(prediction, Prediction):
        raise InputError(f"accuracy oracle {oracle.name!r} must return a Prediction, got {type(prediction).__name__!r}")
    for what in ("mean", "half_width", "in_domain"):
        shape = np.shape(getattr(prediction, what))
        if shape != (len(genomes),):
            raise InputError(
                f"accuracy oracle {oracle.name!r}: {what} must have shape ({len(genomes)},), got {shape!r}"
            )
    bad = ~np.isfinite(prediction.mean)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"accuracy oracle {oracle.name!r} returned {prediction.mean[row]!r} for genome {genomes[row].tolist()!r}"
            f" (and {int(bad.sum()) - 1} more)"
        )
    return prediction


def written(mean: float, half_width: float, recipe: str, *, kind: str = "accuracy", in_domain: bool = True) -> str:
    """Return a figure with all that belongs to it.

    Examples
    --------
    >>> written(61.93, 0.75, "16-epoch proxy")
    '61.9 +- 0.8 (90 %, 16-epoch proxy)'
    """
    flag = "" if in_domain else ", out of domain"
    if kind == "score" or not np.isfinite(half_width):
        return f"{mean:.4g} (score{flag})"
    return f"{mean:.1f} +- {half_width:.1f} (90 %, {recipe}{flag})"
