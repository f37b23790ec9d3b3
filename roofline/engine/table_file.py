"""Tables of kernels as files of plain arrays: ``.npz`` without pickles, one array a column, and labels as JSON."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from roofline.engine.columns import Columns
from roofline.engine.table import KernelTable, Label
from roofline.errors import InputError
from roofline.files import atomic


def save_table(table: KernelTable, path: Path) -> None:
    """Write a table that `load_table` reads, whole to the last bit."""
    labels = json.dumps([asdict(label) for label in table.labels]).encode()
    arrays = {f"{part}/{f.name}": getattr(rows, f.name) for part, rows in table.parts.items() for f in fields(rows)}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, labels=np.frombuffer(labels, np.uint8), **arrays)


def load_table(path: Path) -> KernelTable:
    """Read a table that `save_table` wrote.

    Raises
    ------
    InputError
        The file is damaged, or has other columns.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            labels = json.loads(bytes(file["labels"]))
            parts: dict[str, Any] = {
                name: make(**{f.name: file[f"{name}/{f.name}"] for f in fields(make)})
                for name, make in get_type_hints(KernelTable).items()
                if isinstance(make, type) and issubclass(make, Columns)
            }
        made = tuple(Label(name=x["name"], kind=x["kind"], ops=tuple(x["ops"])) for x in labels)
        return KernelTable(**parts, labels=made)
    except (OSError, EOFError, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise InputError(f"cannot read kernels from {str(path)!r}: {error}") from None
