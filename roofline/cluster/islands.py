"""A search on islands: populations that evolve apart on any workers, and send their best to a neighbour now and then.

An epoch of an island is a pure function of its state, and migration happens between epochs, when all islands are there:
the result depends on the seed and the number of islands, not on workers, their speed or their deaths.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from roofline.cluster.executors import executor as opened
from roofline.cluster.executors import lost, submit
from roofline.errors import InputError, RooflineError
from roofline.fingerprint import code_of
from roofline.numeric import whole_number
from roofline.search.evolution.aging import State
from roofline.search.evolution.database import Database, clear, transaction
from roofline.search.evolution.evolve import Method, check_start, engine_of, finished
from roofline.search.evolution.objective import Evaluation, Objective
from roofline.search.evolution.pareto import update
from roofline.search.evolution.result import SearchResult
from roofline.search.evolution.states import COLUMNS, pack, unpack
from roofline.search.space.base import BaseSpace

FILE, FORMAT = "islands.sqlite", 1
TABLES = f"""
create table if not exists islands (island integer primary key, epoch integer not null, {COLUMNS});
create table if not exists epochs (epoch integer primary key, evaluations integer not null, best_fitness real not null);
"""
MOST_ISLANDS = 4096
#: evaluations of an island between two migrations, and candidates that then move on
EPOCH, MIGRANTS = 16_384, 8
Progress = Callable[[Sequence[State], float], None]
Curve: TypeAlias = tuple[tuple[int, float], ...]


def evolve_islands(
    space: BaseSpace,
    objective: Objective,
    *,
    islands: int = 4,
    evaluations: int = 1_000_000,
    method: Literal["aging", "pareto", "random"] = "aging",
    seed: int = 0,
    epoch: int = EPOCH,
    migrants: int = MIGRANTS,
    output: str | Path | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    baselines: bool = True,
    progress: Progress | None = None,
    strict: bool = True,
    **knobs: Any,
) -> SearchResult:
    """Search a space on several islands; the same seed gives the same result whatever the workers.

    Parameters
    ----------
    space, objective, method, seed, baselines, strict, **knobs
        As `evolve`, for every island.
    islands
        Populations that evolve apart.
    evaluations
        Candidates judged in all, shared out among the islands.
    epoch, migrants
        Evaluations of an island between two migrations, and how many of its best then replace the worst of the next.
    output
        Folder of the history; a search that was killed there goes on, and ends as it would have.
    executor, workers, scheduler
        Any `concurrent.futures.Executor`; without one see `roofline.cluster.executors.executor`.
    progress
        Called after every epoch with all states and the seconds so far.

    Raises
    ------
    InputError
        A value is out of range, the folder is another search's, the workers were lost, or no candidate is feasible.
    """
    check_start(space, objective, seed)
    islands = whole_number(islands, "islands", most=MOST_ISLANDS)
    whole_number(evaluations, "evaluations", most=1 << 53)
    whole_number(epoch, "epoch", most=1 << 53)
    if isinstance(migrants, bool) or not isinstance(migrants, int) or migrants < 0:
        raise InputError(f"migrants must be a whole number, not negative, got {migrants!r}")
    if evaluations < islands:
        raise InputError(f"{evaluations} evaluations do not go round {islands} islands")
    engine = engine_of(method, knobs)
    shares = [evaluations // islands + (i < evaluations % islands) for i in range(islands)]
    code = code_of(engine, objective, objective.accuracy)
    about = {"format": FORMAT, "space": space.hash, "method": method, "seed": seed, "knobs": knobs, "shares": shares}
    about |= {"epoch": epoch, "migrants": migrants, "objective": objective.describe(), "code": code}
    kept = None if output is None else _History(Path(output), space, about)
    objective.oracle.build()
    try:
        run = _Run(
            engine=engine,
            objective=objective,
            seeds=np.random.SeedSequence(seed).generate_state(islands, dtype=np.uint64).tolist(),
            shares=shares,
            epoch=epoch,
            migrants=migrants,
            kept=kept,
            progress=progress,
        )
        if executor is not None:
            found = run.to_the_end(executor)
        else:
            with opened(workers, scheduler) as (ours, _):
                found = run.to_the_end(ours)
    finally:
        if kept is not None:
            kept.close()
    result = SearchResult(objective=objective, method=method, seed=seed, **found)
    return finished(result, engine, evaluations, baselines=baselines, strict=strict)


def advance(engine: Method, objective: Objective, state: State | int, share: int, until: int) -> State:
    """Return an island's state after its evaluations have reached `until`; a number is the seed of a new island."""
    if not isinstance(state, State):
        state, _ = engine.start(objective, state, min(share, until))
    while state.evaluations < until:
        state, _ = engine.step(state, objective, until)
    return state


def migrate(states: Sequence[State], migrants: int) -> list[State]:
    """Return the states after the best of each island have replaced the worst of the next, round a ring."""
    if len(states) < 2 or not migrants:
        return list(states)
    return [_settled(state, _emigrants(states[i - 1], migrants)) for i, state in enumerate(states)]


def _emigrants(state: State, count: int) -> Evaluation:
    """Return the best of an island, each genome once, the best ever among them."""
    joined = Evaluation.join([state.best, state.population])
    first = np.sort(np.unique(joined.genomes, axis=0, return_index=True)[1])
    best = joined.take(first)
    return best.take(np.argsort(-best.fitness, kind="stable")[:count])


def _settled(state: State, guests: Evaluation) -> State:
    old = state.population
    places = np.argsort(old.fitness, kind="stable")[: len(guests)]
    guests = guests.take(slice(0, len(places)))
    columns = {}
    for name in Evaluation.__dataclass_fields__:
        columns[name] = getattr(old, name).copy()
        columns[name][places] = getattr(guests, name)
    return replace(state, population=Evaluation(**columns))


class _History(Database):
    """The states of all islands after the last epoch, written together."""

    def __init__(self, folder: Path, space: BaseSpace, about: dict[str, Any]) -> None:
        self.space = space
        super().__init__(folder, FILE, TABLES, about)

    def load(self) -> tuple[int, list[State]] | None:
        with clear(self.folder, "read"):
            rows = self._db.execute("select epoch, numbers, arrays, digest from islands order by island").fetchall()
        return (int(rows[0][0]), [unpack(row[1:], self.space) for row in rows]) if rows else None

    def curve(self) -> Curve:
        found: Curve = ()
        with clear(self.folder, "read"):
            for spent, best in self._db.execute("select evaluations, best_fitness from epochs order by epoch"):
                found = _risen(found, int(spent), float(best))
        return found

    def record(self, epoch: int, states: Sequence[State]) -> None:
        rows = [(i, epoch, *pack(state)) for i, state in enumerate(states)]
        with clear(self.folder), transaction(self._db):
            self._db.executemany("insert or replace into islands values (?, ?, ?, ?, ?)", rows)
            self._db.execute("insert into epochs values (?, ?, ?)", (epoch, _spent(states), _best(states)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """Epochs until every island, begun from a seed of its own, has spent its share."""

    engine: Method
    objective: Objective
    seeds: Sequence[int]
    shares: list[int]
    epoch: int
    migrants: int
    kept: _History | None
    progress: Progress | None

    def to_the_end(self, executor: Executor) -> dict[str, Any]:
        began, done, interrupted = time.perf_counter(), 0, False
        found = self.kept.load() if self.kept else None
        states: list[State] | None = None
        if found is not None:
            done, states = found
        start = _spent(states) if states else 0
        curve = self.kept.curve() if self.kept else ()
        try:
            while states is None or any(s.evaluations < n for s, n in zip(states, self.shares, strict=True)):
                done += 1
                states = migrate(self._epoch(executor, states, done), self.migrants)
                if self.kept:
                    self.kept.record(done, states)
                curve = _risen(curve, _spent(states), _best(states))
                if self.progress:
                    self.progress(states, time.perf_counter() - began)
        except KeyboardInterrupt:
            if states is None:
                raise
            interrupted = True
        seconds = time.perf_counter() - began
        archive: Evaluation | None = None
        for state in states:
            if state.archive is not None:
                archive = update(archive, state.archive)
        spent, best = _spent(states), max(states, key=lambda s: float(s.best.fitness[0])).best
        rate = (spent - start) / seconds if seconds else 0.0
        counts = {"evaluations": spent, "generations": sum(s.generation for s in states), "rate_per_s": rate}
        networks = {"best": best, "archive": archive, "curve": curve}
        return networks | counts | {"seconds": seconds, "interrupted": interrupted}

    def _epoch(self, executor: Executor, states: list[State] | None, number: int) -> list[State]:
        begin: Sequence[State | int] = states if states is not None else self.seeds
        try:
            futures = [
                submit(executor, advance, self.engine, self.objective, state, share, min(share, number * self.epoch))
                for state, share in zip(begin, self.shares, strict=True)
            ]
            return [future.result() for future in futures]
        except RooflineError:
            raise
        except Exception as error:
            raise lost(error) from error


def _spent(states: Sequence[State]) -> int:
    return sum(state.evaluations for state in states)


def _best(states: Sequence[State]) -> float:
    return max(float(state.best.fitness[0]) for state in states)


def _risen(curve: Curve, spent: int, best: float) -> Curve:
    return curve if curve and best <= curve[-1][1] else (*curve, (spent, best))
