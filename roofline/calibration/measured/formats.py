"""Which format a file is in, told by its header, and the loop that reads any of them row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet, read_sheet
from roofline.calibration.measured.types import Dataset, Measurement, Options, Rejected
from roofline.errors import InputError, RooflineError
from roofline.hardware.load import device
from roofline.passes.layout import check_layout
from roofline.registry import filed

#: reads one row: the measurements in it (several where it has figures of several devices)
RowReader = Callable[[Cells, Sheet, Options], Iterable[Measurement]]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A public format: the columns that tell it, and the reader of its rows."""

    name: str
    title: str
    columns: frozenset[str]
    read: RowReader


FORMATS: dict[str, Format] = {}


def measured_format(name: str, title: str, columns: str | tuple[str, ...]) -> Callable[[RowReader], RowReader]:
    """Register the reader of a format whose header has all of `columns` (text has blanks between them)."""

    def register(read: RowReader) -> RowReader:
        names = columns.split() if isinstance(columns, str) else columns
        found = Format(name=name, title=title, columns=frozenset(names), read=read)
        filed(FORMATS, (name,), lambda key: f"format {key!r} is registered twice")(found)
        return read

    return register


def detect(sheet: Sheet) -> Format:
    """Return the format of a file: the one with most columns among those whose columns it all has.

    Raises
    ------
    InputError
        It is none; the message names what the nearest format would need.
    """
    have = set(sheet.columns)
    found = [f for f in FORMATS.values() if f.columns <= have]
    if found:
        return max(found, key=lambda f: len(f.columns))
    near = max(FORMATS.values(), key=lambda f: len(f.columns & have) / len(f.columns))
    missing = ", ".join(sorted(near.columns - have))
    raise InputError(f"{sheet.path.name}: format not known; nearest is {near.title}, which needs columns {missing}")


def load(path: str | Path, options: Options | None = None) -> Dataset:
    """Return the measurements of a file, and the rows that cannot be used.

    Raises
    ------
    InputError
        The file cannot be read, is of no known format, or has no row of the wanted device.
    """
    options = options or Options()
    sheet = read_sheet(Path(path))
    form = detect(sheet)
    if options.device is not None:
        options = replace(options, device=device(options.device).name)
    if options.layout is not None:
        options = replace(options, layout=check_layout(options.layout))
    if options.family_column is not None and options.family_column not in sheet.columns:
        raise InputError(f"{sheet.path.name}: no column {options.family_column!r}; has {', '.join(sheet.columns)}")
    good: list[Measurement] = []
    bad: list[Rejected] = []
    seen: dict[object, int] = {}
    for row, values in _chosen(sheet, options.limit):
        cells = Cells(row, values)
        try:
            for found in form.read(cells, sheet, options):
                measurement = _with_options(replace(found, dataset=sheet.path.name), cells, options)
                if measurement is None:
                    continue
                first = seen.setdefault(_identity(measurement), row)
                if first != row:
                    raise InputError(f"measured before, in row {first}")
                good.append(measurement)
        except RooflineError as error:
            bad.append(Rejected(row=row, reason=str(error)))
    dataset = Dataset(name=sheet.path.name, format=form.name, measurements=tuple(good), rejected=tuple(bad))
    if not good:
        why = f"; row {bad[0].row}: {bad[0].reason}" if bad else ""
        where = f" of {options.device!r}" if options.device else ""
        raise InputError(f"{dataset.name}: no usable row{where}, {len(bad)} rejected{why}")
    return dataset


def _chosen(sheet: Sheet, limit: int | None) -> Iterable[tuple[int, Mapping[str, str]]]:
    if limit is None or limit >= len(sheet.rows):
        return sheet.rows
    if limit < 1:
        raise InputError(f"limit must be at least 1, got {limit!r}")
    return [sheet.rows[i] for i in np.linspace(0, len(sheet.rows) - 1, limit).round().astype(int)]


def _with_options(found: Measurement, cells: Cells, options: Options) -> Measurement | None:
    """Return the measurement as the person wants it seen; None where it is of another device."""
    if options.device is not None and found.device != options.device:
        return None
    changes = {name: getattr(options, name) for name in ("runtime", "dtype", "layout") if getattr(options, name)}
    if options.family_column is not None:
        changes["family"] = cells.text(options.family_column)
    return replace(found, **changes) if changes else found


def _identity(m: Measurement) -> object:
    return (m.workload, m.device, m.runtime, m.dtype, m.layout, m.batch, m.mode, m.label)
