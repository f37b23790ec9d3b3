"""The history of a search: killed at any moment it goes on, and nothing that was written is lost."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from searching import OBJECTIVE, ORACLE, RIDGE, SMALL, SPACE, same

from roofline.errors import InputError
from roofline.search.evolution.evolve import evolve
from roofline.search.evolution.history import FILE, History
from roofline.search.evolution.objective import Objective


def test_a_history_goes_on_to_the_same_result(tmp_path: Path) -> None:
    """Stops fall between generations: 64 at first, then 16 each."""
    whole = evolve(SPACE, OBJECTIVE, evaluations=1008, seed=2, **SMALL)
    for spent in (64, 208, 560, 1008, 1008):
        part = evolve(SPACE, OBJECTIVE, evaluations=spent, seed=2, output=tmp_path, **SMALL)
        assert part.evaluations == spent
    same(whole, part)


SCRIPT = """
import sys, roofline as rf
from roofline.search.accuracy.pairwise import PairwiseRidge
oracle = rf.Oracle("accel-nasbench", "tpu-v3", batch=128)
objective = rf.Objective(oracle=oracle, accuracy=PairwiseRidge(), target_latency_s=6e-3)
def progress(state, seconds):
    if state.generation == int(sys.argv[3]):
        print("running", flush=True)
rf.evolve(oracle.space, objective, evaluations=int(sys.argv[2]), seed=2, output=sys.argv[1], history=sys.argv[4],
          progress=progress, population=64, batch=16, baselines=False)
"""


def started(folder: Path, evaluations: int, after: int, keep: str = "generations") -> subprocess.Popen[str]:
    words = [sys.executable, "-c", SCRIPT, str(folder), str(evaluations), str(after), keep]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "running\n"
    return process


def ended(process: subprocess.Popen[str]) -> None:
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_killed_at_any_moment_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    evaluations = 16_000
    for after, keep in ((3, "generations"), (60, "all")):
        folder = tmp_path / str(after)
        process = started(folder, evaluations, after, keep)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        ended(process)
    whole = evolve(SPACE, OBJECTIVE, evaluations=evaluations, seed=2, **SMALL)
    for after, keep in ((3, "generations"), (60, "all")):
        history: Any = keep
        resumed = evolve(
            SPACE, OBJECTIVE, evaluations=evaluations, seed=2, output=tmp_path / str(after), history=history, **SMALL
        )
        same(whole, resumed)
    with sqlite3.connect(tmp_path / "60" / "history.sqlite") as db:
        assert len(pd.read_sql("select * from evaluations", db)) == evaluations  # none lost, none twice
        generations = pd.read_sql("select * from generations order by generation", db)
    db.close()
    assert generations["best_fitness"].is_monotonic_increasing
    assert generations["evaluations"].iloc[-1] == evaluations


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_two_searches_do_not_share_a_folder(tmp_path: Path) -> None:
    process = started(tmp_path, 10_000_000, 2)
    try:
        with pytest.raises(InputError, match="another search is running"):
            evolve(SPACE, OBJECTIVE, evaluations=100, seed=2, output=tmp_path, **SMALL)
    finally:
        process.kill()
        ended(process)


def test_interrupted_it_keeps_what_it_has(tmp_path: Path) -> None:
    def stop(state: Any, seconds: float) -> None:
        if state.generation == 5:
            raise KeyboardInterrupt

    half = evolve(SPACE, OBJECTIVE, evaluations=1000, seed=2, output=tmp_path, progress=stop, **SMALL)
    assert half.interrupted and half.evaluations == 64 + 5 * 16
    same(
        evolve(SPACE, OBJECTIVE, evaluations=1000, seed=2, output=tmp_path, **SMALL),
        evolve(SPACE, OBJECTIVE, evaluations=1000, seed=2, **SMALL),
    )


def test_histories_of_other_searches_are_refused(tmp_path: Path) -> None:
    evolve(SPACE, OBJECTIVE, evaluations=100, seed=2, output=tmp_path, **SMALL)
    with pytest.raises(InputError, match="another search: seed differ"):
        evolve(SPACE, OBJECTIVE, evaluations=100, seed=3, output=tmp_path, **SMALL)
    other = Objective(oracle=ORACLE, accuracy=RIDGE, target_latency_s=5e-3)
    with pytest.raises(InputError, match="objective differ"):
        evolve(SPACE, other, evaluations=100, seed=2, output=tmp_path, **SMALL)
    with sqlite3.connect(tmp_path / "history.sqlite") as db:
        db.execute("update about set value = ? where key = 'format'", (json.dumps(99),))
    db.close()
    with pytest.raises(InputError, match="format differ"):
        evolve(SPACE, OBJECTIVE, evaluations=100, seed=2, output=tmp_path, **SMALL)


def test_a_file_that_is_no_history_is_refused(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite").write_bytes(b"x" * 4096)
    with pytest.raises(InputError, match="cannot write history"):
        evolve(SPACE, OBJECTIVE, evaluations=100, output=tmp_path, **SMALL)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write history"):
        evolve(SPACE, OBJECTIVE, evaluations=100, output=tmp_path / "file" / "x", **SMALL)


def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, spent = History.record, itertools.count()

    def full(self: History, *state: Any) -> None:
        if next(spent) == 4:
            pages = self._db.execute("pragma page_count").fetchone()[0]
            self._db.execute(f"pragma max_page_count = {pages}")
        record(self, *state)

    monkeypatch.setattr(History, "record", full)
    with pytest.raises(InputError, match=r"cannot write history .* full"):
        evolve(SPACE, OBJECTIVE, evaluations=4000, seed=2, output=tmp_path, history="all", **SMALL)
    monkeypatch.undo()
    same(
        evolve(SPACE, OBJECTIVE, evaluations=1000, seed=2, output=tmp_path, history="all", **SMALL),
        evolve(SPACE, OBJECTIVE, evaluations=1000, seed=2, **SMALL),
    )


@pytest.mark.parametrize(
    "change", ["update about set value = '\"x\"' where key = 'code'", "delete from about where key = 'code'"]
)
def test_histories_that_other_code_wrote_are_refused(tmp_path: Path, change: str) -> None:
    """Also those of version 0.1.0, which did not say what code wrote them."""
    evolve(SPACE, OBJECTIVE, evaluations=100, seed=2, output=tmp_path, **SMALL)
    with closing(sqlite3.connect(tmp_path / FILE)) as db, db:
        assert db.execute(change).rowcount == 1
    with pytest.raises(InputError, match="of other code: name another folder, or remove it"):
        evolve(SPACE, OBJECTIVE, evaluations=100, seed=3, output=tmp_path, **SMALL)
