"""``roofline runtimes``: the software stacks, and where each of their numbers is from."""

from __future__ import annotations

from typing import Annotated, Any

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
    from roofline.software.load import runtime_file
    from roofline.specfile import quantities

    if name is not None:
        spec = runtime_file(name)
        policy = "; ".join(f"{key}: {_plain(value)}" for key, value in spec.fusion.model_dump(exclude={"why"}).items())
        head = f"{spec.name}: {spec.title}, on {' and '.join(spec.device_kinds)}"
        show_facts(f"{head}\n{policy}\nbecause {spec.fusion.why}", facts(quantities(spec)), spec.sources, form)
        return
    rows = [
        {"runtime": known.name, "title": known.title, "device_kinds": " ".join(known.device_kinds)}
        for known in map(rf.runtime, rf.runtimes())
    ]
    if form is not Format.table:
        output.write_rows("runtimes", rows, form)
        return
    table = output.table(None, ("runtime", "title", "runs on"))
    for row in rows:
        table.add_row(*row.values())
    output.show(table)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
