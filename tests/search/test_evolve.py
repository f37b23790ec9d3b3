"""The search: textbook algorithm, seeds, resuming after a kill, constraints, and what a history must survive."""

from __future__ import annotations

import importlib
import json
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from searching import OBJECTIVE, ORACLE, RIDGE, SMALL, SPACE, same

import roofline as rf
from roofline.errors import InputError
from roofline.search.accuracy.adapters import FromFunction
from roofline.search.evolution.evolve import evolve
from roofline.search.evolution.objective import INFEASIBLE, Evaluation, Objective
from roofline.search.evolution.pareto import hypervolume, objectives, tie_groups, update
from roofline.search.evolution.result import winners
from roofline.search.evolution.save import save
from roofline.search.oracle.latency import Oracle
from roofline.stats import front

# the algorithm ------------------------------------------------------------------------


def test_batches_of_one_are_the_textbook_algorithm() -> None:
    """Real et al., algorithm 1, as a plain loop with a queue and the same random draws."""
    population, sample, evaluations, seed = 20, 5, 120, 3
    rng = np.random.default_rng(seed)
    first = SPACE.sample(population, rng)
    queue = deque((float(OBJECTIVE.evaluate(g[None]).fitness[0]), g) for g in first)
    everyone = list(queue)
    while len(everyone) < evaluations:
        drawn = rng.integers(0, population, size=(1, sample))[0]
        candidates = [queue[i] for i in drawn]
        parent = max(candidates, key=lambda pair: pair[0])  # max keeps the first of equals
        child = SPACE.mutate(parent[1][None], rng)[0]
        queue.append((float(OBJECTIVE.evaluate(child[None]).fitness[0]), child))
        everyone.append(queue[-1])
        queue.popleft()
    best = max(everyone, key=lambda pair: pair[0])
    found = evolve(
        SPACE,
        OBJECTIVE,
        evaluations=evaluations,
        seed=seed,
        population=population,
        batch=1,
        sample=sample,
        baselines=False,
    )
    assert found.best.fitness[0] == best[0]
    assert (found.best.genomes[0] == best[1]).all()


@pytest.mark.parametrize("method", ["aging", "pareto", "random"])
def test_the_same_seed_gives_the_same_result(method: str) -> None:
    knobs: dict[str, Any] = {"aging": {"population": 64, "batch": 16}, "pareto": {"population": 32}, "random": {}}[
        method
    ]
    if method == "pareto":
        pytest.importorskip("pymoo")
    run = [
        evolve(SPACE, OBJECTIVE, evaluations=600, seed=s, method=method, baselines=False, **knobs)  # type: ignore[arg-type]
        for s in (5, 5, 6)
    ]
    same(run[0], run[1])
    assert not np.array_equal(run[0].best.genomes, run[2].best.genomes)


def test_evolution_beats_random_search_and_the_parameter_count() -> None:
    found = evolve(SPACE, OBJECTIVE, evaluations=20_000, seed=1, population=256, batch=128)
    assert set(found.baselines) == {"random", "params only"}
    for other in found.baselines.values():
        assert found.best.fitness[0] > other.fitness[0]


def test_evolution_finds_the_best_of_a_space_that_can_be_enumerated() -> None:
    space = rf.search_space("vit").restricted({"image_size": [224], "patch": [16, 32]})
    oracle = Oracle(space, "v100", batch=8)
    score = FromFunction(space, lambda g: 1.0 + g.sum(axis=1), kind="score")
    objective = Objective(oracle=oracle, accuracy=score, target_latency_s=5e-3)
    everyone = objective.evaluate(np.concatenate(list(space.enumerate())))
    found = evolve(space, objective, evaluations=6000, population=200, batch=50, baselines=False)
    assert found.best.fitness[0] == everyone.fitness.max()


def test_pareto_search_reaches_a_larger_volume_than_random_search() -> None:
    pytest.importorskip("pymoo")
    volume = {}
    methods: tuple[Any, ...] = ("pareto", "random")
    for method in methods:
        found = evolve(SPACE, OBJECTIVE, evaluations=6000, method=method, baselines=False)
        assert found.archive is not None
        volume[method] = hypervolume(objectives(found.archive), np.array([0.05, -50.0]))
    assert volume["pareto"] > volume["random"]


def test_the_former_path_to_pymoo_warns_and_leads_to_the_same_problem() -> None:
    pytest.importorskip("pymoo")
    former = importlib.import_module("roofline.search.nsga")
    with pytest.warns(DeprecationWarning, match=r"import from roofline\.search\.evolution\.nsga"):
        problem = former.pymoo_problem(OBJECTIVE)
    out: dict[str, Any] = {}
    genomes = SPACE.sample(3)
    problem._evaluate(genomes.astype(float), out)
    np.testing.assert_array_equal(out["F"], objectives(OBJECTIVE.evaluate(genomes)))


# rewards and constraints -------------------------------------------------------------------


def test_rewards_are_those_of_the_papers() -> None:
    genomes = SPACE.sample(50)
    latency, accuracy = ORACLE.latency_s(genomes)[:, 0], RIDGE.predict(genomes).mean
    soft = Objective(oracle=ORACLE, accuracy=RIDGE, target_latency_s=6e-3, in_domain=False).evaluate(genomes)
    np.testing.assert_allclose(soft.fitness, accuracy * (latency / 6e-3) ** -0.07)
    latency_of = {"tpu-v3": 6e-3}
    two = Oracle(SPACE, ["tpu-v3", "v100"], batch=128)
    one_aimed = Objective(oracle=two, accuracy=RIDGE, target_latency_s=latency_of, in_domain=False)
    np.testing.assert_allclose(one_aimed.evaluate(genomes).fitness, soft.fitness)  # the other device has no target


def test_a_hard_target_is_a_limit_and_a_soft_one_is_not() -> None:
    genomes = SPACE.sample(50)
    latency, accuracy = ORACLE.latency_s(genomes)[:, 0], RIDGE.predict(genomes).mean
    target = float(np.sort(latency)[25])  # of one of them: equal keeps the limit
    about: dict[str, Any] = {"oracle": ORACLE, "accuracy": RIDGE, "in_domain": False}
    hard = Objective(target_latency_s=target, hard=True, **about).evaluate(genomes)
    np.testing.assert_array_equal(hard.violation <= 0, latency <= target)
    np.testing.assert_array_equal(hard.fitness[latency <= target], accuracy[latency <= target])
    just_below = Objective(target_latency_s=float(np.nextafter(target, 0)), hard=True, **about).evaluate(genomes)
    np.testing.assert_array_equal(just_below.violation > 0, latency >= target)
    both = Objective(target_latency_s=target, hard=True, max_latency_s=float(latency.min()), **about).evaluate(genomes)
    assert (both.violation <= 0).sum() == 1
    soft = Objective(target_latency_s=target, exponent=-1e-6, **about)  # next to no pull: accuracy alone
    found = evolve(SPACE, soft, evaluations=600, **SMALL)
    assert found.best.latency_s[0, 0] > target
    assert [(goal.kind, goal.met) for goal in found.goals] == [("soft", False)]


@pytest.mark.parametrize("method", ["aging", "pareto", "random"])
def test_no_winner_exceeds_a_hard_limit(method: Any, tmp_path: Path) -> None:
    if method == "pareto":
        pytest.importorskip("pymoo")
    limit = float(np.quantile(ORACLE.latency_s(SPACE.sample(500)), 0.2))
    objective = Objective(oracle=ORACLE, accuracy=RIDGE, target_latency_s=limit, hard=True, max_params=6e6)
    found = evolve(SPACE, objective, evaluations=1500, method=method, seed=3, baselines=False)
    save(found, tmp_path, plots=False)
    files = sorted((tmp_path / "architectures").iterdir())
    assert len(files) == len(winners(found)) > 1
    for file in files:
        report = rf.simulate(file, "tpu-v3", batch=128)
        assert report.latency_s <= limit and report.params <= 6e6
        assert "hard limit, latency on tpu-v3" in file.read_text() and "6 M: " in file.read_text()
    table = pd.read_csv(tmp_path / "pareto.csv")
    assert (table["latency_ms_tpu-v3"] <= table["hard_limit_ms_tpu-v3"]).all()
    assert "soft_target_ms_tpu-v3" not in table
    kinds = {(g["what"], g["kind"], g["met"]) for g in json.loads((tmp_path / "summary.json").read_text())["targets"]}
    assert kinds == {("latency", "hard", True), ("params", "hard", True)}


def test_an_empty_front_has_no_winner(tmp_path: Path) -> None:
    impossible = Objective(oracle=ORACLE, accuracy=RIDGE, target_latency_s=1e-9, hard=True)
    found = evolve(SPACE, impossible, evaluations=500, strict=False, **SMALL)
    save(found, tmp_path)
    assert not len(winners(found)) and not list((tmp_path / "architectures").iterdir())
    assert len((tmp_path / "pareto.csv").read_text().splitlines()) == 1  # the names of the columns
    assert not json.loads((tmp_path / "summary.json").read_text())["feasible"]


def test_constraints_hold_on_every_device() -> None:
    oracle = Oracle("accel-nasbench", ["tpu-v3", "v100"], batch=64)
    genomes = oracle.space.sample(2000)
    latency, memory = oracle.latency_s(genomes), oracle.peak_memory_bytes(genomes)
    counts = oracle.counts(genomes, ("macs", "params"))
    limits = {"tpu-v3": float(np.median(latency[:, 0])), "v100": float(np.median(latency[:, 1]))}
    objective = Objective(
        oracle=oracle,
        accuracy=RIDGE,
        max_latency_s=limits,
        max_macs=3e8,
        max_params=6e6,
        max_memory_bytes=5e8,
        in_domain=False,
    )
    wanted = (latency <= list(limits.values())).all(axis=1) & (memory <= 5e8).all(axis=1)
    wanted &= (counts["macs"] <= 3e8) & (counts["params"] <= 6e6)
    found = objective.evaluate(genomes)
    np.testing.assert_array_equal(found.violation <= 0, wanted)
    assert 0 < wanted.sum() < len(wanted)
    assert (found.fitness[wanted] > 0).all() and (found.fitness[~wanted] < INFEASIBLE).all()
    best = evolve(oracle.space, objective, evaluations=3000, **SMALL).best
    assert (best.latency_s[0] <= list(limits.values())).all()


def test_infeasible_constraints_name_the_closest() -> None:
    impossible = Objective(oracle=ORACLE, accuracy=RIDGE, max_latency_s=1e-9)
    with pytest.raises(
        InputError,
        match=r"front is empty: no candidate of 500 .* closest is [0-9a-z]{28}: latency on tpu-v3 .* where 0.000001",
    ):
        evolve(SPACE, impossible, evaluations=500, **SMALL)
    assert not evolve(SPACE, impossible, evaluations=500, strict=False, **SMALL).feasible


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluations": 0}, "at least 1"),
        ({"seed": -1}, "not negative"),
        ({"method": "annealing"}, "unknown method"),
        ({"batch": 100, "population": 50}, "exceeds the population"),
        ({"populatoin": 50}, "nearest: 'population'"),
        ({"sample": 0}, "at least 1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evolve(SPACE, OBJECTIVE, **{"evaluations": 100, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_latency_s": -1.0}, "must be positive"),
        ({"max_latency_s": {"v100": 1.0}}, "which the oracle lacks"),
        ({"max_macs": 0.0}, "must be positive"),
        ({"minimise": "time"}, "cannot minimise"),
        ({"hard": True}, "there is no target"),
        ({"hard": True, "target_latency_s": 1.0, "exponent": -1.0}, "no reward to raise to exponent -1.0"),
    ],
)
def test_bad_objectives_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Objective(oracle=ORACLE, accuracy=RIDGE, **options)
    with pytest.raises(InputError, match="latency oracle of"):
        Objective(oracle=Oracle("resnet", "v100"), accuracy=RIDGE)


# fronts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [2, 3])
def test_fronts_and_archives_are_what_comparing_all_pairs_finds(dimensions: int) -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(0, 12, size=(150, dimensions)).astype(float)
    unique = np.unique(points, axis=0)
    wanted = {tuple(p) for p in unique if not any((q <= p).all() and (q < p).any() for q in unique)}
    assert {tuple(p) for p in points[front(points)]} == wanted
    assert len(front(points)) == len(wanted)
    archive = None
    for part in np.array_split(np.arange(150), 7):
        p = points[part]
        n = len(p)
        archive = update(
            archive,
            Evaluation(
                genomes=np.zeros((n, 1), dtype=np.int8), latency_s=p[:, :-1], accuracy=-p[:, -1],
                half_width=np.zeros(n), in_domain=np.ones(n, dtype=bool), violation=np.zeros(n), fitness=np.zeros(n),
            ),
        )  # fmt: skip
    assert archive is not None and {tuple(p) for p in objectives(archive)} == wanted


def test_tie_groups_never_span_more_than_a_half_width() -> None:
    accuracy = np.random.default_rng(0).uniform(60, 67, 300)
    groups = tie_groups(accuracy, np.full(300, 0.75))
    for group in range(groups.max() + 1):
        assert np.ptp(accuracy[groups == group]) <= 0.75
        if group:
            assert accuracy[groups == group].max() < accuracy[groups == group - 1].max() - 0.75


# what it leaves behind ----------------------------------------------------------------------


def test_results_are_written_and_simulate(tmp_path: Path) -> None:
    found = evolve(SPACE, OBJECTIVE, evaluations=500, seed=2, output=tmp_path, population=64, batch=16)
    save(found, tmp_path)
    table = pd.read_csv(tmp_path / "pareto.csv")
    assert table["latency_ms_tpu-v3"].is_monotonic_increasing and table["accuracy"].is_monotonic_increasing
    assert {"half_width_90", "in_domain", "oracle", "recipe", "tie_group"} <= set(table.columns)
    best = winners(found)
    report = rf.simulate(tmp_path / "architectures" / "winner-01.toml", "tpu-v3", batch=128)
    assert report.latency_s == pytest.approx(best.latency_s[0, 0], rel=1e-9)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert "+- 0.8 (90 %, 16-epoch proxy)" in summary["best"]["figure"]
    assert set(summary["baselines"]) == {"random", "params only"}
    for picture in ("convergence.png", "pareto.png"):
        assert (tmp_path / picture).stat().st_size > 5000
