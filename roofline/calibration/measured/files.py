"""Reading measurement files: CSV, gzipped CSV, JSON archives and published figures in TOML, as rows of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from roofline.errors import InputError
from roofline.reading import parse_csv, parse_json, read_text
from roofline.specfile import one_line, read_toml


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The rows of a file: (line number, column -> text)."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]

    @property
    def stem(self) -> str:
        """File name without its suffixes."""
        return self.path.name.split(".")[0]


def read_sheet(path: Path) -> Sheet:
    """Return the rows of a file.

    Raises
    ------
    InputError
        It cannot be read, is no text, has no rows, or names a column twice.
    """
    text = read_text(path)
    if path.suffix == ".toml":
        sheet = _from_toml(path)
    elif text.lstrip()[:1] in ("{", "["):
        sheet = _from_json(path, text)
    else:
        columns, rows = parse_csv(text, path.name)
        sheet = Sheet(path=path, columns=columns, rows=tuple(rows))
    if not sheet.rows:
        raise InputError(f"{path.name}: no rows")
    return sheet


def _from_json(path: Path, text: str) -> Sheet:
    """Return the objects of an archive (a list, or a mapping of ids) as rows, nested tables as plain columns."""
    content = parse_json(text, path.name)
    entries: Iterable[Any] = content
    if isinstance(content, dict):
        while len(content) == 1 and _is_table(inner := next(iter(content.values()))):
            content = inner
        lists = [value for value in content.values() if isinstance(value, list)]
        entries = lists[0] if lists else content.values()
    rows = [(i, _flat(entry)) for i, entry in enumerate(entries, 1) if isinstance(entry, dict)]
    columns = dict.fromkeys(name for _, row in rows for name in row)
    return Sheet(path=path, columns=tuple(columns), rows=tuple(rows))


class _Figures(BaseModel):
    """The table [latency] of a file of published figures."""

    batch: int
    conditions: dict[str, dict[str, str | int | float]]
    ms: dict[str, dict[str, float]]


def _from_toml(path: Path) -> Sheet:
    """Return the latencies of a file of published figures as rows of a latency table."""
    latency = read_toml(path).get("latency")
    if not isinstance(latency, dict) or not _Figures.model_fields.keys() <= latency.keys():
        raise InputError(f"{path.name}: no table [latency] with batch, conditions and ms")
    try:
        found = _Figures.model_validate(latency)
    except ValidationError as error:
        raise InputError(one_line(error, _Figures, path.name)) from None
    rows = [
        {"model": model, "device": device, "batch": str(found.batch), "latency_ms": str(ms)}
        | {name: str(value) for name, value in found.conditions.get(device, {}).items()}
        for model, figures in found.ms.items()
        for device, ms in figures.items()
    ]
    columns = dict.fromkeys(name for row in rows for name in row)
    return Sheet(path=path, columns=tuple(columns), rows=tuple(enumerate(rows, 1)))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(entry, dict) for entry in value.values())


def _flat(entry: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in entry.items():
        if isinstance(value, dict):
            flat |= _flat(value)
        elif value is not None:
            flat[name] = str(value)
    return flat
