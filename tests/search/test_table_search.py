"""Searches over a table: regret by hand and in closed form, neighbours by loops, and the page about them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import table_search
from pages import assert_up_to_date
from places import MEASUREMENTS, ROOT
from regret import FILLED, of_proxies, proxies
from regret import main as command
from table_search import NEIGHBOURS, Asked, Looked, Universe, answers, available, draw, in_space, in_table

import roofline as rf
from roofline.search.accuracy.adapters import FromFunction, read_table

SPACE = rf.search_space("accel-nasbench")
TABLE = MEASUREMENTS / "accel_nasbench.csv.gz"


@pytest.fixture(scope="module")
def universe() -> Universe:
    rng = np.random.default_rng(0)
    genomes = np.unique(SPACE.sample(150, seed=0), axis=0)
    return Universe(SPACE, genomes, rng.uniform(50, 70, len(genomes)), rng.uniform(1, 2, len(genomes)))


def test_regret_by_hand() -> None:
    asked = Asked(np.array([3.0, 1.0, 1.5, 1.0]), np.array([70.0, 60.0, 65.0, 64.0]))
    # the first is over the limit: charged the worst, 55; then 60, 65, and 64 is no better
    assert asked.regret(2.0, 66.0, 55.0, (1, 2, 3, 4, 99)) == [11.0, 6.0, 1.0, 1.0, 1.0]


def test_random_draws_lose_what_theory_says(universe: Universe) -> None:
    """Of n draws with replacement, all are at most the k-th smallest of N with chance (k / N)^n."""
    ordered, n, size, draws = np.sort(universe.accuracy), 20, len(universe), 400
    chance = np.diff((np.arange(size + 1) / size) ** n)
    wanted = ordered[-1] - (chance * ordered).sum()
    found = []
    for seed in range(draws):
        draw(judge := Looked(universe), n, seed)
        found += answers(judge).regret(np.inf, ordered[-1], ordered[0], (n,))
    assert abs(np.mean(found) - wanted) < 4 * np.std(found) / np.sqrt(draws)


def test_neighbours_are_the_nearest_by_loops(universe: Universe) -> None:
    apart = [[sum(a != b for a, b in zip(x, y, strict=True)) for y in universe.genomes] for x in universe.genomes[:20]]
    for row, distances in enumerate(apart):
        near = universe.neighbours[row]
        assert row not in near and len(set(near)) == NEIGHBOURS
        rest = [d for other, d in enumerate(distances) if other != row]
        assert sorted(distances[i] for i in near) == sorted(rest)[:NEIGHBOURS]


@pytest.mark.parametrize("name", list(available()))
def test_every_search_asks_as_often_as_told_and_ends_at_the_best(universe: Universe, name: str) -> None:
    search, whole = available()[name]
    limit = float(np.quantile(universe.latency_s, 0.5))
    search(judge := Looked(universe, np.inf if whole else limit), 3000, 0)
    asked, allowed = answers(judge), universe.accuracy[universe.latency_s <= limit]
    assert len(asked.accuracy) == 3000 or (name == "NSGA-II of pymoo" and 3000 <= len(asked.accuracy) < 3100)
    first, last = asked.regret(limit, allowed.max(), allowed.min(), (1, 3000))
    assert last < first and last <= 1.0  # 20 points of accuracy, and each network seen 20 times


def test_without_pymoo_its_searches_are_left_out(monkeypatch: pytest.MonkeyPatch, universe: Universe) -> None:
    monkeypatch.setattr(table_search, "find_spec", lambda name: None)
    found = in_table(universe, (0.1, 0.5), seeds=2, budgets=(10, 100))
    assert set(found) == {"random", "aging evolution", "local search"}
    assert all(regret.shape == (2, 2, 2) and (np.diff(regret, axis=2) <= 0).all() for regret in found.values())


def test_regret_in_a_space_that_can_be_enumerated() -> None:
    space = rf.search_space("vit").restricted({"image_size": [224], "patch": [16, 32]})
    oracle = rf.Oracle(space, "v100")
    accuracy = FromFunction(space, lambda g: 50.0 + np.asarray(g).sum(axis=1))
    found = in_space(oracle, accuracy, (0.1, 0.5), seeds=1, long=20_000, budgets=(10, 4_000))
    everyone = np.concatenate(list(space.enumerate()))
    latency, top1 = oracle.latency_s(everyone)[:, 0], 50.0 + everyone.sum(axis=1)
    sample = np.quantile(oracle.latency_s(space.sample(table_search.SAMPLE, seed=0))[:, 0], (0.1, 0.5))
    drawn = space.sample(4_000, np.random.default_rng(0))
    times, points = oracle.latency_s(drawn)[:, 0], 50.0 + drawn.sum(axis=1)
    for i, limit in enumerate(sample):  # the best that is known is the best there is
        lost = top1[latency <= limit].max() - points[times <= limit].max()
        assert found["random"][0, i, 1] == pytest.approx(lost)
    assert (found["local search"][..., 1] <= found["local search"][..., 0]).all()


def test_proxies_by_hand() -> None:
    latency, accuracy = np.array([1.0, 2.0, 3.0, 4.0]), np.array([60.0, 61.0, 62.0, 63.0])
    itself = proxies(latency, accuracy, latency, (0.25, 0.5, 1.0))
    assert (itself["lost"], itself["most_lost"]) == (0.0, 0.0)
    # by 4, 3, 2, 1: within 2.5 (half of the networks) it first lets 4 and 3 through; no share of it keeps the limit,
    # so that the worst within is left: 60 where 61 was there
    backwards = proxies(latency, accuracy, -latency, (0.5,))
    assert backwards == {"broken": 1.0, "over": pytest.approx(60.0), "lost": 1.0, "most_lost": 1.0}


def test_the_page_is_made_by_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    text = (ROOT / "docs" / "compared.md").read_text(encoding="utf-8")
    assert [name for _, name, _ in FILLED.findall(text)] == ["table", "space", "proxies"]
    for name in available():
        assert len(re.findall(rf"\| {name} \|", text)) == 4  # two devices, in the table and in the space
    assert command([str(tmp_path / "missing.csv.gz"), "--page"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.skipif(not TABLE.is_file(), reason="the benchmark's table is not there")
def test_what_proxies_cost_is_as_the_page_says() -> None:
    text = (ROOT / "docs" / "compared.md").read_text(encoding="utf-8")
    shown = next(match[0] for match in FILLED.finditer(text) if match[2] == "proxies")
    now = of_proxies(*read_table(TABLE, SPACE))
    assert_up_to_date(shown.split("-->\n", 1)[1].rsplit("<!--", 1)[0].strip(), now, "tools/regret.py TABLE --page")
