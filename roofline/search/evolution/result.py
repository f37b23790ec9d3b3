"""What a search found, as a value, as rows and as one table; figures are never bare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.search.accuracy.protocol import written
from roofline.search.evolution.goals import Goal, as_rows
from roofline.search.evolution.objective import Evaluation, Objective
from roofline.search.evolution.pareto import tie_groups
from roofline.text import words

if TYPE_CHECKING:
    import pandas as pd

#: winners whose architecture files are written
WINNERS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    best
        The candidate of the highest reward (one row); where not `feasible`, the one closest to the hard limits.
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
        """Whether the best candidate keeps every hard limit."""
        return bool(self.best.violation[0] <= 0)

    @property
    def goals(self) -> list[Goal]:
        """Soft targets and hard limits beside what the best candidate reaches."""
        return self.objective.goals(self.best)

    @property
    def empty(self) -> str:
        """What to say of a front that is empty: how many were judged, and the closest."""
        closest = self.objective.closest(self.best)
        return f"the front is empty: no candidate of {self.evaluations:,} keeps the hard limits; {closest}"

    def table(self) -> pd.DataFrame:
        """Return the best candidate and those of the baselines: accuracy with its error, latencies, counts, genome."""
        import pandas as pd

        objective, table = self.objective, []
        for name, candidate in {"best": self.best, **self.baselines}.items():
            one = rows(objective, candidate)[0]
            latency = {f"{device} ms": one[f"latency_ms_{device}"] for device in objective.oracle.devices}
            counts = {"GMACs": one["macs"] / 1e9, "M params": one["params"] / 1e6, "genome": one["genome"]}
            head = {"search": name, "accuracy": figure(objective, candidate), "feasible": one["feasible"]}
            table.append(head | latency | counts)
        return pd.DataFrame(table)


def rows(objective: Objective, candidates: Evaluation) -> list[dict[str, Any]]:
    """Return one flat row per candidate: genome, accuracy with all that belongs to it, latencies, counts, choices.

    Soft targets and hard limits of latencies stand beside these, under names that say which they are.
    """
    space, oracle = objective.space, objective.oracle
    if not len(candidates):
        return []
    counts = oracle.counts(candidates.genomes, ("macs", "params"))
    asked = {"soft_target": objective.soft_targets_s, "hard_limit": objective.hard_limits_s}
    wanted = {
        f"{kind}_ms_{device}": float(values[d] * 1e3)
        for kind, values in asked.items()
        for d, device in enumerate(oracle.devices)
        if values is not None and np.isfinite(values[d])
    }
    groups = tie_groups(candidates.accuracy, candidates.half_width)
    result = []
    for i, genome in enumerate(candidates.genomes):
        row: dict[str, Any] = {"genome": space.text(genome), "accuracy": float(candidates.accuracy[i])}
        row |= {"half_width_90": float(candidates.half_width[i]), "in_domain": bool(candidates.in_domain[i])}
        row |= {"tie_group": int(groups[i]), "oracle": objective.accuracy.name, "recipe": objective.accuracy.recipe}
        row |= {"feasible": bool(candidates.violation[i] <= 0)} | {n: float(counts[n][i]) for n in ("macs", "params")}
        row |= {
            f"latency_ms_{device}": float(candidates.latency_s[i, d] * 1e3) for d, device in enumerate(oracle.devices)
        }
        result.append(row | wanted | space.mapping(genome))
    return result


def figure(objective: Objective, candidates: Evaluation, row: int = 0) -> str:
    """Return the accuracy of a candidate as it may be printed."""
    accuracy = objective.accuracy
    mean, half_width = float(candidates.accuracy[row]), float(candidates.half_width[row])
    in_domain = bool(candidates.in_domain[row])
    return written(mean, half_width, accuracy.recipe, kind=accuracy.kind, in_domain=in_domain)


def winners(result: SearchResult, number: int = WINNERS) -> Evaluation:
    """Return the best candidate, and after it those of the archive with the highest reward, each once.

    None exceeds a hard limit: where all candidates do, there is no winner.
    """
    if not result.feasible:
        return result.best.take([])
    if result.archive is None:
        return result.best
    joined = Evaluation.join([result.best, result.archive.take(np.argsort(-result.archive.fitness, kind="stable"))])
    first = np.sort(np.unique(joined.genomes, axis=0, return_index=True)[1])
    return joined.take(first[:number])


def summary(result: SearchResult) -> dict[str, Any]:
    """Return the search as one JSON-able table."""
    objective = result.objective
    one = rows(objective, result.best)[0]
    beside = {
        name: rows(objective, candidate)[0] | {"fitness": float(candidate.fitness[0])}
        for name, candidate in result.baselines.items()
    }
    told = words("method seed evaluations generations seconds rate_per_s interrupted feasible")
    return {
        "space": objective.space.name,
        **{name: getattr(result, name) for name in told},
        "best": one | {"fitness": float(result.best.fitness[0]), "figure": figure(objective, result.best)},
        "archive": 0 if result.archive is None else len(result.archive),
        "targets": as_rows(result.goals),
        "baselines": beside,
        "objective": objective.describe(),
    }
