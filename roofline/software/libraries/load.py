"""From a name or a file to a kernel library."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import create_model

from roofline.names import lookup
from roofline.paths import data_files
from roofline.software.based import stamps, tables
from roofline.software.constant import constants_of
from roofline.software.constant import tables as tables_of

# their classes register themselves
from roofline.software.libraries import attention, experts, paged_attention, products  # noqa: F401
from roofline.software.libraries.library import KINDS, Library, LibraryFile
from roofline.specfile import Stamp, parse_spec

FOLDER = "libraries"


def libraries() -> list[str]:
    """Return the names of all shipped kernel libraries."""
    return list(data_files(FOLDER))


def library(name: str | Path) -> Library:
    """Return a kernel library by name or from a file.

    Raises
    ------
    UnknownNameError
        No such library, or a kind that there is not.
    SpecError
        The file breaks the schema.
    """
    word = str(name)
    path = Path(word) if word.endswith(".toml") else lookup(word, data_files(FOLDER), "kernel library")
    return _load(path, stamps(path, FOLDER))


def library_file(name: str) -> LibraryFile:
    """Return the file behind a library, with the source of every number."""
    return _file(lookup(name, data_files(FOLDER), "kernel library"))


def file_of(cls: type[Library]) -> type[LibraryFile]:
    """Return the schema of the files of a kind: a table for each part, a key for each constant."""
    return create_model(
        "LibraryFile", __base__=LibraryFile, facts=(cls.facts_class, ...), **tables_of(constants_of(cls))
    )


def _file(path: Path) -> LibraryFile:
    found = tables(path, FOLDER)
    cls = lookup(str(found.get("kind", "")), KINDS, "kind of library")
    return parse_spec(found, file_of(cls), path.name)


@lru_cache(maxsize=64)
def _load(path: Path, version: tuple[Stamp, ...]) -> Library:
    file = _file(path)
    cls = KINDS[file.kind]
    values: dict[str, Any] = {c.field: c.value(file) for c in constants_of(cls)}
    return cls(name=file.name, title=file.title, device_kinds=tuple(file.device_kinds), facts=file.facts, **values)
