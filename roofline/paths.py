"""Where the data folders lie: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from roofline.errors import SpecError

_PACKAGE = Path(__file__).resolve().parent
_ROOTS = (_PACKAGE / "data", _PACKAGE.parent)


def data_folder(name: str) -> Path:
    """Return the folder ``hardware_specs``, ``runtimes``, ``models`` or ``spaces``.

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
    """Return file stem -> path of every TOML file in a data folder, sorted by name."""
    folder = data_folder(name)
    return dict(_paths(folder, tuple(os.listdir(folder))))


@lru_cache(maxsize=16)
def _paths(folder: Path, names: tuple[str, ...]) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder / name for name in names if name.endswith(".toml"))}
