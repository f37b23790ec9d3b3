"""Where the latency goes, as tables: the whole run, and stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roofline.cli import output
from roofline.text import percent, significant

if TYPE_CHECKING:
    from rich.table import Table

    from roofline.report.report import Report

#: a share that rounds to less is left blank in the table of stages
VISIBLE = 0.0005


def waterfall(report: Report) -> Table:
    """Return the terms that add up to the latency, with the sum so far."""
    right = ("time ms", "share", "sum ms")
    table = output.table("Where the latency goes", ("term", *right), right)
    total = 0.0
    for row in report.waterfall().to_dict("records"):
        total += row["time_s"]
        table.add_row(row["term"], significant(row["time_s"] * 1e3), percent(row["share"]), significant(total * 1e3, 4))
    return table


def stages(report: Report) -> Table:
    """Return the same for every stage, in per cent of the latency."""
    wide = report.waterfall("stage").pivot_table(index="stage", columns="term", values="share", sort=False)
    right = ("total", *(str(term) for term in wide.columns))
    table = output.table("By stage, in per cent of the latency", ("stage", *right), right)
    for stage, shares in wide.iterrows():
        cells = (f"{100 * share:.1f}" if share >= VISIBLE else "" for share in shares)
        table.add_row(str(stage), f"{100 * shares.sum():.1f}", *cells)
    return table
