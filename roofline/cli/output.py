"""What verbs print and write: tables that truncate nothing, JSON that says where it is from, whole files."""

from __future__ import annotations

import csv
import io
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from roofline.cli.options import Format
from roofline.errors import InputError
from roofline.files import PICTURES, json_text, nameable, write_text
from roofline.text import printable

if TYPE_CHECKING:
    import pandas as pd

#: suffixes of the files that `deliver` writes where it is told how to draw
FILES = (*PICTURES, ".csv", ".json")
#: Columns given to a reader that is not a terminal: a file or a pipe does not wrap.
UNLIMITED = 10_000

Rows = Sequence[Mapping[str, Any]]


def table(title: str | None, columns: Sequence[str], right: Sequence[str] = (), folding: Sequence[str] = ()) -> Table:
    """Return an empty table; `right` names the columns of numbers, `folding` those of text that may wrap."""
    title = title and printable(title)
    result = _Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        result.add_column(
            name, justify="right" if name in right else "left", no_wrap=name not in folding, overflow="fold"
        )
    return result


class _Table(Table):
    """A table whose cells anybody may have written."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        super().add_row(*(printable(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def show(*things: Table | str) -> None:
    """Print tables and lines: into a file or pipe as wide as they are, on a terminal with colour.

    A table wider than the terminal runs over its edge rather than lose a digit.
    """
    safe = [thing if isinstance(thing, Table) else printable(thing) for thing in things]
    if not sys.stdout.isatty():
        buffer = io.StringIO()
        _print(Console(file=buffer, width=UNLIMITED, markup=False, highlight=False, emoji=False), safe)
        write("".join(line.rstrip() + "\n" for line in buffer.getvalue().splitlines()))
        return
    _print(Console(file=sys.stdout, markup=False, highlight=False, emoji=False), safe)


def write(text: str) -> None:
    """Print a text as it is, but for what a terminal may take for a command: JSON and CSV go through here."""
    sys.stdout.write(printable(text))


def note(text: str) -> None:
    """Print one line beside the output, on standard error; where that is full or closed there is nobody to tell."""
    with suppress(OSError):
        print(printable(" ".join(text.split())), file=sys.stderr, flush=True)


def _print(out: Console, things: Sequence[Table | str]) -> None:
    window = out.width
    for thing in things:
        out.width = window
        if isinstance(thing, Table):
            for column in thing.columns:
                if column.no_wrap:
                    column.min_width = max(cell_len(str(cell)) for cell in (column.header, *column.cells))
            out.width = max(window, Measurement.get(out, out.options.update(width=UNLIMITED), thing).minimum)
        out.print(thing, soft_wrap=not isinstance(thing, Table))


def warn(message: str) -> None:
    """Print one line about a run that is valid but not as hoped."""
    note(f"warning: {message}")


def as_csv(rows: Rows) -> str:
    """Return rows of equal keys as CSV text."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def write_rows(name: str, rows: Rows, form: Format) -> None:
    """Print rows as JSON under `name`, or as CSV."""
    write(json_text({name: list(rows)}) if form is Format.json else as_csv(rows))


def check_suffix(path: Path | None, allowed: Sequence[str], *, force: bool = False) -> None:
    """Refuse an output file that the verb cannot or should not write, before anything is computed.

    Raises
    ------
    InputError
        The suffix is none of `allowed`, the folder does not exist or cannot be written, or the file exists and is not
        to be overwritten (`force`).
    """
    if path is None:
        return
    if path.suffix.lower() not in allowed:
        raise InputError(f"cannot write {str(path)!r}; allowed: {', '.join(allowed)}")
    if not nameable(path):
        raise InputError(f"cannot write {str(path)!r}: no file can have that name")
    if not os.path.isdir(path.parent):
        raise InputError(f"cannot write {str(path)!r}: no folder {str(path.parent)!r}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"cannot write {str(path)!r}: no permission to write in {str(path.parent)!r}")
    if os.path.exists(path) and not force:
        raise InputError(f"{str(path)!r} exists: give --force to overwrite it")


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table; what is not a number is missing (None): JSON has no word for it."""

    def value(x: Any) -> Any:
        return None if isinstance(x, float) and not math.isfinite(x) else x

    return [{str(name): value(x) for name, x in row.items()} for row in table.to_dict("records")]


def deliver(
    tables: Mapping[str, Rows],
    form: Format,
    shown: Sequence[Table | str],
    file: Path | None,
    draw: Callable[[Path], object] | None = None,
    **head: Any,
) -> None:
    """Write what a verb found into `file`, as its suffix says, and print it as `form` says.

    Parameters
    ----------
    tables
        JSON holds them all, led by `head`; CSV holds the first.
    shown
        What people read instead.
    draw
        Draws the picture; None for a verb that has none.
    """

    def text(csv: bool) -> str:
        return as_csv(next(iter(tables.values()))) if csv else json_text({**head, **tables})

    if file is not None and draw is not None and file.suffix.lower() in PICTURES:
        draw(file)
    elif file is not None:
        write_text(file, text(file.suffix.lower() == ".csv"))
    if form is Format.table:
        show(*shown)
    else:
        write(text(form is Format.csv))
    sys.stdout.flush()
