"""Islands: the result depends on the seed alone, a killed search goes on, and migration moves the best."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import ROOT
from searching import OBJECTIVE, SPACE, same

from roofline.cluster.islands import evolve_islands, migrate
from roofline.errors import InputError
from roofline.search.evolution.aging import Aging
from roofline.search.evolution.result import SearchResult

KNOBS: dict[str, Any] = {
    "islands": 3, "evaluations": 2000, "epoch": 200, "seed": 5, "population": 64, "batch": 16, "baselines": False,
}  # fmt: skip


def search(**more: Any) -> SearchResult:
    return evolve_islands(SPACE, OBJECTIVE, **{"workers": 0, **KNOBS, **more})


def test_workers_change_nothing() -> None:
    alone = search()
    assert alone.evaluations == 2000 and alone.best.fitness[0] == alone.curve[-1][1]
    with ThreadPoolExecutor(3) as threads:
        same(alone, search(executor=threads))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        same(alone, search(executor=processes))
    assert float(search(seed=6).best.fitness[0]) != float(alone.best.fitness[0]) or alone.curve != search(seed=6).curve


def test_one_island_without_migration_is_the_plain_search() -> None:
    from roofline.search.evolution.evolve import evolve

    seed = int(np.random.SeedSequence(5).generate_state(1, dtype=np.uint64)[0])
    one = search(islands=1, migrants=0, epoch=1024)
    plain = evolve(SPACE, OBJECTIVE, evaluations=2000, seed=seed, population=64, batch=16, baselines=False)
    np.testing.assert_array_equal(one.best.genomes, plain.best.genomes)
    assert one.evaluations == plain.evaluations == 2000


def test_the_best_of_each_island_replace_the_worst_of_the_next() -> None:
    states = [Aging(population=32, batch=8).start(OBJECTIVE, seed, 32)[0] for seed in range(3)]
    moved = migrate(states, 4)
    for i, (before, after) in enumerate(zip(states, moved, strict=True)):
        guests = np.sort(states[i - 1].population.fitness)[-4:]
        stayed = np.sort(before.population.fitness)[4:]
        np.testing.assert_array_equal(np.sort(after.population.fitness), np.sort(np.concatenate([stayed, guests])))
        assert after.evaluations == before.evaluations and after.best is before.best
    assert migrate(states[:1], 4) == states[:1]
    assert [s.population for s in migrate(states, 0)] == [s.population for s in states]


class Dying(Executor):
    """Loses its workers after some tasks."""

    def __init__(self, tasks: int) -> None:
        self.left = tasks

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("no workers")
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.parametrize("tasks", [0, 1, 4, 8, 11])
def test_lost_workers_lose_nothing_that_was_written(tmp_path: Path, tasks: int) -> None:
    with pytest.raises(InputError, match="run it again"):
        search(executor=Dying(tasks), output=tmp_path)
    same(search(), search(output=tmp_path))


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from test_islands import search
search(output=sys.argv[1], evaluations=30_000)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_killed_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    times = random.Random(3)
    words = [sys.executable, "-c", SCRIPT, str(tmp_path), str(ROOT / "tests" / "helpers")]
    for _ in range(2):
        process = subprocess.Popen(words)
        while not (tmp_path / "islands.sqlite").exists() and process.poll() is None:
            time.sleep(0.02)
        time.sleep(times.uniform(0.05, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
    same(search(evaluations=30_000), search(output=tmp_path, evaluations=30_000))


def test_histories_of_other_searches_are_refused(tmp_path: Path) -> None:
    search(output=tmp_path)
    with pytest.raises(InputError, match="another search: shares differ"):
        search(output=tmp_path, islands=2)
    with pytest.raises(InputError, match="another search: epoch differ"):
        search(output=tmp_path, epoch=100)


@pytest.mark.parametrize(
    "bad",
    [
        *({"islands": 0}, {"islands": 3000}, {"epoch": 0}, {"migrants": -1}, {"seed": -1}, {"evaluations": 0}),
        *({"workers": -1}, {"method": "x"}, {"bach": 3}),
    ],
)
def test_bad_values_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        search(**bad)
