"""Writing a report to a file, whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from roofline.errors import InputError

if TYPE_CHECKING:
    from roofline.simulate.report import Report

PICTURES = (".png", ".svg", ".pdf")


def save(report: Report, path: Path) -> Path:
    """Write a report in the format its suffix names; see `Report.save`."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        write_atomically(path, report.kernels.to_csv(index=False).encode())
    elif suffix == ".json":
        kernels = json.loads(report.kernels.to_json(orient="records"))
        write_atomically(path, json.dumps(report.to_dict() | {"kernels": kernels}, indent=1).encode())
    elif suffix in PICTURES:
        report.plot_roofline(path)
    else:
        raise InputError(f"cannot write {path.name!r}: allowed suffixes are .csv, .json, {', '.join(PICTURES)}")
    return path


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` through a temporary file beside it, so that nothing is ever half written.

    Raises
    ------
    InputError
        The place cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
