"""A runtime file with fitted values in place of the ones it was fitted from."""

from __future__ import annotations

import datetime
import json
import re
import tempfile
from pathlib import Path

from roofline.calibration.calibrate import Calibration
from roofline.calibration.constants import Fitted
from roofline.errors import InputError
from roofline.files import write_text
from roofline.paths import data_files
from roofline.software.load import runtime as load_runtime

#: key of the fit among a file's sources
SOURCE = "fit"
DIGITS = 4


def source_text(calibration: Calibration, today: datetime.date) -> str:
    """Return where fitted values come from: date, data sets with their rows, residual."""
    rows = ", ".join(f"{name} ({count:,} rows)" for name, count in calibration.datasets.items())
    return (
        f"roofline calibrate, {today.isoformat()}, on {rows}; root mean square log error "
        f"{calibration.fit.residual:.3f} with every file counting equally and large errors damped"
    )


def rewritten(text: str, calibration: Calibration, today: datetime.date) -> str:
    """Return the text of a runtime file with the fitted values; everything else stays as it is written.

    Raises
    ------
    InputError
        The file does not write a constant on one line of its table.
    """
    lines = text.splitlines()
    for constant in calibration.constants:
        lines = _with_value(
            lines, constant, calibration.fit.values[constant.field], constant.field in calibration.fit.edges
        )
    lines = [line for line in lines if not re.match(rf"{SOURCE}\s*=", line)]
    at = lines.index("[sources]") + 1
    lines.insert(at, f"{SOURCE} = {json.dumps(source_text(calibration, today), ensure_ascii=False)}")
    return "\n".join(_without_unused_sources(lines)) + "\n"


def _with_value(lines: list[str], constant: Fitted, value_si: float, edge: bool) -> list[str]:
    table, key = constant.place.split(".")
    section = ""
    for i, line in enumerate(lines):
        if match := re.match(r"\[(.+)\]\s*$", line):
            section = match[1]
        elif section == table and re.match(rf"{key}\s*=\s*\{{.*\}}\s*$", line):
            value = float(f"{value_si / constant.si:.{DIGITS}g}")
            unit = f', unit = "{constant.unit}"' if constant.unit else ""
            note = ', note = "at the edge of its range"' if edge else ""
            return [*lines[:i], f'{key} = {{ value = {value:g}{unit}, source = "{SOURCE}"{note} }}', *lines[i + 1 :]]
    raise InputError(f"the runtime file has no line for {constant.place!r}")


def _without_unused_sources(lines: list[str]) -> list[str]:
    """Return the lines without sources that no number names any more."""
    used = set(re.findall(r'source = "(\w+)"', "\n".join(lines)))
    kept, section = [], ""
    for line in lines:
        if match := re.match(r"\[(.+)\]\s*$", line):
            section = match[1]
        name = re.match(r"(\w+)\s*=", line)
        if section != "sources" or name is None or name[1] in used:
            kept.append(line)
    return kept


def write_runtime(
    calibration: Calibration, path: Path, today: datetime.date | None = None, *, start: Path | None = None
) -> None:
    """Write the fitted runtime as a file that loads: the starting file with other values.

    Parameters
    ----------
    start
        The starting file; by default the shipped one of that name.

    Raises
    ------
    InputError
        The starting runtime has no file, or the new one cannot be written.
    """
    files = data_files("runtimes")
    start = start or files.get(calibration.runtime.name)
    if start is None:
        raise InputError(f"runtime {calibration.runtime.name!r} is not one of the shipped files; nothing to rewrite")
    text = rewritten(start.read_text(encoding="utf-8"), calibration, today or datetime.date.today())
    with tempfile.TemporaryDirectory() as folder:  # what is written must load
        draft = Path(folder) / f"{calibration.runtime.name}.toml"
        draft.write_text(text, encoding="utf-8")
        load_runtime(draft)
    write_text(path, text)
