"""Where the data folders lie: beside the package in a checkout, inside it in a wheel, and where plugins say."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from roofline.errors import SpecError
from roofline.names import key
from roofline.plugins import find_plugins

#: what the files of each folder describe
FOLDERS = {
    "hardware_specs": "device",
    "runtimes": "runtime",
    "libraries": "kernel library",
    "formats": "number format",
    "models": "model",
    "spaces": "search space",
}
_PACKAGE = Path(__file__).resolve().parent
_ROOTS = (_PACKAGE / "data", _PACKAGE.parent)
_ADDED: list[Path] = []


def data_folder(name: str) -> Path:
    """Return one of the `FOLDERS`.

    Raises
    ------
    SpecError
        The installation carries no such folder.
    """
    for root in _ROOTS:
        if os.path.isdir(folder := root / name):
            return folder
    raise SpecError(f"data folder {name!r} is missing beside {_PACKAGE.name!r}: reinstall the package")


def data_files(name: str) -> dict[str, Path]:
    """Return file stem -> path of every TOML file in a data folder, sorted by name; those of plugins come last."""
    find_plugins()
    found = dict(_paths(folder := data_folder(name), tuple(os.listdir(folder))))
    for root in _ADDED:
        if os.path.isdir(folder := root / name):
            found |= _paths(folder, tuple(os.listdir(folder)))
    return found


def added_data() -> tuple[Path, ...]:
    """Return the folders that `add_data` was given, in order."""
    return tuple(_ADDED)


def add_data(root: str | Path) -> None:
    """Read those of the `FOLDERS` that a folder of one's own has as those that ship.

    Raises
    ------
    SpecError
        The folder has none of these, a file is no TOML, or a name in it is taken.
    """
    root = Path(root).resolve()
    if root in _ADDED:
        return
    there = {name: root / name for name in FOLDERS if os.path.isdir(root / name)}
    if not there:
        raise SpecError(f"{str(root)!r} has none of the folders {', '.join(map(repr, FOLDERS))}")
    for name, folder in there.items():
        files = _paths(folder, tuple(os.listdir(folder)))
        known = data_files(name)
        for stem, path in files.items():
            if stem in known:
                raise SpecError(f"{str(path)!r}: {FOLDERS[name]} {stem!r} is there already, in {str(known[stem])!r}")
            for word in _names(name, path):
                if name == "models" and not key(word).startswith(key(stem)):
                    raise SpecError(f"{path.name}: the name of variant {word!r} must begin with {stem!r}, the file's")
                if owner := _owner(name, word, known):
                    raise SpecError(f"{str(path)!r}: {FOLDERS[name]} {word!r} is there already, in {str(owner)!r}")
            known[stem] = path
    _ADDED.append(root)


def _owner(folder: str, word: str, files: dict[str, Path]) -> Path | None:
    """Return the file among some that has a name already."""
    for stem, path in files.items():
        may = key(word).startswith(key(stem)) or folder == "hardware_specs"  # others cannot have it: they are not read
        if may and key(word) in map(key, _names(folder, path)):
            return path
    return None


def _names(folder: str, path: Path) -> list[str]:
    """Return the names under which a file is found; its stem is one of them but for networks, which have their own."""
    from roofline.specfile import read_toml

    content = read_toml(path)
    if folder == "models":
        return list(found) if isinstance(found := content.get("variants"), dict) else []
    aliases = content.get("aliases") if folder == "hardware_specs" else None
    return [path.stem, *(alias for alias in aliases or () if isinstance(alias, str))]


@lru_cache(maxsize=16)
def _paths(folder: Path, names: tuple[str, ...]) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder / name for name in names if name.endswith(".toml"))}
