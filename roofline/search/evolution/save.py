"""What a search leaves behind: a Pareto table, architecture files of the winners, plots."""

from __future__ import annotations

from pathlib import Path

from roofline.search.evolution.result import SearchResult, figure, rows, summary, winners
from roofline.search.space.folder import write_arch, write_tables


def save(result: SearchResult, folder: str | Path, *, plots: bool = True) -> list[Path]:
    """Write ``pareto.csv``, ``summary.json``, ``architectures/winner-NN.toml``, ``convergence.png`` and ``pareto.png``.

    Of candidates that exceed a hard limit there is no row and no architecture.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    folder = Path(folder)
    objective, made = result.objective, []
    front = [] if result.archive is None else rows(objective, result.archive)
    columns = list(rows(objective, result.best)[0])
    made += write_tables(folder, "pareto.csv", front, summary(result), columns)
    best = winners(result)
    for i in range(len(best)):
        name = f"winner-{i + 1:02d}"
        arch = objective.space.decode(best.genomes[i], name=name)
        note = f"roofline search, space {objective.space.name}, seed {result.seed}: {figure(objective, best, i)}"
        note = "; ".join([note, *map(str, objective.goals(best.take([i])))])
        made.append(write_arch(arch, folder / "architectures" / f"{name}.toml", note))
    if plots:
        from roofline.search.evolution.plots import plot_convergence, plot_pareto

        plot_convergence(result, path=folder / "convergence.png")
        plot_pareto(result, path=folder / "pareto.png")
        made += [folder / "convergence.png", folder / "pareto.png"]
    return made
