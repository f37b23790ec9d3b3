"""``roofline formats``: which numbers the tensors of a language model may have, and who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import output
from roofline.cli.options import Format, FormatOption

if TYPE_CHECKING:
    from roofline.software.formats import Number


def command(
    name: Annotated[str | None, typer.Argument(help="Show this one, class by class of tensors.")] = None,
    form: FormatOption = Format.table,
) -> None:
    """List the number formats, or show one: numbers, scales and bits of weights, activations and cache."""
    import roofline as rf
    from roofline.software.formats import CLASSES, format_file

    if name is None:
        known = [rf.format(one) for one in rf.formats()]
        rows = [
            {"format": one.name, "title": one.title} | {kind: _name(getattr(one, kind)) for kind in CLASSES}
            for one in known
        ]
        _show("formats", rows, form)
        return
    file, one = format_file(name), rf.format(name)
    classes = [{"class": kind} | _described(number) for kind in CLASSES if (number := getattr(one, kind))]
    if form is Format.table:
        output.show(f"{file.name}: {file.title}\nbecause {file.why}")
    _show("classes", classes, form)
    if form is Format.table:
        _show("sources", [{"source": key, "citation": text} for key, text in file.sources.items()], form)


def _name(number: Number | None) -> str:
    return number.dtype.name if number else ""


def _described(number: Number) -> dict[str, Any]:
    """Return what a table says of a class of tensors; blocks are elements along the sum, and beside it."""
    along, across = (size or "all" for size in (number.along, number.across))
    return {
        "number": number.dtype.name,
        "bits": number.bits,
        "scale": number.scale.name,
        "block": f"{along} x {across}",
        "tensor_scale": "fp32" if number.tensor_scale else "",
        "found": "at run time" if number.dynamic else "beforehand",
    }


def _show(name: str, rows: list[dict[str, Any]], form: Format) -> None:
    if form is not Format.table:
        output.write_rows(name, rows, form)
        return
    if not rows:  # a format that quantizes nothing
        return
    table = output.table(None, tuple(key.replace("_", " ") for key in rows[0]), ("bits",), ("citation",))
    for row in rows:
        table.add_row(*(f"{value:g}" if isinstance(value, float) else str(value) for value in row.values()))
    output.show(table)
