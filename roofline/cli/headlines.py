"""``roofline headlines``: the published figures of EfficientNet-X beside the predicted ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import output
from roofline.cli.options import ForceOption, Format, FormatOption, OutputOption
from roofline.text import significant

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    chip of three times the peak gains. Beside each figure: where a measurement is expected, between what facts that
    nobody has verified leave it and which of them decides, what XLA's own compiler estimates where it has been asked,
    and what would have to be wrong where the published figure lies outside. --output writes the rows (.csv, .json).
    """
    output.check_suffix(file, (".csv", ".json"), force=force)
    import roofline as rf
    from roofline.studies.headlines import TOPICS

    names = list(dict.fromkeys(topic or TOPICS))
    rows = [row for name in names for row in output.records(rf.headlines(name).table)]
    output.deliver({"headlines": rows}, form, [_table(rows), _remarks(rows)], file)


def _table(rows: output.Rows) -> Table:
    right = ("", "published", "predicted", "expected", "unverified facts", "XLA's compiler")
    table = output.table(None, ("", "figure", *right[1:], "under"), right, folding=("figure", "under"))
    for number, row in enumerate(rows, 1):
        table.add_row(
            str(number),
            row["figure"],
            f"{row['published']:g}",
            significant(row["predicted"]),
            *(_between(row, f"{name}low", f"{name}high") for name in ("", "facts_", "compiler_")),
            row["conditions"],
        )
    return table


def _between(row: Mapping[str, Any], low: str, high: str) -> str:
    ends = [row[name] for name in (low, high)]
    if any(end is None or not math.isfinite(end) for end in ends):
        return ""
    shown = [significant(end) for end in ends]
    return shown[0] if shown[0] == shown[1] else " to ".join(shown)


def _remarks(rows: output.Rows) -> Table:
    table = output.table(
        None, ("", "decided by", "compiled", "remark"), ("",), folding=("decided by", "compiled", "remark")
    )
    for number, row in enumerate(rows, 1):
        remark = "; ".join(filter(None, [row["remark"], row["would_take"]]))
        if row["decided_by"] or row["compiled_of"] or remark:
            table.add_row(str(number), row["decided_by"], row["compiled_of"], remark)
    return table
