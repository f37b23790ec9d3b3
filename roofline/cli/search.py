"""``roofline search``: networks of a space that are fast on a device and lose no accuracy."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import output
from roofline.cli.export import export_beside, forms_beside
from roofline.cli.options import (
    EACH,
    ExportOption,
    Format,
    FormatOption,
    FromOption,
    SpaceArgument,
    by_device,
    each_device,
    machines,
    space_word,
    takes,
    words,
)
from roofline.engine.options import OF_SPACE
from roofline.errors import InputError
from roofline.files import finite, json_text
from roofline.text import significant

if TYPE_CHECKING:
    from roofline.search.evolution.result import SearchResult

INTERRUPTED = 130
#: file of the output folder that keeps what a function of networks has answered
ANSWERS = "accuracy.sqlite"


class Method(StrEnum):
    """How the space is searched."""

    aging = "aging"
    pareto = "pareto"
    random = "random"


class Keep(StrEnum):
    """What the history keeps."""

    generations = "generations"
    all = "all"


@takes(OF_SPACE, before="image_size", each=True)
def command(
    device: Annotated[list[str], typer.Option("--device", "-d", help="Repeat it, or give a comma list.")],
    space: SpaceArgument = None,
    source: FromOption = None,
    accuracy: Annotated[
        str,
        typer.Option(
            "--accuracy", "-a", help="auto, pairwise, structural, params, macs, entropy, FILE.csv, module:function."
        ),
    ] = "auto",
    target: Annotated[
        str | None,
        typer.Option("--target-latency-ms", "-t", help=f"Soft: reward accuracy x (latency / target)^w. {EACH}"),
    ] = None,
    limit: Annotated[str | None, typer.Option("--max-latency-ms", help=f"Hard limit: {EACH}")] = None,
    max_gmacs: Annotated[float | None, typer.Option("--max-gmacs", help="Hard limit: 1e9 MACs of one example.")] = None,
    max_mparams: Annotated[float | None, typer.Option("--max-mparams", help="Hard limit: 1e6 parameters.")] = None,
    max_memory: Annotated[float | None, typer.Option("--max-memory-gib", help="Hard limit: peak memory.")] = None,
    min_accuracy: Annotated[float | None, typer.Option("--min-accuracy", help="Hard limit.")] = None,
    reward: Annotated[
        str, typer.Option("--objective", help="What is maximised: mnasnet, or one that a plugin registers.")
    ] = "mnasnet",
    exponent: Annotated[float, typer.Option("--exponent", help="w of soft targets.")] = -0.07,
    hard: Annotated[bool, typer.Option("--hard", help="Targets are limits that no winner exceeds.")] = False,
    any_domain: Annotated[
        bool, typer.Option("--any-domain", help="Allow what the accuracy oracle knows nothing of.")
    ] = False,
    method: Annotated[Method, typer.Option("--method", "-m", help="How the space is searched.")] = Method.aging,
    evaluations: Annotated[int, typer.Option("--evaluations", "-n", help="Candidates judged in all.")] = 100_000,
    seed: Annotated[int, typer.Option("--seed", "-s", help="The same seed gives the same result.")] = 0,
    population: Annotated[int | None, typer.Option("--population", help="Candidates alive.")] = None,
    history: Annotated[
        Keep, typer.Option("--history", help="generations, or every evaluation too.")
    ] = Keep.generations,
    image_size: Annotated[int | None, typer.Option("--image-size", help="In a space that does not choose it.")] = None,
    folder: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", file_okay=False)] = None,
    to: ExportOption = None,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Random and params-only beside it.")
    ] = True,
    islands: Annotated[
        int | None, typer.Option("--islands", help="Populations that evolve apart and send their best to each other.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-w", help="Processes of --islands; default: as many as processors.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="tcp://HOST:PORT", help="A Dask scheduler, for --islands.")
    ] = None,
    form: FormatOption = Format.table,
    **options: Any,
) -> None:
    """Search SPACE for networks that are accurate and fast on the devices.

    Prints the best candidate with the error of its accuracy, each target with its kind (soft, of the reward; or hard, a
    limit that no winner exceeds), and beside it what random search and a search by parameter count find. --output keeps
    a history, from which a search that was killed goes on when it is started again; the Pareto table, architecture
    files of the winners (--export: and programs), and plots.
    """
    from roofline.search.accuracy.choose import accuracy_oracle
    from roofline.search.evolution.evolve import evolve
    from roofline.search.evolution.objective import Objective
    from roofline.search.oracle.latency import Oracle
    from roofline.search.space.spec import Space

    devices, chosen = words(device), forms_beside(to, folder)
    if not devices:
        raise InputError("give at least one --device")
    oracle = Oracle(
        space_word(space, source),
        devices,
        image_size=image_size,
        **each_device(options, machines(devices, None).items()),
    )
    if chosen and not isinstance(oracle.space, Space):
        raise InputError(f"--export: networks of {oracle.space.name!r} are programs already")
    objective = Objective(
        oracle=oracle,
        accuracy=accuracy_oracle(accuracy, oracle, store=folder and folder / ANSWERS),
        target_latency_s=_seconds(target, devices, "--target-latency-ms"),
        max_latency_s=_seconds(limit, devices, "--max-latency-ms"),
        exponent=exponent,
        hard=hard,
        reward=reward,
        max_macs=None if max_gmacs is None else max_gmacs * 1e9,
        max_params=None if max_mparams is None else max_mparams * 1e6,
        max_memory_bytes=None if max_memory is None else max_memory * 2**30,
        min_accuracy=min_accuracy,
        in_domain=not any_domain,
    )
    common: dict[str, Any] = {} if population is None else _population(method, population)
    common |= {"evaluations": evaluations, "method": method.value, "seed": seed, "output": folder}
    common |= {"baselines": baselines, "strict": False}
    with _Bar(evaluations) as show:
        if islands is None:
            if workers is not None or scheduler is not None:
                raise InputError("--workers and --scheduler are for --islands")
            result = evolve(oracle.space, objective, history=history.value, progress=show, **common)
        else:
            if history is Keep.all:
                raise InputError("islands keep no history of every evaluation")
            from roofline.cluster.islands import evolve_islands

            common |= {"progress": show and (lambda states, seconds: show(_together(states), seconds))}
            common |= {"islands": islands, "workers": workers, "scheduler": scheduler}
            result = evolve_islands(oracle.space, objective, **common)
    if folder is not None:
        from roofline.search.evolution.save import save

        export_beside(save(result, folder), chosen)
    _print(result, form)
    if result.interrupted:
        output.warn(f"interrupted after {result.evaluations:,} evaluations: results so far are kept")
        raise typer.Exit(INTERRUPTED)
    if not result.feasible:
        raise InputError(result.empty)


def _together(states: Any) -> Any:
    """Return the best island's state with the evaluations of all."""
    best = max(states, key=lambda s: float(s.best.fitness[0]))
    return replace(best, evaluations=sum(s.evaluations for s in states))


def _population(method: Method, population: int) -> dict[str, int]:
    if method is Method.random:
        raise InputError("random search has no population")
    more = {"batch": max(population // 2, 1)} if method is Method.aging else {}
    return {"population": population, **more}


def _seconds(text: str | None, devices: list[str], option: str) -> Any:
    """Return milliseconds as seconds, for all devices or by their names."""
    found = by_device(text, devices, option, str)
    if isinstance(found, dict):
        return {name: _number(value, option) * 1e-3 for name, value in found.items()}
    return None if found is None else _number(found, option) * 1e-3


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option} takes a number of milliseconds, got {text!r}") from None


class _Bar:
    """A progress bar on a terminal, silence elsewhere."""

    def __init__(self, evaluations: int) -> None:
        self.evaluations = evaluations
        self.progress: Any = None
        self.task: Any = None

    def __enter__(self) -> Any:
        if not sys.stderr.isatty():
            return None
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        count, said = TextColumn("{task.completed:,.0f} of {task.total:,.0f}"), TextColumn("{task.description}")
        columns = (BarColumn(), count, TimeRemainingColumn(), said)
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.progress.add_task("", total=self.evaluations)
        self.progress.start()
        return self.show

    def show(self, state: Any, seconds: float) -> None:
        """Say how far it is, how fast, and what is best."""
        rate = state.evaluations / seconds if seconds else 0.0
        best = (
            f"best {significant(float(state.best.fitness[0]), 4)}"
            if state.best.violation[0] <= 0
            else "none feasible yet"
        )
        self.progress.update(self.task, completed=state.evaluations, description=f"{rate:,.0f}/s, {best}")

    def __exit__(self, *error: Any) -> None:
        if self.progress is not None:
            self.progress.stop()


def _print(result: SearchResult, form: Format) -> None:
    from roofline.search.evolution.result import figure, rows, summary, winners

    if form is Format.json:
        output.write(json_text(finite(summary(result))))
        return
    if form is Format.csv:
        if result.feasible:
            output.write(output.as_csv(rows(result.objective, winners(result))))
        return
    objective = result.objective
    devices = [f"{name} ms" for name in objective.oracle.devices]
    table = output.table(
        None,
        ("", "accuracy", *devices, "GMACs", "M params", "reward", "genome"),
        (*devices, "GMACs", "M params", "reward"),
    )
    named = {"best" if result.feasible else "closest": result.best, **result.baselines}
    for name, found in named.items():
        one = rows(objective, found)[0]
        times = [significant(float(x) * 1e3, 4) for x in found.latency_s[0]]
        counts = (significant(one["macs"] / 1e9), significant(one["params"] / 1e6))
        reward = significant(float(found.fitness[0]), 4) if found.violation[0] <= 0 else "infeasible"
        table.add_row(name, figure(objective, found), *times, *counts, reward, one["genome"])
    kept = 0 if result.archive is None else len(result.archive)
    output.show(
        f"{objective.space.name}: {result.evaluations:,} evaluations, {result.rate_per_s:,.0f}/s, seed {result.seed},"
        f" accuracy by {objective.accuracy.name}, objective {objective.reward}",
        table,
        *(f"{goal}" for goal in result.goals),
        f"{kept} candidates that nobody beats in latency and accuracy",
    )
