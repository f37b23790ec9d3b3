"""Multi-objective Pareto search: NSGA-II (Deb et al., 2002) with pymoo's survival, variation by the space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError
from roofline.numeric import Array
from roofline.search.evolution.aging import State, advance, begin, restored
from roofline.search.evolution.objective import Evaluation, Objective
from roofline.search.evolution.pareto import extra, objectives


@dataclass(frozen=True, kw_only=True)
class Nsga2:
    """Latency on every device against accuracy: survivors are the first fronts, and of the last the least crowded."""

    population: int = 256
    crossover: float = 0.9

    def check(self) -> None:
        """Raise unless the numbers are possible and pymoo is there.

        Raises
        ------
        InputError
            They are not.
        """
        if isinstance(self.population, bool) or not isinstance(self.population, int) or self.population < 4:
            raise InputError(f"population must be a whole number, at least 4, got {self.population!r}")
        extra("pymoo")

    def start(self, objective: Objective, seed: int, evaluations: int) -> tuple[State, Evaluation]:
        """Return a random population."""
        return begin(objective, seed, min(self.population, evaluations))

    def step(self, state: State, objective: Objective, evaluations: int) -> tuple[State, Evaluation]:
        """Return the state after one generation, and its children."""
        rng, space, old = restored(state.random), objective.space, state.population
        count = min(self.population, evaluations - state.evaluations)
        rank, crowding = ranked(old)
        pairs = rng.integers(0, len(old), size=(2 * count, 2))
        a, b = pairs.T
        first_wins = (rank[a] < rank[b]) | ((rank[a] == rank[b]) & (crowding[a] >= crowding[b]))
        parents = old.genomes[np.where(first_wins, a, b)]
        mated = space.crossover(parents[:count], parents[count:], rng)
        mixed = np.where(rng.random(count)[:, None] < self.crossover, mated, parents[:count])
        children = objective.evaluate(space.mutate(mixed, rng))
        joined = Evaluation.join([old, children])
        joined = joined.take(np.sort(np.unique(joined.genomes, axis=0, return_index=True)[1]))
        rank, crowding = ranked(joined)
        kept = joined.take(np.lexsort((-crowding, rank))[: self.population])
        return advance(replace(state, population=kept), children, rng), children


def ranked(population: Evaluation) -> tuple[NDArray[np.int64], Array]:
    """Return front number and crowding distance of each; infeasible candidates follow, the farther off the later."""
    sorting = extra("pymoo.util.nds.non_dominated_sorting").NonDominatedSorting()
    crowd = extra("pymoo.operators.survival.rank_and_crowding.metrics").get_crowding_function("cd")
    rank, crowding = np.zeros(len(population), dtype=np.int64), np.zeros(len(population))
    feasible = np.flatnonzero(population.violation <= 0)
    points, number = objectives(population)[feasible], 0
    if len(feasible):
        for number, members in enumerate(sorting.do(points), 1):
            rank[feasible[members]] = number - 1
            crowding[feasible[members]] = crowd.do(points[members])
    rest = np.flatnonzero(population.violation > 0)
    _, order = np.unique(population.violation[rest], return_inverse=True)
    rank[rest] = number + order
    return rank, crowding


def pymoo_problem(objective: Objective) -> Any:
    """Return the objective as a vectorised pymoo problem over integers, for any of its algorithms.

    Objectives: latency on every device [s], minus the accuracy; one constraint, the violation.
    """
    problem: Any = extra("pymoo.core.problem").Problem
    space = objective.space

    class SpaceProblem(problem):  # type: ignore[misc]
        def __init__(self) -> None:
            objectives, last = len(objective.oracle.devices) + 1, np.array(space.sizes) - 1.0
            super().__init__(
                n_var=space.length, n_obj=objectives, n_ieq_constr=1, xl=np.zeros(space.length), xu=last, vtype=int
            )

        def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            genomes = np.clip(np.rint(x), 0, np.array(space.sizes) - 1).astype(np.int8)
            valid = space.valid(genomes)
            safe = np.where(valid[:, None], genomes, space.sample(1)[0])
            evaluation = objective.evaluate(safe)
            out["F"], out["G"] = objectives(evaluation), (evaluation.violation + ~valid)[:, None]

    return SpaceProblem()
