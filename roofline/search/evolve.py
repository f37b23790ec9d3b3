"""The search: generations until the evaluations are spent, with a history to go on from, and baselines beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from roofline.errors import InputError, nearest
from roofline.fingerprint import code_of
from roofline.search.accuracy.scores import Score
from roofline.search.aging import Aging, Random, State
from roofline.search.history import History, Keep
from roofline.search.nsga import Nsga2
from roofline.search.objective import Evaluation, Objective
from roofline.search.space import Space

if TYPE_CHECKING:
    import pandas as pd

METHODS: dict[str, type[Any]] = {"aging": Aging, "pareto": Nsga2, "random": Random}
Progress = Callable[[State, float], None]


class Method(Protocol):
    """How a search goes from one state to the next."""

    def check(self) -> None:
        """Raise unless the knobs fit each other."""

    def start(self, objective: Objective, seed: int, evaluations: int) -> tuple[State, Evaluation]:
        """Return the first state, and what was evaluated."""

    def step(self, state: State, objective: Objective, evaluations: int) -> tuple[State, Evaluation]:
        """Return the next state, and what was evaluated; never more than `evaluations` in all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    best
        The candidate of the highest reward (one row); check `feasible`.
    archive
        Feasible candidates that nobody beats in latency and accuracy, fastest first.
    curve
        (evaluations, best fitness) whenever it rose.
    seconds
        Of this process, baselines apart; 0 evaluations a second where everything was in the history.
    interrupted
        Ended before its evaluations were spent; the same call goes on from the history.
    baselines
        Name -> best candidate of another search with the same evaluations and objective: ``random``, ``params only``.
    """

    objective: Objective
    method: str
    seed: int
    best: Evaluation
    archive: Evaluation | None
    evaluations: int
    generations: int
    seconds: float
    rate_per_s: float
    curve: tuple[tuple[int, float], ...]
    interrupted: bool
    baselines: Mapping[str, Evaluation] = field(default_factory=dict)

    @property
    def feasible(self) -> bool:
        """Whether the best candidate meets every constraint."""
        return bool(self.best.violation[0] <= 0)

    def table(self) -> pd.DataFrame:
        """Return the best candidate and those of the baselines: accuracy with its error, latencies, counts, genome."""
        from roofline.search.result import result_table

        return result_table(self)


def evolve(
    space: Space,
    objective: Objective,
    *,
    evaluations: int = 100_000,
    method: Literal["aging", "pareto", "random"] = "aging",
    seed: int = 0,
    output: str | Path | None = None,
    history: Keep = "generations",
    baselines: bool = True,
    progress: Progress | None = None,
    strict: bool = True,
    **knobs: Any,
) -> SearchResult:
    """Search a space for the best candidates under an objective; the same seed gives the same result to the last bit.

    Parameters
    ----------
    space, objective
        What is searched for what; the objective's oracles are of this space.
    evaluations
        Candidates judged in all.
    method
        ``aging``: regularised evolution with the reward. ``pareto``: NSGA-II on latency and accuracy (extra `search`).
    output
        Folder of the history; a search that was killed there goes on, and ends as it would have.
    history
        ``generations``: a row for each; ``all``: every evaluation too.
    baselines
        Run random search, and the same search by parameter count, with as many evaluations.
    progress
        Called after every generation with the state and the seconds so far.
    strict
        Raise where no candidate meets the constraints, instead of returning the closest.
    **knobs
        population, batch, sample of `Aging`; population, crossover of `Nsga2`.

    Raises
    ------
    InputError
        A value is out of range, the folder is another search's, or no candidate is feasible: the message names the
        closest.
    """
    check_start(space, objective, seed)
    if isinstance(evaluations, bool) or not isinstance(evaluations, int) or evaluations < 1:
        raise InputError(f"evaluations must be a whole number, at least 1, got {evaluations!r}")
    engine = engine_of(method, knobs)
    kept = None
    if output is not None:
        about = {"space": space.hash, "method": method, "seed": seed, "knobs": knobs, "objective": objective.describe()}
        about["code"] = code_of(engine, objective, objective.accuracy)
        kept = History(Path(output), space, about, history)
    try:
        found = _run(engine, objective, seed, evaluations, kept, progress)
    finally:
        if kept is not None:
            kept.close()
    result = SearchResult(objective=objective, method=method, seed=seed, **found)
    return finished(result, engine, evaluations, baselines=baselines, strict=strict)


def check_start(space: Space, objective: Objective, seed: int) -> None:
    """Raise InputError unless the objective is of the space and the seed is a number that seeds."""
    if objective.space.hash != space.hash:
        raise InputError(f"the objective is of space {objective.space.name!r}, not of {space.name!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed must be a whole number, not negative, got {seed!r}")


def finished(result: SearchResult, engine: Method, evaluations: int, *, baselines: bool, strict: bool) -> SearchResult:
    """Return a result with its baselines, where they are wanted; arguments and errors as `evolve`."""
    objective = result.objective
    if baselines and not result.interrupted:
        try:
            result = replace(result, baselines=_baselines(engine, objective, result.seed, evaluations))
        except KeyboardInterrupt:
            result = replace(result, interrupted=True)
    if strict and not result.feasible and not result.interrupted:
        text = objective.closest(result.best)
        raise InputError(f"no candidate of {result.evaluations:,} meets the constraints; {text}")
    return result


def engine_of(method: str, knobs: Mapping[str, Any]) -> Method:
    """Return a method with its knobs, checked."""
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}{nearest(method, METHODS)}")
    known = METHODS[method].__dataclass_fields__
    for name in knobs:
        if name not in known:
            raise InputError(f"method {method!r} has no option {name!r}{nearest(name, known)}")
    engine: Method = METHODS[method](**knobs)
    engine.check()
    return engine


def _run(
    engine: Method, objective: Objective, seed: int, evaluations: int, kept: History | None, progress: Progress | None
) -> dict[str, Any]:
    objective.oracle.build()
    began, interrupted, start = time.perf_counter(), False, 0
    curve = kept.curve() if kept else []
    state = kept.load() if kept else None
    try:
        if state is None:
            state, children = engine.start(objective, seed, evaluations)
            if kept:
                kept.record(state, children)
        else:
            start = state.evaluations
        while True:
            if not curve or state.best.fitness[0] > curve[-1][1]:
                curve.append((state.evaluations, float(state.best.fitness[0])))
            if progress:
                progress(state, time.perf_counter() - began)
            if state.evaluations >= evaluations:
                break
            following, children = engine.step(state, objective, evaluations)
            if kept:
                kept.record(following, children)
            state = following
    except KeyboardInterrupt:
        if state is None:
            raise
        interrupted = True
    seconds = time.perf_counter() - began
    return {
        "best": state.best, "archive": state.archive, "evaluations": state.evaluations,
        "generations": state.generation, "seconds": seconds, "interrupted": interrupted, "curve": tuple(curve),
        "rate_per_s": (state.evaluations - start) / seconds if seconds else 0.0,
    }  # fmt: skip


def _baselines(engine: Method, objective: Objective, seed: int, evaluations: int) -> dict[str, Evaluation]:
    """Return the best of random search and of a search that sees parameters only, both judged by the objective."""
    found = {"random": _run(Random(), objective, seed, evaluations, None, None)["best"]}
    if objective.accuracy.kind == "accuracy" and objective.minimise is None:
        blind = replace(objective, accuracy=Score("params", objective.oracle), min_accuracy=None)
        best = _run(engine, blind, seed, evaluations, None, None)["best"]
        found["params only"] = objective.evaluate(best.genomes)
    return found
