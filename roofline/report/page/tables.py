"""Tables as HTML. Every name is escaped here: what comes from a file is text, never markup."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of numbers or text: the key of a row, the title, and how a number is written.

    `scale` divides before writing; `bar` draws the number, a share, behind itself.
    """

    key: str
    title: str
    write: Callable[[float], str] | None = None
    scale: float = 1.0
    bar: bool = False


def definition_table(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of name, value and remark as a table without a head."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="n">{escape(value)}</td><td>{escape(remark)}</td></tr>'
        for name, value, remark in rows
    )
    return f'<div class="wide"><table class="facts"><tbody>{body}</tbody></table></div>'


def data_table(name: str, columns: Sequence[Column], rows: Iterable[Mapping[str, Any]], *, filtered: bool) -> str:
    """Return a table that the page's script sorts by its heads and, where `filtered`, filters by words.

    A number cell carries its full value in ``data-v``; the script sorts by that.
    """
    heads = "".join(
        f'<th scope="col"{"" if c.write is None else " class=n"}><button type="button">{escape(c.title)}</button></th>'
        for c in columns
    )
    body = "".join(f"<tr>{''.join(_cell(c, row[c.key]) for c in columns)}</tr>" for row in rows)
    box = f'<label class="filter">Filter <input type="search" aria-controls="{name}"></label><output></output>'
    return (
        f'<div class="tool">{box if filtered else ""}</div><div class="wide">'
        f'<table id="{name}" class="data"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cell(column: Column, value: Any) -> str:
    if column.write is None:
        return f"<td>{escape(str(value))}</td>"
    number = float(value)
    if not math.isfinite(number):
        return '<td class="n" data-v="-Infinity"></td>'
    style = f' style="--share:{max(0.0, min(number, 1.0)):.4f}"' if column.bar else ""
    kind = "n bar" if column.bar else "n"
    return f'<td class="{kind}" data-v="{number:.6g}"{style}>{escape(column.write(number / column.scale))}</td>'
