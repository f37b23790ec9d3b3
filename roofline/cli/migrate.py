"""``roofline migrate``: what moving networks from one device to another gains."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import frontend, output
from roofline.cli.options import (
    ForceOption,
    Format,
    FormatOption,
    ModelsArgument,
    OutputOption,
    SetOption,
    each_device,
    machines,
    takes,
    whole_numbers,
    words,
)
from roofline.engine.options import OPTIONS
from roofline.text import percent, significant

if TYPE_CHECKING:
    from rich.table import Table

    from roofline.studies.migrate import Migration

#: columns on how sure a speed-up is
SURE = ("expected", "unverified facts")


@takes(OPTIONS, before="changes", each=True)
def command(
    models: ModelsArgument,
    before: Annotated[str, typer.Option("--from", help="The device to leave.")],
    after: Annotated[str, typer.Option("--to", help="The device to go to.")],
    batch: Annotated[str, typer.Option("--batch", "-b", help="Examples per run and chip; a comma list sweeps.")] = "1",
    changes: SetOption = None,
    form: FormatOption = Format.table,
    file: OutputOption = None,
    force: ForceOption = False,
    **options: Any,
) -> None:
    """Predict the speed-up of every MODEL from one device to another, beside the growth of peak and bandwidth.

    Prints geometric means per family and a row per run; --format csv only the runs. --output also draws bars
    (.png, .svg, .pdf), or writes the runs (.csv) or everything (.json).
    """
    output.check_suffix(file, output.FILES, force=force)
    import roofline as rf

    chips = machines({"from": before, "to": after}, changes)
    found = rf.migrate(
        [frontend.network(name, frontend.Source()) for name in words(models)],
        chips["from"],
        chips["to"],
        batch=whole_numbers(batch, "--batch"),
        **each_device(options, [(before, chips["from"]), (after, chips["to"])]),
    )
    tables = {
        "runs": output.records(found.table),
        "families": output.records(found.families),
    }
    shown = (found.conditions, _families(found), _runs(found))
    output.deliver(tables, form, shown, file, found.plot, migration=found.conditions)


def _sure(row: dict[Any, Any]) -> list[str]:
    """Return where a measured speed-up is expected, and between what unverified facts leave it."""
    return [f"{row[f'{name}_low']:.2f} to {row[f'{name}_high']:.2f}" for name in ("speedup", "facts")]


def _families(found: Migration) -> Table:
    right = ("batch", "members", "speed-up", *SURE, "slowest", "fastest", "peak", "bandwidth", "share of peak")
    table = output.table("Geometric mean of each family", ("family", *right), right)
    for row in found.families.to_dict("records"):
        table.add_row(
            row["family"],
            f"{row['batch']:,}",
            str(row["members"]),
            f"{row['speedup']:.2f}",
            *_sure(row),
            *(f"{row[name]:.2f}" for name in ("slowest", "fastest", "peak_ratio", "bandwidth_ratio")),
            "–" if math.isnan(row["peak_share"]) else percent(row["peak_share"]),
        )
    return table


def _runs(found: Migration) -> Table:
    right = ("batch", "before ms", "after ms", "speed-up", *SURE)
    table = output.table(None, ("model", *right, "bound before", "bound after", "fits"), right)
    for row in found.table.to_dict("records"):
        table.add_row(
            row["model"],
            f"{row['batch']:,}",
            *(significant(row[name], 4) for name in ("before_ms", "after_ms")),
            f"{row['speedup']:.2f}",
            *_sure(row),
            row["before_bound"],
            row["after_bound"],
            "" if row["fits"] else "DOES NOT FIT",
        )
    return table
