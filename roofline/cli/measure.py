"""``roofline measure``: time a plan of ops and networks on the device at hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roofline.cli import output
from roofline.cli.options import words

if TYPE_CHECKING:
    from roofline.measure.run import Outcome, Progress

#: reasons shown before the rest is counted
SHOWN = 5


def command(
    folder: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", file_okay=False, help="Folder of results.")],
    backend: Annotated[str, typer.Option("--backend", help="torch or jax.")] = "torch",
    device_index: Annotated[int, typer.Option("--device-index", help="Which of several devices.", min=0)] = 0,
    plan: Annotated[str, typer.Option("--plan", help="full, or small for a first look.")] = "full",
    dtype: Annotated[
        list[str] | None, typer.Option("--dtype", help="Formats; default: fp32, and fp16 on a GPU.")
    ] = None,
    compiled: Annotated[bool, typer.Option("--compiled", help="Networks also under the runtime's compiler.")] = False,
    threads: Annotated[int, typer.Option("--threads", help="Of a CPU; more than one needs a quiet machine.")] = 1,
    check: Annotated[
        bool, typer.Option("--check", help="Instead: time ten networks of timm, and compare with what DIR predicts.")
    ] = False,
) -> None:
    """Time ops and networks on the device at hand, into a folder for `roofline calibrate DIR`.

    The first CUDA GPU, TPU or else the CPU. Ten minutes or so; an interrupted run goes on where it was, with the same
    command. Nothing else should run on the machine: what disturbs is noticed, said, and measured longer.
    """
    from roofline.measure.backend import choose
    from roofline.measure.plan import plan as make_plan
    from roofline.measure.run import measure

    chosen = choose(backend, device_index, threads)
    facts = chosen.facts
    print(f"{facts.name}, {facts.software}, timed by {chosen.clock}", file=sys.stderr)
    dtypes = words(dtype) if dtype else ["fp32"] if facts.kind == "cpu" else ["fp16", "fp32"]
    if check:
        from roofline.cli.left_out import check_left_out

        check_left_out(chosen, folder, dtypes, small=plan == "small", compiled=compiled)
        return
    cases = make_plan(facts.kind, size=plan, dtypes=dtypes, compiled=compiled)  # type: ignore[arg-type]
    try:
        with progress_bar() as progress:
            outcome = measure(chosen, folder, cases, progress=progress)
    except KeyboardInterrupt:
        output.warn(f"interrupted: the same command goes on with what {folder} lacks")
        raise
    report(outcome, folder)


class progress_bar:
    """A bar on a terminal, a line now and then elsewhere; as a context, the function that moves it."""

    def __init__(self, every: int = 25) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=None)
        self.lines, self.every = not console.is_terminal, every

    def __enter__(self) -> Progress:
        self.bar.start()
        return self.move

    def __exit__(self, *reason: object) -> None:
        self.bar.stop()

    def move(self, done: int, total: int, name: str) -> None:
        """Show how far a plan is."""
        self.bar.update(self.task, completed=done, total=total, description=name)
        if self.lines and done % self.every == 0:
            print(f"{done} of {total} {name}", file=sys.stderr, flush=True)


def report(outcome: Outcome, folder: Path) -> None:
    """Print what was measured, and what was not."""
    before = f", {outcome.known} were there" if outcome.known else ""
    output.show(f"{outcome.measured} cases measured{before}: {folder}")
    if outcome.busy:
        output.warn(f"the machine was busy with something else during {outcome.busy} cases: measured longer, marked")
    if outcome.slow:
        output.warn(f"the device was slower than its best during {outcome.slow} cases (throttling, or shared): marked")
    for name, reason in list(outcome.failed.items())[:SHOWN]:
        output.warn(f"{name} is missing: {reason}")
    if len(outcome.failed) > SHOWN:
        output.warn(f"... and {len(outcome.failed) - SHOWN} more")
