"""What the tests of the search share: a small oracle, its objective, and the equality of results."""

from __future__ import annotations

from typing import Any

import numpy as np

from roofline.search.accuracy.pairwise import PairwiseRidge
from roofline.search.evolution.objective import Evaluation, Objective
from roofline.search.evolution.result import SearchResult
from roofline.search.oracle.latency import Oracle

ORACLE = Oracle("accel-nasbench", "tpu-v3", batch=128)
SPACE = ORACLE.space
RIDGE = PairwiseRidge()
OBJECTIVE = Objective(oracle=ORACLE, accuracy=RIDGE, target_latency_s=6e-3)
SMALL: dict[str, Any] = {"population": 64, "batch": 16, "baselines": False}


def same(a: SearchResult, b: SearchResult) -> None:
    assert (a.evaluations, a.generations, a.curve) == (b.evaluations, b.generations, b.curve)
    for x, y in ((a.best, b.best), (a.archive, b.archive)):
        assert x is not None and y is not None
        for name in Evaluation.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(x, name), getattr(y, name))
