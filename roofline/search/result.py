"""What a search leaves behind: a Pareto table, architecture files of the winners, plots, and figures never bare."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.files import atomic
from roofline.search.accuracy.protocol import written
from roofline.search.archfile import write_arch
from roofline.search.evolve import SearchResult
from roofline.search.objective import Evaluation, Objective
from roofline.search.pareto import tie_groups

if TYPE_CHECKING:
    import pandas as pd

#: winners whose architecture files are written
WINNERS = 10


def rows(objective: Objective, found: Evaluation) -> list[dict[str, Any]]:
    """Return one flat row per candidate: genome, accuracy with all that belongs to it, latencies, counts, choices."""
    space, oracle = objective.space, objective.oracle
    if not len(found):
        return []
    counts = oracle.counts(found.genomes, ("macs", "params"))
    groups = tie_groups(found.accuracy, found.half_width)
    result = []
    for i, genome in enumerate(found.genomes):
        row: dict[str, Any] = {
            "genome": space.text(genome), "accuracy": float(found.accuracy[i]),
            "half_width_90": float(found.half_width[i]), "in_domain": bool(found.in_domain[i]),
            "tie_group": int(groups[i]), "oracle": objective.accuracy.name, "recipe": objective.accuracy.recipe,
            "feasible": bool(found.violation[i] <= 0), "macs": float(counts["macs"][i]),
            "params": float(counts["params"][i]),
        }  # fmt: skip
        row |= {f"latency_ms_{device}": float(found.latency_s[i, d] * 1e3) for d, device in enumerate(oracle.devices)}
        result.append(row | space.mapping(genome))
    return result


def figure(objective: Objective, found: Evaluation, row: int = 0) -> str:
    """Return the accuracy of a candidate as it may be printed."""
    accuracy = objective.accuracy
    return written(
        float(found.accuracy[row]), float(found.half_width[row]), accuracy.recipe, kind=accuracy.kind,
        in_domain=bool(found.in_domain[row]),
    )  # fmt: skip


def result_table(result: SearchResult) -> pd.DataFrame:
    """Return a row for the best candidate and for each baseline; see `SearchResult.table`."""
    import pandas as pd

    objective = result.objective
    found = []
    for name, candidate in {"best": result.best, **result.baselines}.items():
        one = rows(objective, candidate)[0]
        latency = {f"{device} ms": one[f"latency_ms_{device}"] for device in objective.oracle.devices}
        counts = {"GMACs": one["macs"] / 1e9, "M params": one["params"] / 1e6, "genome": one["genome"]}
        head = {"search": name, "accuracy": figure(objective, candidate), "feasible": one["feasible"]}
        found.append(head | latency | counts)
    return pd.DataFrame(found)


def winners(result: SearchResult, number: int = WINNERS) -> Evaluation:
    """Return the best candidate, and after it those of the archive with the highest reward, each once."""
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
        name: rows(objective, found)[0] | {"fitness": float(found.fitness[0])}
        for name, found in result.baselines.items()
    }
    return {
        "space": objective.space.name, "method": result.method, "seed": result.seed,
        "evaluations": result.evaluations, "generations": result.generations, "seconds": result.seconds,
        "rate_per_s": result.rate_per_s, "interrupted": result.interrupted, "feasible": result.feasible,
        "best": one | {"fitness": float(result.best.fitness[0]), "figure": figure(objective, result.best)},
        "archive": 0 if result.archive is None else len(result.archive), "baselines": beside,
        "objective": objective.describe(),
    }  # fmt: skip


def save(result: SearchResult, folder: str | Path, *, plots: bool = True) -> list[Path]:
    """Write ``pareto.csv``, ``summary.json``, ``architectures/winner-NN.toml``, ``convergence.png`` and ``pareto.png``.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    folder = Path(folder)
    objective, made = result.objective, []
    archive = result.best if result.archive is None else result.archive
    made += write_tables(folder, "pareto.csv", rows(objective, archive), summary(result))
    found = winners(result)
    for i in range(len(found)):
        name = f"winner-{i + 1:02d}"
        arch = objective.space.decode(found.genomes[i], name=name)
        note = f"roofline search, space {objective.space.name}, seed {result.seed}: {figure(objective, found, i)}"
        made.append(write_arch(arch, folder / "architectures" / f"{name}.toml", note))
    if plots:
        from roofline.search.plots import plot_convergence, plot_pareto

        plot_convergence(result, path=folder / "convergence.png")
        plot_pareto(result, path=folder / "pareto.png")
        made += [folder / "convergence.png", folder / "pareto.png"]
    return made


def write_tables(folder: Path, name: str, table: list[dict[str, Any]], about: Mapping[str, Any]) -> list[Path]:
    """Write rows as CSV and a summary as ``summary.json`` into a folder with room for architectures.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    try:
        (folder / "architectures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {str(folder)!r}: {error.strerror or error}") from None
    made = [folder / name, folder / "summary.json"]
    with atomic(made[0]) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    with atomic(made[1]) as temporary:
        temporary.write_text(json.dumps(finite(about), indent=1) + "\n", encoding="utf-8")
    return made


def finite(value: Any) -> Any:
    """Return JSON content with None for NaN: a score has no half-width."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
