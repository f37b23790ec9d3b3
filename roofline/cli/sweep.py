"""``roofline sweep``: thousands of networks on many devices, on all processors or a Dask cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from roofline.cli import output
from roofline.cli.options import Format, FormatOption
from roofline.errors import InputError
from roofline.files import json_text
from roofline.text import counted

INTERRUPTED = 130


def command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="Networks, devices and lists of options.")],
    file: Annotated[
        Path, typer.Option("--output", "-o", metavar="RESULTS", help="NAME.sqlite, or a folder NAME.parquet.")
    ],
    workers: Annotated[
        int | None, typer.Option("--workers", "-w", help="Processes; default: as many as processors, 0: none.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="tcp://HOST:PORT", help="A Dask scheduler that runs already.")
    ] = None,
    form: FormatOption = Format.table,
) -> None:
    """Simulate every network of a plan on every device at every combination of its options.

    Results go to FILE as they come. Killed at any moment, the same command goes on from there. A network that cannot be
    built or run is a row that says why.
    """
    from roofline.cluster.run import run_plan, summary

    if workers is not None and scheduler is not None:
        raise InputError("--workers are those of a local cluster; a scheduler has its own")
    try:
        with _Bar() as show:
            frame = run_plan(plan, file, workers=workers, scheduler=scheduler, progress=show, notice=output.warn)
    except KeyboardInterrupt:
        output.warn(f"interrupted: what was computed is in {file}; the same command goes on")
        raise typer.Exit(INTERRUPTED) from None
    found = summary(frame)
    if form is Format.json:
        output.write(json_text(found | {"output": str(file)}))
        return
    if form is Format.csv:
        output.write(frame.to_csv(index=False, lineterminator="\n"))
        return
    output.show(f"{counted(found['runs'], 'run')} of {counted(found['networks'], 'network')}: {file}")
    errors = frame[frame["error"].notna()]
    for why, rows in list(errors.groupby("error", sort=False))[:10]:
        names = ", ".join(rows["network"].unique()[:3])
        output.warn(
            f"{counted(len(rows), 'run')} failed ({names}{', ...' if rows['network'].nunique() > 3 else ''}): {why}"
        )


class _Bar:
    """A progress bar with rate and time left on a terminal, silence elsewhere."""

    def __init__(self) -> None:
        self.progress: Any = None
        self.task: Any = None

    def __enter__(self) -> Any:
        if not sys.stderr.isatty():
            return None
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        count, said = (
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} networks"),
            TextColumn("{task.description}"),
        )
        columns = (BarColumn(), count, TimeRemainingColumn(), said)
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.progress.add_task("starting", total=None)
        self.progress.start()
        return self.show

    def show(self, done: int, total: int, seconds: float, computed: int) -> None:
        """Say how far it is, and how fast."""
        rate = computed / seconds if seconds else 0.0
        self.progress.update(self.task, completed=done, total=total, description=f"{rate:.1f} networks/s")

    def __exit__(self, *error: Any) -> None:
        if self.progress is not None:
            self.progress.stop()
