"""The search: generations until the evaluations are spent, with a history to go on from, and baselines beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

from roofline.errors import InputError, nearest
from roofline.fingerprint import code_of
from roofline.search.accuracy.scores import Score
from roofline.search.evolution.aging import Aging, Random, State
from roofline.search.evolution.history import History, Keep
from roofline.search.evolution.nsga import Nsga2
from roofline.search.evolution.objective import Evaluation, Objective
from roofline.search.evolution.result import SearchResult
from roofline.search.space.base import BaseSpace

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


def evolve(
    space: BaseSpace,
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
        Raise where no candidate keeps the hard limits, instead of returning the closest.
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
        outcome = _run(engine, objective, seed, evaluations, kept, progress)
    finally:
        if kept is not None:
            kept.close()
    result = SearchResult(objective=objective, method=method, seed=seed, **outcome)
    return finished(result, engine, evaluations, baselines=baselines, strict=strict)


def check_start(space: BaseSpace, objective: Objective, seed: int) -> None:
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
        raise InputError(result.empty)
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
                if kept:
                    kept.write()  # belongs to the seconds that are told
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
    rate = (state.evaluations - start) / seconds if seconds else 0.0
    networks = {"best": state.best, "archive": state.archive, "curve": tuple(curve)}
    counts = {"evaluations": state.evaluations, "generations": state.generation, "rate_per_s": rate}
    return networks | counts | {"seconds": seconds, "interrupted": interrupted}


def _baselines(engine: Method, objective: Objective, seed: int, evaluations: int) -> dict[str, Evaluation]:
    """Return the best of random search and of a search that sees parameters only, both judged by the objective."""
    others = {"random": _run(Random(), objective, seed, evaluations, None, None)["best"]}
    if objective.accuracy.kind == "accuracy" and objective.minimise is None:
        blind = replace(objective, accuracy=Score("params", objective.oracle), min_accuracy=None)
        best = _run(engine, blind, seed, evaluations, None, None)["best"]
        others["params only"] = objective.evaluate(best.genomes)
    return others
