"""Files that build upon another one of their folder: they say what differs, tables key by key."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from roofline.errors import SpecError
from roofline.names import lookup
from roofline.paths import data_files
from roofline.specfile import Stamp, read_toml, stamp

#: key under which a file names the one it builds upon
BASE = "base"
#: files that build upon each other at most
DEEPEST = 4


def chain(path: Path, folder: str) -> list[Path]:
    """Return a file and those that it builds upon, the nearest first.

    Raises
    ------
    SpecError
        A file cannot be read, or builds upon more than three others, itself perhaps.
    UnknownNameError
        It builds upon a name that the data folder does not have.
    """
    found = [path]
    while (base := _base(found[-1], stamp(found[-1]))) is not None:
        if len(found) == DEEPEST:
            raise SpecError(f"{path.name}: builds upon more than {DEEPEST - 1} files, at last {base!r}")
        found.append(lookup(base, data_files(folder), BASE))
    return found


@lru_cache(maxsize=256)
def _base(path: Path, version: Stamp) -> str | None:
    """Return the name that a file builds upon."""
    base = read_toml(path).get(BASE)
    if base is not None and not isinstance(base, str):
        raise SpecError(f"{path.name}: {BASE} must be a name, got {base!r}")
    return base


def stamps(path: Path, folder: str) -> tuple[Stamp, ...]:
    """Return what tells whether a file, or one it builds upon, has changed."""
    return tuple(stamp(one) for one in chain(path, folder))


def tables(path: Path, folder: str) -> dict[str, Any]:
    """Return the tables of a file with those of the files it builds upon; keys of its own win."""
    whole: dict[str, Any] = {}
    for one in reversed(chain(path, folder)):
        whole = merged(whole, read_toml(one))
    whole.pop(BASE, None)
    return whole


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two trees of tables as one; a number with its source is one thing, and replaced whole.

    Examples
    --------
    >>> merged({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"y": 4}})
    {'a': {'x': 1, 'y': 4}, 'b': 3}
    """
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and "value" not in value:
            value = merged(old, value)
        found[key] = value
    return found
