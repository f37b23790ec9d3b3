"""A folder of networks that a search made: a table, a summary, and architecture files that `rf.model` reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roofline.arch.load import stage_table
from roofline.arch.spec import Arch
from roofline.errors import InputError
from roofline.files import atomic, finite, write_text
from roofline.search.space.own.modules import Network


def write_tables(
    folder: Path,
    name: str,
    table: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
    columns: Sequence[str] | None = None,
) -> list[Path]:
    """Write rows as CSV and a summary as ``summary.json`` into a folder with room for architectures.

    `columns` are by default those of the first row.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    try:
        (folder / "architectures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {str(folder)!r}: {error.strerror or error}") from None
    made = [folder / name, folder / "summary.json"]
    with atomic(made[0]) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]) if columns is None else columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    write_text(made[1], json.dumps(finite(about), indent=1) + "\n")
    return made


def to_toml(arch: Arch | Network, note: str) -> str:
    """Return the text of an architecture file with one network; `note` says where it is from.

    Of a network of modules the file holds the choices: `ModuleSpace.encode` takes them.
    """
    if isinstance(arch, Network):
        head = {
            "name": arch.name,
            "space": arch.space.origin[1] if arch.space.origin else arch.space.name,
            "search": note,
        }
        choices = "".join(f"{json.dumps(name)} = {_value(value)}\n" for name, value in arch.choices.items())
        return "".join(f"{key} = {_value(value)}\n" for key, value in head.items()) + f"\n[choices]\n{choices}"
    size = "image_size" if arch.input == "image" else "sequence_length"
    head = {"family": arch.family, "title": arch.title, "input": arch.input}
    stages = "\n".join(f"    {_inline(stage_table(stage))}," for stage in arch.stages)
    return (
        "".join(f"{key} = {_value(value)}\n" for key, value in head.items())
        + f"stages = [\n{stages}\n]\n\n[sources]\nsearch = {_value(note)}\n\n"
        + f"[variants.{arch.name}]\n{size} = {arch.image_size}\n"
    )


def write_arch(arch: Arch | Network, path: Path, note: str) -> Path:
    """Write an architecture file, whole or not at all."""
    write_text(path, to_toml(arch, note))
    return path


def _inline(table: dict[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {_value(value)}" for key, value in table.items() if value is not None) + " }"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return repr(value)
