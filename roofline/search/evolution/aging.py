"""Regularised (aging) evolution, in batches (Real et al., arXiv 1802.01548): the oldest die, however good they are.

Each step draws B tournaments from the same population, appends the B mutated winners and drops the B oldest; B = 1 is
the textbook algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roofline.errors import InputError
from roofline.search.evolution.objective import Evaluation, Objective
from roofline.search.evolution.pareto import update


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """A search between two generations: all that the next one depends on. Steps return a new one.

    Attributes
    ----------
    population
        Judged, in the order of their places.
    head
        Place of the oldest: ages go round.
    random
        State of the random generator.
    best
        The candidate of highest fitness so far (one row).
    archive
        Feasible candidates that nobody beats in latency and accuracy.
    """

    population: Evaluation
    head: int
    random: dict[str, Any]
    best: Evaluation
    archive: Evaluation | None
    generation: int
    evaluations: int


@dataclass(frozen=True, kw_only=True)
class Aging:
    """The knobs of the aging search."""

    population: int = 1024
    batch: int = 512
    sample: int = 4

    def check(self) -> None:
        """Raise unless the numbers fit each other.

        Raises
        ------
        InputError
            A number is not positive, or a batch exceeds the population.
        """
        for name in ("population", "batch", "sample"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number, at least 1, got {value!r}")
        if self.batch > self.population:
            raise InputError(f"a batch of {self.batch} exceeds the population of {self.population}")

    def start(self, objective: Objective, seed: int, evaluations: int) -> tuple[State, Evaluation]:
        """Return a random population, and what was evaluated."""
        return begin(objective, seed, min(self.population, evaluations))

    def step(self, state: State, objective: Objective, evaluations: int) -> tuple[State, Evaluation]:
        """Return the state after at most `batch` children, and the children."""
        rng = restored(state.random)
        old = state.population
        count = min(self.batch, evaluations - state.evaluations, len(old))
        drawn = rng.integers(0, len(old), size=(count, self.sample))  # 0 is the oldest
        places = (state.head + drawn) % len(old)
        winners = places[np.arange(count), np.argmax(old.fitness[places], axis=1)]
        children = objective.evaluate(objective.space.mutate(old.genomes[winners], rng))
        population = _put(old, (state.head + np.arange(count)) % len(old), children)
        moved = replace(state, population=population, head=int((state.head + count) % len(old)))
        return advance(moved, children, rng), children


def _put(old: Evaluation, places: Any, children: Evaluation) -> Evaluation:
    fields = {}
    for name in Evaluation.__dataclass_fields__:
        column = getattr(old, name).copy()
        column[places] = getattr(children, name)
        fields[name] = column
    return Evaluation(**fields)


def begin(objective: Objective, seed: int, count: int) -> tuple[State, Evaluation]:
    """Return the state of a first population, `count` random genomes, and their evaluation."""
    rng = np.random.default_rng(seed)
    first = objective.evaluate(objective.space.sample(count, rng))
    state = State(
        population=first,
        head=0,
        random=dict(rng.bit_generator.state),
        best=first.take([int(np.argmax(first.fitness))]),
        archive=update(None, first),
        generation=0,
        evaluations=len(first),
    )
    return state, first


def advance(state: State, children: Evaluation, rng: np.random.Generator) -> State:
    """Return the state with a generation counted in: best so far, archive, numbers."""
    top = int(np.argmax(children.fitness))
    better = children.fitness[top] > state.best.fitness[0]
    return replace(
        state,
        random=dict(rng.bit_generator.state),
        best=children.take([top]) if better else state.best,
        archive=update(state.archive, children),
        generation=state.generation + 1,
        evaluations=state.evaluations + len(children),
    )


def restored(random: dict[str, Any]) -> np.random.Generator:
    """Return a generator that continues where another stood."""
    rng = np.random.default_rng(0)  # any seed: the state is what counts
    rng.bit_generator.state = random
    return rng


@dataclass(frozen=True, kw_only=True)
class Random:
    """Uniform sampling with the same accounts: what every search must beat."""

    batch: int = 8192

    def check(self) -> None:
        """Nothing to check."""

    def start(self, objective: Objective, seed: int, evaluations: int) -> tuple[State, Evaluation]:
        """Return a first random batch."""
        return begin(objective, seed, min(self.batch, evaluations))

    def step(self, state: State, objective: Objective, evaluations: int) -> tuple[State, Evaluation]:
        """Return the state after another batch."""
        rng = restored(state.random)
        count = min(self.batch, evaluations - state.evaluations)
        children = objective.evaluate(objective.space.sample(count, rng))
        return advance(state, children, rng), children
