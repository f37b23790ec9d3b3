"""Baselines: what orders candidates without any training. Scores, not accuracies: only their order means anything."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from roofline.errors import InputError, nearest
from roofline.search.accuracy.protocol import Prediction, as_genomes
from roofline.search.oracle.latency import Oracle

BASELINES = ("params", "macs", "entropy")


class Score:
    """Parameters, multiply-accumulates, or the entropy of convolutions (DeepMAD) as a score.

    Examples
    --------
    >>> score = Score("params", Oracle("accel-nasbench", "tpu-v3"))
    >>> score.kind, bool(np.isnan(score.predict(score.space.sample(1)).half_width[0]))
    ('score', True)
    """

    kind: Literal["accuracy", "score"] = "score"
    recipe = "none"

    def __init__(self, name: str, oracle: Oracle) -> None:
        if name not in BASELINES:
            raise InputError(f"unknown baseline {name!r}{nearest(name, BASELINES)}")
        self.name, self.oracle, self.space = f"{name} only", oracle, oracle.space
        self._count = name

    def predict(self, architectures: Any) -> Prediction:
        """Return the score; nothing is known of its error."""
        genomes = as_genomes(self.space, architectures)
        values = self.oracle.counts(genomes, (self._count,))[self._count]
        return Prediction(
            mean=values, half_width=np.full(len(values), np.nan), in_domain=np.zeros(len(values), dtype=bool)
        )
