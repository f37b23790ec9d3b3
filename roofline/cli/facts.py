"""Every number of a data file, with its unit and where it is from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from roofline.cli import output
from roofline.cli.options import Format


class Fact(Protocol):
    """A number as a data file states it."""

    @property
    def value(self) -> float:
        """The number in its unit."""

    @property
    def unit(self) -> str | None:
        """Its unit; None is a count."""

    @property
    def source(self) -> str | None:
        """Key of the file's sources; None is an estimate."""

    @property
    def recalled(self) -> bool:
        """Whether the source was quoted from memory."""

    @property
    def estimate(self) -> str | None:
        """The reasoning of an estimate."""

    @property
    def note(self) -> str | None:
        """What else there is to say."""

    @property
    def low(self) -> float | None:
        """Lower end of its range; None where it has none."""

    @property
    def high(self) -> float | None:
        """Upper end."""

    @property
    def why(self) -> str | None:
        """Why it may lie anywhere between."""


def facts(quantities: Iterable[tuple[str, Fact]]) -> list[dict[str, Any]]:
    """Return one row per (dotted path of tables and key, number)."""
    return [
        {
            "path": path,
            "value": fact.value,
            "unit": fact.unit,
            "source": fact.source,
            "recalled": fact.recalled,
            "estimate": fact.estimate,
            "note": fact.note,
            "low": fact.low,
            "high": fact.high,
            "why": fact.why,
        }
        for path, fact in quantities
    ]


def show_facts(head: str, rows: list[dict[str, Any]], sources: Mapping[str, str], form: Format) -> None:
    """Print the numbers of one data file, the sources behind them included."""
    if form is Format.json:
        output.write_rows("quantities", [{**row, "citation": sources.get(row["source"] or "")} for row in rows], form)
        return
    if form is Format.csv:
        output.write_rows("quantities", rows, form)
        return
    table = output.table(None, ("quantity", "value", "unit", "source", "remark"), ("value",), ("remark",))
    for row in rows:
        mark = "recalled" if row["recalled"] else ""
        between = "" if row["low"] is None else f"between {row['low']:,.12g} and {row['high']:,.12g}: {row['why']}"
        remark = "; ".join(filter(None, [mark, row["estimate"], row["note"], between]))
        table.add_row(row["path"], f"{row['value']:,.12g}", row["unit"] or "", row["source"] or "ESTIMATE", remark)
    cited = {row["source"] for row in rows}
    citations = output.table(None, ("source", "citation"), folding=("citation",))
    for key, citation in sources.items():
        if key in cited:
            citations.add_row(key, citation)
    output.show(head, table, citations)
