"""Writing a report to a file, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from roofline.errors import InputError
from roofline.files import atomic

if TYPE_CHECKING:
    from roofline.simulate.report import Report

PICTURES = (".png", ".svg", ".pdf")


def save(report: Report, path: Path) -> Path:
    """Write a report in the format its suffix names; see `Report.save`."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        with atomic(path) as temporary:
            temporary.write_text(report.kernels.to_csv(index=False), encoding="utf-8")
    elif suffix == ".json":
        kernels = json.loads(report.kernels.to_json(orient="records"))
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(report.to_dict() | {"kernels": kernels}, indent=1), encoding="utf-8")
    elif suffix in PICTURES:
        report.plot_roofline(path)
    else:
        raise InputError(f"cannot write {path.name!r}: allowed suffixes are .csv, .json, {', '.join(PICTURES)}")
    return path
