"""A scheduler that dies takes nothing with it but its tasks: who waits for them is told, at whatever moment it dies."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from searching import OBJECTIVE, SPACE, same

from roofline.cluster.executors import LOST_S, executor
from roofline.cluster.islands import evolve_islands
from roofline.cluster.plan import Plan
from roofline.cluster.run import run_plan
from roofline.errors import InputError

distributed = pytest.importorskip("distributed", reason="the extra 'dask' is not installed")


@contextmanager
def cluster() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Yield the process of a scheduler that has a worker, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
    tools = {
        "dask_scheduler": ["--host", host, "--port", str(port)],
        "dask_worker": [f"tcp://{host}:{port}", "--nthreads", "1", "--no-nanny"],
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{name}", *words, "--no-dashboard"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, words in tools.items()
    ]
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((host, port)) == 0:
                    break
            time.sleep(0.05)
        yield processes[0], f"tcp://{host}:{port}"
    finally:
        for process in processes:
            process.kill()
            process.wait()


def epochs(path: Path) -> int:
    """Return how many epochs a search has written by now."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return int(db.execute("select count(*) from epochs").fetchone()[0])
    except sqlite3.Error:
        return 0


def dies_before_a_result_is_fetched(
    monkeypatch: pytest.MonkeyPatch, scheduler: subprocess.Popen[bytes], fetches: int
) -> None:
    """Kill the scheduler when the client knows that the last of some results is there, and does not have it yet."""
    fetch, left = distributed.Client._gather_remote, [fetches]

    async def dying(*args: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            scheduler.kill()
            scheduler.wait()
        return await fetch(*args)

    monkeypatch.setattr(distributed.Client, "_gather_remote", dying)


def test_a_search_ends_when_its_scheduler_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knobs: dict[str, Any] = {"islands": 1, "evaluations": 600, "epoch": 200, "population": 64, "batch": 16}
    knobs |= {"baselines": False}
    with cluster() as (scheduler, address):
        dies_before_a_result_is_fetched(monkeypatch, scheduler, fetches=2)
        with pytest.raises(InputError, match=r"the workers are gone .*: run it again to go on"):
            evolve_islands(SPACE, OBJECTIVE, scheduler=address, output=tmp_path, **knobs)
    again: list[float] = []
    found = evolve_islands(
        SPACE, OBJECTIVE, workers=0, output=tmp_path, progress=lambda states, _: again.append(len(states)), **knobs
    )
    assert len(again) == 2, "the first of three epochs was kept"
    same(evolve_islands(SPACE, OBJECTIVE, workers=0, **knobs), found)


def test_the_verb_ends_in_a_line_when_its_scheduler_dies(tmp_path: Path) -> None:
    words = ["search", "accel-nasbench", "--device", "tpu-v3", "--target-latency-ms", "6", "--islands", "2"]
    words += ["--evaluations", "3000000000", "--no-baselines", "--output", str(tmp_path)]
    with cluster() as (scheduler, address):
        command = [sys.executable, "-m", "roofline.cli", *words, "--scheduler", address]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not epochs(tmp_path / "islands.sqlite") and process.poll() is None:
            time.sleep(0.05)
        scheduler.kill()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2 and "run it again" in said and said.strip().count("\n") == 0, said


def test_a_sweep_ends_when_its_scheduler_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(models=("resnet-18",), devices=("v100",))
    with cluster() as (scheduler, address):
        dies_before_a_result_is_fetched(monkeypatch, scheduler, fetches=1)
        with pytest.raises(InputError, match=r"the workers are gone .*: run it again to go on"):
            run_plan(plan, tmp_path / "a.sqlite", scheduler=address)


def test_tasks_that_nobody_will_end_are_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster() as (scheduler, address), executor(scheduler=address) as (tasks, _):
        assert tasks.submit(os.getpid).result(60) != os.getpid(), "it runs elsewhere"
        with pytest.raises(FileNotFoundError, match="absent"):
            tasks.submit(open, "absent").result(60)
        # whatever Dask forgets: nobody tells the task that its scheduler is gone
        monkeypatch.setattr("distributed.client.FutureState.cancel", lambda *_, **__: None)
        waiting = tasks.submit(time.sleep, 600)
        scheduler.kill()
        began = time.monotonic()
        with pytest.raises(ConnectionError, match="scheduler"):
            waiting.result(60)
        assert time.monotonic() - began < LOST_S + 10
