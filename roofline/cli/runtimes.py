"""``roofline runtimes``: the software stacks, and where each of their numbers is from."""

from __future__ import annotations

from typing import Annotated

import typer

from roofline.cli import output
from roofline.cli.facts import facts, show_facts
from roofline.cli.options import Format, FormatOption


def command(
    name: Annotated[str | None, typer.Argument(help="Show this one, with every number and its source.")] = None,
    form: FormatOption = Format.table,
) -> None:
    """List the runtimes, or show one with every number, its unit and its source."""
    import roofline as rf

    if name is not None:
        spec = rf.runtime(name)
        show_facts(f"{spec.name}: {spec.title}", facts(spec.quantities), spec.sources, form)
        return
    rows = [{"runtime": known, "title": rf.runtime(known).title} for known in rf.runtimes()]
    if form is not Format.table:
        output.write_rows("runtimes", rows, form)
        return
    table = output.table(None, ("runtime", "title"))
    for row in rows:
        table.add_row(row["runtime"], row["title"])
    output.show(table)
