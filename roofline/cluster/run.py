"""Running a plan: units to an executor, rows to a store as they come, and on from there after any kill."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline.cluster.executors import executor as opened
from roofline.cluster.executors import lost, submit
from roofline.cluster.networks import Unit
from roofline.cluster.plan import Plan, load_plan, units_of
from roofline.cluster.store import Store, open_store
from roofline.cluster.work import Row, failed, rows
from roofline.errors import InputError, RooflineError
from roofline.text import counted

if TYPE_CHECKING:
    import pandas as pd

#: units in flight per worker: one that runs and one that waits
AHEAD = 2
#: done, all, seconds since the start, units computed by this process
Progress = Callable[[int, int, float, int], None]


def run_plan(
    plan: Plan | str | Path,
    output: str | Path,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Run a sweep; one that was killed goes on where its results end, and ends as it would have.

    Parameters
    ----------
    plan
        A `Plan`, or its TOML file.
    output
        ``.sqlite``, or a folder ``.parquet``: filled as results come.
    executor
        Any `concurrent.futures.Executor`; its workers import this package.
    workers, scheduler
        Without one: see `roofline.cluster.executors.executor`.
    progress
        Called after every unit.
    notice
        Called with a line where results are computed again: what they depend on has changed since, or they have.

    Returns
    -------
    DataFrame
        A row per run, by unit and point; `error` says why one has no latency.

    Raises
    ------
    InputError
        The plan names nothing, the output is another plan's or in use, the workers were lost, or the results are not
        complete: what was computed is kept, and the same call goes on.
    """
    plan = plan if isinstance(plan, Plan) else load_plan(plan)
    units = units_of(plan)
    failed(plan, units[0], "")  # devices, options and fields are checked before anything is opened
    store = open_store(output, plan)
    try:
        if store.dropped and notice:
            notice(f"{counted(store.dropped, 'network')} computed again: files, code or results changed since")
        done = store.done()
        todo = [unit for unit in units if unit.key not in done]
        if executor is not None:
            _run(plan, todo, len(units), store, executor, workers or 1, progress)
        elif todo:
            with opened(workers, scheduler) as (found, width):
                _run(plan, todo, len(units), store, found, width, progress)
        if missing := len(units) - len(store.done()):
            raise InputError(f"{str(output)!r} lacks {counted(missing, 'network')} of the plan: run it again to go on")
        return store.frame()
    finally:
        store.close()


def _run(
    plan: Plan, todo: list[Unit], total: int, store: Store, executor: Executor, width: int, progress: Progress | None
) -> None:
    began, waiting, running = time.monotonic(), iter(todo), dict[Future[list[Row]], Unit]()
    finished = 0
    while True:
        for unit in waiting:
            running[_submitted(executor, plan, unit)] = unit
            if len(running) >= AHEAD * width:
                break
        if not running:
            return
        ready, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ready:
            unit = running.pop(future)
            store.add(unit.key, _result(future, plan, unit))
            finished += 1
            if progress:
                progress(total - len(todo) + finished, total, time.monotonic() - began, finished)


def _submitted(executor: Executor, plan: Plan, unit: Unit) -> Future[list[Row]]:
    try:
        return submit(executor, rows, plan, unit)
    except (RuntimeError, OSError) as error:
        raise lost(error) from None


def _result(future: Future[list[Row]], plan: Plan, unit: Unit) -> list[Row]:
    try:
        return future.result()
    except RooflineError:
        raise
    except (CancelledError, OSError) as error:
        raise lost(error) from None
    except Exception as error:
        if type(error).__name__ != "KilledWorker":  # by name: Dask may not be there
            raise lost(error) from None
        why = "its worker was killed again and again: it may need more memory than there is"
        return failed(plan, unit, why)


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Return how many networks and runs there are, and how many failed, as one JSON-able table."""
    bad = frame["error"].notna()
    lost_networks = int((bad.groupby(frame["unit"]).all()).sum()) if len(frame) else 0
    found = {"networks": int(frame["unit"].nunique()), "runs": len(frame)}
    return found | {"failed_runs": int(bad.sum()), "failed_networks": lost_networks}
