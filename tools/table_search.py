"""Searches over a table of trained networks, and over the space around it: what each lost after so many evaluations.

The table is a sample of its space, and first the sample is the universe: an evaluation is a look-up, and a network that
is proposed stands for the nearest one in the table, in genes that differ. Then the space is, with a surrogate and an
oracle as its truth. Regret is the accuracy of the most accurate network within a limit on the latency less that of the
most accurate such network that was evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from roofline.numeric import Array
from roofline.search.accuracy.adapters import one_hot
from roofline.search.accuracy.protocol import AccuracyOracle
from roofline.search.evolution.aging import Aging
from roofline.search.evolution.nsga import Nsga2
from roofline.search.evolution.objective import INFEASIBLE, Evaluation, Objective
from roofline.search.evolution.pareto import extra
from roofline.search.oracle.latency import Oracle
from roofline.search.space.base import BaseSpace

Rows: TypeAlias = NDArray[np.int64]
#: (judge, evaluations, seed) -> what was asked is with the judge
Search: TypeAlias = Callable[[Any, int, int], None]
Runs: TypeAlias = "dict[str, list[list[Asked]]]"
#: random networks whose latencies say which limits let a share of the space through
SAMPLE = 20_000
#: evaluations after which regret is told; a network that is evaluated again counts again
BUDGETS = (100, 1_000, 10_000)
POPULATION = 64
#: children of a step of the aging search: few, as in the textbook
BATCH = 8
#: nearest networks that are the neighbours of one, as many as genes: a mutation is a draw among them
NEIGHBOURS = 28


@dataclass(frozen=True, eq=False)
class Universe:
    """N networks of a space: genomes (N, L), accuracies (N,) [%], latencies (N,)."""

    space: BaseSpace
    genomes: NDArray[np.int8]
    accuracy: Array
    latency_s: Array

    def __len__(self) -> int:
        """Return the number of networks."""
        return len(self.genomes)

    @cached_property
    def row_of(self) -> dict[bytes, int]:
        """Genome -> row."""
        return {genome.tobytes(): row for row, genome in enumerate(self.genomes)}

    @cached_property
    def _encoded(self) -> NDArray[np.float32]:
        return one_hot(self.space, self.genomes).astype(np.float32)

    @cached_property
    def neighbours(self) -> Rows:
        """The nearest rows of each row, (N, K)."""
        alike = self._encoded @ self._encoded.T
        np.fill_diagonal(alike, -1.0)
        return np.argsort(-alike, axis=1, kind="stable")[:, :NEIGHBOURS]

    def nearest(self, genomes: Any, rng: np.random.Generator) -> Rows:
        """Return the row of the nearest network to each genome; ties are drawn."""
        alike = one_hot(self.space, genomes).astype(np.float32) @ self._encoded.T
        return np.asarray((alike + rng.random(alike.shape, dtype=np.float32) * 0.5).argmax(axis=1), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Asked:
    """What a search evaluated, in order: latencies and accuracies, (E,)."""

    latency_s: Array
    accuracy: Array

    def regret(self, limit_s: float, best: float, worst: float, budgets: Sequence[int] = BUDGETS) -> list[float]:
        """Return what has been lost [percentage points] at each budget, of `best`.

        A search that has found nothing within the limit has what the worst network there has.
        """
        found = np.maximum.accumulate(np.where(self.latency_s <= limit_s, self.accuracy, worst))
        return [float(best - found[min(budget, len(found)) - 1]) for budget in budgets]


class _Neighbourhood:
    """The universe as the space of a search: what varies in it always lands on a row."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.int8]:
        return self.universe.genomes[rng.integers(0, len(self.universe), size=count)]

    def mutate(self, genomes: NDArray[np.int8], rng: np.random.Generator) -> NDArray[np.int8]:
        """Return a neighbour of each row, and of a genome that is none the nearest row of a mutation."""
        universe = self.universe
        rows = np.array([universe.row_of.get(genome.tobytes(), -1) for genome in genomes])
        moved = universe.neighbours[rows, rng.integers(0, NEIGHBOURS, size=len(rows))]
        if (between := rows < 0).any():
            moved[between] = universe.nearest(universe.space.mutate(genomes[between], rng), rng)
        return np.asarray(universe.genomes[moved])

    def crossover(self, a: Any, b: Any, rng: np.random.Generator) -> NDArray[np.int8]:
        return self.universe.space.crossover(a, b, rng)


class Judge(Protocol):
    """An objective that notes what it is asked."""

    asked: list[Evaluation]

    @property
    def space(self) -> Any:
        """What varies genomes."""

    def evaluate(self, genomes: Any) -> Evaluation:
        """Return genomes judged."""

    def neighbours(self, genome: Any) -> Any:
        """Return the genomes next to one."""

    def snapped(self, genomes: Any, rng: np.random.Generator) -> Any:
        """Return the nearest genomes that can be judged."""


def answers(judge: Judge) -> Asked:
    """Return all that a judge was asked, networks out of the surrogate's domain as not within any limit."""
    joined = Evaluation.join(judge.asked)
    return Asked(np.where(joined.in_domain, joined.latency_s[:, 0], np.inf), joined.accuracy)


class Looked:
    """Accuracy of rows, within a limit on the latency."""

    def __init__(self, universe: Universe, limit_s: float = np.inf) -> None:
        self.universe, self.limit_s = universe, limit_s
        self.space = _Neighbourhood(universe)
        self.asked: list[Evaluation] = []

    def evaluate(self, genomes: NDArray[np.int8]) -> Evaluation:
        """Return genomes of the universe judged."""
        rows = np.array([self.universe.row_of[genome.tobytes()] for genome in genomes])
        latency, accuracy = self.universe.latency_s[rows], self.universe.accuracy[rows]
        violation = np.maximum(latency / self.limit_s - 1.0, 0.0)
        self.asked.append(
            Evaluation(
                genomes=genomes,
                latency_s=latency[:, None],
                accuracy=accuracy,
                half_width=np.zeros(len(rows)),
                in_domain=np.ones(len(rows), dtype=bool),
                violation=violation,
                fitness=np.where(violation > 0, INFEASIBLE * (1.0 + violation), accuracy),
            )
        )
        return self.asked[-1]

    def neighbours(self, genome: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return the nearest genomes of the universe."""
        near = self.universe.neighbours[self.universe.row_of[genome.tobytes()]]
        return np.asarray(self.universe.genomes[near])

    def snapped(self, genomes: Any, rng: np.random.Generator) -> NDArray[np.int8]:
        """Return the nearest genomes of the universe."""
        return self.universe.genomes[self.universe.nearest(genomes, rng)]


class Predicted:
    """Any objective over a whole space."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.space = objective, objective.space
        self.asked: list[Evaluation] = []

    def evaluate(self, genomes: Any) -> Evaluation:
        """Return genomes judged."""
        self.asked.append(self.objective.evaluate(genomes))
        return self.asked[-1]

    def neighbours(self, genome: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return all genomes with one gene changed."""
        found = []
        for gene, size in enumerate(self.space.sizes):
            for value in range(size):
                if value != genome[gene]:
                    found.append(genome.copy())
                    found[-1][gene] = value
        return np.array(found)[self.space.valid(np.array(found))]

    def snapped(self, genomes: Any, rng: np.random.Generator) -> Any:
        """Return the genomes, random ones in place of those that are no network."""
        return np.where(self.space.valid(genomes)[:, None], genomes, self.space.sample(len(genomes), rng))


def draw(judge: Judge, evaluations: int, seed: int) -> None:
    """Evaluate networks at random."""
    judge.evaluate(judge.space.sample(evaluations, np.random.default_rng(seed)))


def stepped(engine: Any) -> Search:
    """Return a search of `roofline.search.evolution`."""

    def run(judge: Any, evaluations: int, seed: int) -> None:
        state, _ = engine.start(judge, seed, evaluations)
        while state.evaluations < evaluations:
            state, _ = engine.step(state, judge, evaluations)

    return run


def climb(judge: Judge, evaluations: int, seed: int) -> None:
    """Local search (White et al., arXiv 2004.08996): to the best neighbour while one is better, then from anew."""
    rng, spent = np.random.default_rng(seed), 0
    while spent < evaluations:
        here = judge.evaluate(judge.space.sample(1, rng))
        spent += 1
        while spent < evaluations:
            near = judge.evaluate(judge.neighbours(here.genomes[0])[: evaluations - spent])
            spent += len(near)
            best = near.take([int(near.fitness.argmax())])
            if best.fitness[0] <= here.fitness[0]:
                break
            here = best


def theirs(judge: Judge, evaluations: int, seed: int) -> None:
    """NSGA-II of pymoo with its own variation of integers, on latency and accuracy."""
    problem: Any = extra("pymoo.core.problem").Problem
    rng = np.random.default_rng(seed)
    last = np.array((judge.universe if isinstance(judge, Looked) else judge).space.sizes) - 1

    class Rounded(problem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(
                n_var=len(last), n_obj=2, n_ieq_constr=1, xl=np.zeros(len(last)), xu=last.astype(float), vtype=int
            )

        def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            found = judge.evaluate(judge.snapped(np.clip(np.rint(x), 0, last).astype(np.int8), rng))
            out["F"] = np.stack([found.latency_s[:, 0], -found.accuracy], axis=1)
            out["G"] = found.violation[:, None]

    rounding = extra("pymoo.operators.repair.rounding").RoundingRepair()
    algorithm = extra("pymoo.algorithms.moo.nsga2").NSGA2(
        pop_size=POPULATION,
        sampling=extra("pymoo.operators.sampling.rnd").IntegerRandomSampling(),
        crossover=extra("pymoo.operators.crossover.sbx").SBX(vtype=float, repair=rounding),
        mutation=extra("pymoo.operators.mutation.pm").PM(vtype=float, repair=rounding),
    )
    extra("pymoo.optimize").minimize(Rounded(), algorithm, ("n_eval", evaluations), seed=seed, verbose=False)


#: name -> (search, whether one run serves every limit: it looks for the whole front)
SEARCHES: dict[str, tuple[Search, bool]] = {
    "random": (draw, True),
    "aging evolution": (stepped(Aging(population=POPULATION, batch=BATCH)), False),
    "local search": (climb, False),
    "NSGA-II": (stepped(Nsga2(population=POPULATION)), True),
    "NSGA-II of pymoo": (theirs, True),
}


def available() -> dict[str, tuple[Search, bool]]:
    """Return the searches that can run here: NSGA-II sorts with pymoo, ours too."""
    return {n: search for n, search in SEARCHES.items() if "NSGA" not in n or find_spec("pymoo") is not None}


def runs(judge: Callable[[float], Judge], limits_s: Sequence[float], *, seeds: int, evaluations: int) -> Runs:
    """Return what each search asked, [seed][limit]; `judge` makes one for a limit, infinite for a whole front."""
    found: Runs = {}
    for name, (search, whole) in available().items():
        found[name] = []
        for seed in range(seeds):
            asked = []
            for limit in [np.inf] if whole else limits_s:
                search(one := judge(limit), evaluations, seed)
                asked.append(answers(one))
            found[name].append(asked * len(limits_s) if whole else asked)
    return found


def regrets(found: Runs, limits_s: Sequence[float], best: Sequence[float], worst: Sequence[float],
            budgets: Sequence[int] = BUDGETS) -> dict[str, Array]:  # fmt: skip
    """Return the regret of each search, (seeds, limits, budgets)."""
    ends = list(zip(limits_s, best, worst, strict=True))
    return {
        name: np.array([[a.regret(*end, budgets) for a, end in zip(row, ends, strict=True)] for row in rows])
        for name, rows in found.items()
    }


def in_table(universe: Universe, shares: Sequence[float], *, seeds: int, budgets: Sequence[int] = BUDGETS) -> Any:
    """Return the regret of each search over a table, against the best row within each limit."""
    limits = [float(x) for x in np.quantile(universe.latency_s, shares)]
    allowed = [universe.accuracy[universe.latency_s <= limit] for limit in limits]
    found = runs(lambda limit: Looked(universe, limit), limits, seeds=seeds, evaluations=max(budgets))
    return regrets(found, limits, [float(a.max()) for a in allowed], [float(a.min()) for a in allowed], budgets)


def in_space(oracle: Oracle, accuracy: AccuracyOracle, shares: Sequence[float], *, seeds: int, long: int,
             budgets: Sequence[int] = BUDGETS) -> Any:  # fmt: skip
    """Return the regret of each search over a space, against the best that any of them or a `long` one has found.

    Limits let through the given shares of random networks.
    """

    def judge(limit: float) -> Judge:
        bound = None if np.isinf(limit) else limit
        return Predicted(Objective(oracle=oracle, accuracy=accuracy, max_latency_s=bound))

    sample = judge(np.inf).evaluate(oracle.space.sample(SAMPLE, seed=0))
    limits = [float(x) for x in np.quantile(sample.latency_s[:, 0], shares)]
    found = runs(judge, limits, seeds=seeds, evaluations=max(budgets))
    best, worst = [], []
    for i, limit in enumerate(limits):
        stepped(Aging())(one := judge(limit), long, 0)
        tried = [answers(one), *(rows[i] for each in found.values() for rows in each)]
        best.append(max(float(a.accuracy[a.latency_s <= limit].max(initial=-np.inf)) for a in tried))
        worst.append(float(sample.accuracy[sample.latency_s[:, 0] <= limit].min()))
    return regrets(found, limits, best, worst, budgets)
