"""Where the data folders lie: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from roofline.errors import SpecError

_PACKAGE = Path(__file__).resolve().parent


def data_folder(name: str) -> Path:
    """Return the folder ``hardware_specs``, ``runtimes``, ``models`` or ``spaces``.

    Raises
    ------
    SpecError
        The installation carries no such folder.
    """
    for root in (_PACKAGE / "data", _PACKAGE.parent):
        if (root / name).is_dir():
            return root / name
    raise SpecError(f"data folder {name!r} is missing beside {_PACKAGE.name!r}: reinstall the package")


def data_files(name: str) -> dict[str, Path]:
    """Return file stem -> path of every TOML file in a data folder, sorted by name."""
    return {path.stem: path for path in sorted(data_folder(name).glob("*.toml"))}
