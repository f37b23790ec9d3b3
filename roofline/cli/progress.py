"""What ``roofline measure`` shows while it measures, and when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from roofline.cli import output

if TYPE_CHECKING:
    from roofline.measure.run import Outcome, Progress

#: reasons shown before the rest is counted
SHOWN = 5


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
            output.note(f"{done} of {total} {name}")


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
