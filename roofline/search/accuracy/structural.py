"""Structural surrogate: accuracy from five counts of a network, for MBConv-like spaces that nobody has trained.

A quadratic in the logarithms of multiply-accumulates, parameters, activations, blocks and convolutions, fitted to
Accel-NASBench. It knows nothing of fused convolutions, reshaped stems or activation functions: a candidate with those
is scored as its plain twin, or is out of domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from roofline.errors import InputError
from roofline.numeric import Array
from roofline.reading import parse_json, read_text
from roofline.search.accuracy.linear import COVERAGES, folds, out_of_fold, ridge, told_of_fit
from roofline.search.accuracy.protocol import Prediction, as_genomes
from roofline.search.oracle.latency import Oracle
from roofline.search.space.base import BaseSpace
from roofline.search.space.genomes import Genomes
from roofline.search.space.spec import Space

DATA = Path(__file__).resolve().parent / "data"
COUNTS = ("macs", "params", "activations", "blocks", "convs")
PENALTY = 1e-3
FOLDS = 10
#: a candidate is in domain up to this quantile of the training networks' leverage
LEVERAGE_QUANTILE = 0.995


def features(counts: Mapping[str, Array], centre: Array, scale: Array) -> Array:
    """Return the 20 terms besides the intercept: standardised logarithms, their squares and products."""
    logs = (np.log(np.stack([counts[name] for name in COUNTS], axis=1)) - centre) / scale
    products = [logs[:, i] * logs[:, j] for i in range(len(COUNTS)) for j in range(i, len(COUNTS))]
    return np.hstack([logs, np.array(products).T])


def fit(space: BaseSpace, genomes: Genomes, accuracy: Array, *, recipe: str, source: str) -> dict[str, Any]:
    """Fit to trained networks of a space and return all that is shipped."""
    counts = Oracle(space, "tpu-v3").counts(genomes, COUNTS)
    logs = np.log(np.stack([counts[name] for name in COUNTS], axis=1))
    centre, scale = logs.mean(axis=0), logs.std(axis=0)
    x = features(counts, centre, scale)

    def learn(seen: Any) -> Any:
        weights, intercept = ridge(x[seen], accuracy[seen], PENALTY)
        return lambda rows: x[rows] @ weights + intercept

    predicted = out_of_fold(learn, folds(len(accuracy), FOLDS))
    weights, intercept = ridge(x, accuracy, PENALTY)
    mean = x.mean(axis=0)
    inverse = np.linalg.inv((x - mean).T @ (x - mean) + PENALTY * np.eye(x.shape[1]))
    about = {"model": "structural", "space": space.name, "recipe": recipe, "source": source, "counts": COUNTS}
    arrays = {"centre": centre, "scale": scale, "weights": weights, "mean": mean, "inverse": inverse}
    return {
        **about,
        **told_of_fit(predicted, accuracy, PENALTY, FOLDS),
        "intercept": intercept,
        **{name: array.tolist() for name, array in arrays.items()},
        "leverage": float(np.quantile(_leverage(x, mean, inverse), LEVERAGE_QUANTILE)),
    }


def _leverage(x: Array, mean: Array, inverse: Array) -> Array:
    centred = x - mean
    return np.asarray(np.sum((centred @ inverse) * centred, axis=1))


class Structural:
    """An accuracy oracle for any MBConv-like space.

    Parameters
    ----------
    oracle
        Counts the candidates; its space is the one that is asked about.
    twin
        Score every candidate as its plain twin (same stages, widths, kernels, expansion, squeeze-excite, input size;
        depthwise instead of fused, no reshaped stem, activation ignored), so that multiply-accumulates which are added
        for the hardware earn nothing. Without it, such candidates are out of domain.
    content
        What `fit` returns, or a JSON file of it.
    """

    kind: Literal["accuracy", "score"] = "accuracy"

    def __init__(
        self,
        oracle: Oracle,
        *,
        twin: bool = True,
        coverage: float = 0.9,
        content: Mapping[str, Any] | str | Path | None = None,
    ) -> None:
        self.space, self.oracle, self.twin = oracle.space, oracle, twin
        if isinstance(content, Mapping):
            fitted = content
        else:
            path = Path(content or DATA / "accel_nasbench_structural.json")
            fitted = parse_json(read_text(path), path.name)
        if coverage not in COVERAGES:
            raise InputError(f"coverage must be one of {', '.join(map(str, COVERAGES))}, got {coverage!r}")
        stages = self.space.stages if isinstance(self.space, Space) else ()
        known = [c for c in ("mbconv", "conv_to_batch", "mbconv_to_space") if any(c == t["block"] for t in stages)]
        if not known:
            raise InputError(
                f"the structural surrogate knows MBConv networks; space {self.space.name!r} has none: bring an accuracy"
                " oracle of your own, or order by a score"
            )
        self.name = "structural surrogate" + (" of the plain twin" if twin and self.space.twin else "")
        self.recipe, self.half_width = str(fitted["recipe"]), float(fitted["half_width"][f"{coverage:g}"])
        self.lowest, self.highest = float(fitted["lowest"]), float(fitted["highest"])
        self.tau, self.rmse, self.intercept = float(fitted["tau"]), float(fitted["rmse"]), float(fitted["intercept"])
        self._centre, self._scale, self._weights, self._mean, self._inverse = (
            np.array(fitted[k]) for k in ("centre", "scale", "weights", "mean", "inverse")
        )
        self._limit = float(fitted["leverage"])

    def predict(self, architectures: Any) -> Prediction:
        """Return top-1 accuracy [%], cut to that of the best network ever trained."""
        genomes = as_genomes(self.space, architectures)
        plain = np.ones(len(genomes), dtype=bool)
        if self.twin:
            genomes = self.space.to_twin(genomes)
        else:
            plain = self.space.is_twin(genomes)
        x = features(self.oracle.counts(genomes, COUNTS), self._centre, self._scale)
        raw = x @ self._weights + self.intercept
        near = _leverage(x, self._mean, self._inverse) <= self._limit
        return Prediction(
            mean=np.minimum(raw, self.highest),
            half_width=np.full(len(raw), self.half_width),
            in_domain=plain & near & (raw <= self.highest) & (raw >= self.lowest),
        )
