"""``roofline calibrate DIR``: files for the device at hand, and how far to trust them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roofline.cli import output
from roofline.cli.options import Format
from roofline.cli.validate import COLUMNS, cells
from roofline.errors import InputError
from roofline.files import json_text
from roofline.stats import agreement
from roofline.text import percent, significant

if TYPE_CHECKING:
    from rich.table import Table

    from roofline.calibration.calibrate import Calibration

PICTURE = "calibration.png"


def calibrate_own(
    folder: Path, *, names: Sequence[str] | None, folds: Sequence[str], form: Format, force: bool
) -> None:
    """Fit what a folder holds, write the files beside it, draw it, and print how well it does.

    Raises
    ------
    InputError
        It is no folder of measurements, has too few of them, or was calibrated before.
    """
    from roofline.calibration.own_device import RESULT, calibrate_folder, next_measurements

    if os.path.exists(folder / RESULT) and not force:
        raise InputError(f"{str(folder)!r} is calibrated: give --force to fit it again")
    found = calibrate_folder(folder, names=names, folds=folds, report=output.note)
    _draw(folder, {name: fit for name, (_, fit) in found.runtimes.items()})
    if form is Format.json:
        output.write(json_text(found.to_dict()))
        return
    for name, (path, fit) in found.runtimes.items():
        output.show(_constants(name, fit), *_errors(fit), *(f"next: {line}" for line in next_measurements(fit)))
        output.show(f"wrote {path}")
    what = f"wrote {found.device}" if found.drafted else f"{found.facts.name} is the shipped device {found.device!r}"
    runtime = next(iter(found.runtimes.values()))[0]
    option = "" if found.drafted else f" --runtime {runtime}"
    output.show(what, f"drew {folder / PICTURE}", f"try: roofline simulate resnet-50 --device {found.device}{option}")


def _constants(name: str, found: Calibration) -> Table:
    right = ("fitted", "start")
    table = output.table(f"{name}, fitted to {len(found.prepared)} rows", ("constant", *right, "range", "unit"), right)
    for c in found.constants:
        edge = " (edge)" if c.field in found.fit.edges else ""
        value = significant(found.fit.values[c.field] / c.si) + edge
        start = getattr(found.runtime, c.field)
        table.add_row(c.place, value, significant(start / c.si), f"{c.low:g} to {c.high:g}", c.unit or "")
    return table


def _errors(found: Calibration) -> list[Table | str]:
    """Return the statistics of fitted rows, of each left-out family, and of all left-out rows together."""
    fitted = output.table("fitted rows", ("", *COLUMNS), COLUMNS)
    for name, rows in found.after.items():
        fitted.add_row(name.split()[0], *cells(rows))
    if not found.held_out:
        return [fitted]
    table = output.table("left out of the fit, then predicted", ("", *COLUMNS), COLUMNS)
    for held_out in found.held_out:
        table.add_row(f"{held_out.by} {held_out.name}", *cells(held_out.agreement))
    measured_s, predicted_s = _left_out(found)
    whole = agreement(predicted_s, measured_s)
    table.add_section()
    table.add_row("all of them", *cells(whole))
    line = f"networks that no fit saw: median error {percent(whole.median)}, Kendall tau {whole.tau:.3f}"
    return [fitted, table, line]


def _left_out(found: Calibration) -> tuple[np.ndarray, np.ndarray]:
    rows = np.concatenate([held_out.rows for held_out in found.held_out])
    return found.prepared.measured_s[rows], np.concatenate([held_out.predicted_s for held_out in found.held_out])


def _draw(folder: Path, found: Mapping[str, Calibration]) -> None:
    """Draw measured against predicted: single ops and networks as fitted, and networks left out."""
    from roofline.plot.accuracy import plot_accuracy

    panels = []
    for name, fit in found.items():
        rows, predicted_s = fit.prepared, fit.fit.predict(fit.prepared)
        families = [m.family for m in rows.measurements]
        whole = np.array([m.network for m in rows.measurements])
        for title, chosen in (("single ops", ~whole), ("networks, fitted", whole)):
            if chosen.any():
                of_rows = [f for f, inside in zip(families, chosen, strict=True) if inside]
                panels.append((f"{name}: {title}", rows.measured_s[chosen], predicted_s[chosen], of_rows))
        if fit.held_out:
            order = [families[i] for held_out in fit.held_out for i in held_out.rows]
            panels.append((f"{name}: networks, each left out", *_left_out(fit), order))
    plot_accuracy(panels, path=folder / PICTURE)
