"""Statistics against brute force: every pair counted, every rank looked up."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import stats
from roofline.errors import InputError

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=40)


def brute_tau(a: list[int], b: list[int]) -> float:
    concordant = discordant = x_ties = y_ties = 0
    for (x, y), (u, v) in itertools.combinations(list(zip(a, b, strict=True)), 2):
        sign = (x > u) - (x < u), (y > v) - (y < v)
        concordant += sign[0] * sign[1] > 0
        discordant += sign[0] * sign[1] < 0
        x_ties += sign[0] == 0
        y_ties += sign[1] == 0
    pairs = len(a) * (len(a) - 1) // 2
    scale = math.sqrt((pairs - x_ties) * (pairs - y_ties))
    return (concordant - discordant) / scale if scale else math.nan


@given(PAIRS)
def test_kendall_counts_every_pair(pairs: list[tuple[int, int]]) -> None:
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    assert stats.kendall_tau(a, b) == pytest.approx(brute_tau(a, b), abs=1e-12, nan_ok=True)


@given(PAIRS)
def test_ranks_are_the_mean_place_among_equals(pairs: list[tuple[int, int]]) -> None:
    values = [p[0] for p in pairs]
    expected = [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]
    assert stats.ranks(values).tolist() == expected


def test_scipy_agrees_where_it_is_installed() -> None:
    scipy_stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    rng = np.random.default_rng(0)
    a = rng.integers(0, 300, 3000)
    b = a + rng.integers(0, 400, 3000)
    assert stats.kendall_tau(a, b) == pytest.approx(scipy_stats.kendalltau(a, b).statistic, abs=1e-12)
    assert stats.spearman(a, b) == pytest.approx(scipy_stats.spearmanr(a, b).statistic, abs=1e-12)


def test_agreement_by_hand() -> None:
    found = stats.agreement([1.05, 0.7, 3.0, 8.8], [1.0, 1.0, 2.0, 8.0])  # errors +5 %, -30 %, +50 %, +10 %
    assert found.count == 4
    assert found.mape == pytest.approx((0.05 + 0.3 + 0.5 + 0.1) / 4)
    assert found.median == pytest.approx((0.1 + 0.3) / 2)
    assert found.bias == pytest.approx((0.05 + 0.1) / 2)
    ratios = (1.05 / 1.075, 0.7 / 1.075, 1.5 / 1.075, 1.1 / 1.075)  # each over the median ratio
    assert found.scaled == pytest.approx(sum(abs(r - 1) for r in ratios) / 4)
    assert (found.within_10, found.within_20) == (0.5, 0.5)
    assert found.tau == pytest.approx(5 / math.sqrt(6 * 5))  # six pairs, one tied in the measurement, none reversed


def test_a_constant_has_no_rank_correlation() -> None:
    found = stats.agreement([1.0, 1.0], [1.0, 2.0])
    assert math.isnan(found.tau) and math.isnan(found.spearman)


def test_conformal_quantile_covers_as_promised() -> None:
    rng = np.random.default_rng(1)
    covered = [float(rng.exponential()) <= stats.conformal_quantile(rng.exponential(size=29), 0.9) for _ in range(4000)]
    assert np.mean(covered) == pytest.approx(0.9, abs=0.015)  # 3 standard deviations of a coin with p = 0.9
    assert stats.conformal_quantile([5.0], 0.5) == 5.0


@pytest.mark.parametrize(
    ("predicted", "measured", "text"),
    [
        ([], [], "nothing to compare"),
        ([1.0], [1.0, 2.0], "1 predictions and 2 measurements"),
        ([1.0, float("nan")], [1.0, 1.0], "prediction must be positive and finite, number 2"),
        ([1.0, 1.0], [0.0, 1.0], "measurement must be positive and finite, number 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(predicted: list[float], measured: list[float], text: str) -> None:
    with pytest.raises(InputError, match=text):
        stats.agreement(predicted, measured)


@pytest.mark.parametrize("coverage", [0.0, 1.0, 90])
def test_coverage_is_a_share(coverage: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        stats.conformal_quantile([1.0], coverage)
