"""``roofline headlines``: the published figures of EfficientNet-X beside the predicted ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from roofline.cli import output
from roofline.cli.options import ForceOption, Format, FormatOption, OutputOption
from roofline.text import significant

if TYPE_CHECKING:
    from rich.table import Table

TopicArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[TOPIC]...", help="gap, migration; default: both.", show_default=False)
]


def command(
    topic: TopicArgument = None,
    form: FormatOption = Format.table,
    file: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Set the published headline figures of EfficientNet-X beside the predicted ones, each with its conditions.

    gap: how much faster EfficientNet-X is at twice the FLOPs, and how wrong FLOPs are as a proxy; migration: what a
    chip of three times the peak gains. --output writes the rows (.csv, .json).
    """
    output.check_suffix(file, (".csv", ".json"), force=force)
    import roofline as rf
    from roofline.studies.headlines import TOPICS

    rows = [row for name in dict.fromkeys(topic or TOPICS) for row in output.records(rf.headlines(name).table)]
    output.deliver({"headlines": rows}, form, [_table(rows)], file)


def _table(rows: output.Rows) -> Table:
    right = ("published", "predicted", "expected")
    table = output.table(None, ("figure", *right, "under"), right, folding=("figure", "under"))
    for row in rows:
        ends = [row[name] for name in ("low", "high")]
        known = all(end is not None and math.isfinite(end) for end in ends)
        expected = " to ".join(significant(end) for end in ends) if known else ""
        table.add_row(
            row["figure"], f"{row['published']:g}", significant(row["predicted"]), expected, row["conditions"]
        )
    return table
