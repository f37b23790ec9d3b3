"""`calibrate` on a folder of `measure`: files for the device at hand, how far to trust them, what to measure next."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roofline.calibration.calibrate import Calibration, calibrate
from roofline.calibration.constants import fitted_constants
from roofline.calibration.draft import base_runtime, best_rates, draft_device
from roofline.calibration.fit import ROWS_PER_CONSTANT
from roofline.calibration.measured.folders import own_name
from roofline.calibration.runtime_file import write_runtime
from roofline.errors import InputError
from roofline.files import write_text
from roofline.hardware.load import device as load_device
from roofline.measure.facts import Facts
from roofline.measure.store import NETWORKS, OPS, read_facts
from roofline.reading import parse_csv, read_text
from roofline.software.load import runtime as load_runtime
from roofline.software.spec import CONSTANTS

#: everything about a calibration but its rows
RESULT = "calibration.json"
#: fitted on a GPU of one's own, the first the most important: its host is known too, its memory format is one
OWN_GPU = (
    *("matrix_fraction", "bandwidth_fraction", "floor_s", "host_s", "vector_fraction", "window_ops"),
    *("access_ops", "memory_latency_s", "movement_fraction", "residency_share"),
)
#: constant -> what would tell more of it
TOLD_BY = {c.field: c.told_by for c in CONSTANTS if c.told_by is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnDevice:
    """What came of a folder.

    Attributes
    ----------
    device
        The drafted file, or the shipped device that the driver named.
    drafted
        Whether the device file was written.
    runtimes
        Runtime -> (its file, the fit).
    """

    facts: Facts
    device: str
    drafted: bool
    runtimes: dict[str, tuple[Path, Calibration]]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the rows, ready for JSON."""
        return {
            "facts": asdict(self.facts),
            "device": self.device,
            "drafted": self.drafted,
            "runtimes": {
                name: {"file": str(path), **fit.to_dict(), "next": next_measurements(fit)}
                for name, (path, fit) in self.runtimes.items()
            },
        }


def next_measurements(found: Calibration) -> list[str]:
    """Return a line for each constant that the rows leave open: at an end of its range, or without effect."""
    lines = [
        f"{name} ended at an end of its range: measure {TOLD_BY.get(name, 'more cases that depend on it')}"
        for name in found.fit.edges
    ]
    for direction in found.fit.flat:
        names = ", ".join(direction.constants)
        told = "; ".join(dict.fromkeys(TOLD_BY[name] for name in direction.constants if name in TOLD_BY))
        lines.append(f"the rows do not determine {names}: measure {told or 'more cases that depend on them'}")
    return lines


def read_rows(folder: Path, file: str) -> list[dict[str, str]]:
    """Return the rows of a file of the folder; none where it is missing."""
    path = folder / file
    if not os.path.isfile(path):
        return []
    columns, rows = parse_csv(read_text(path), file)
    return [dict(row) for _, row in rows if len(row) == len(columns)]  # a last line may be cut short


def calibrate_folder(
    folder: Path,
    *,
    names: Sequence[str] | None = None,
    folds: Sequence[str] = ("family",),
    today: datetime.date | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> OwnDevice:
    """Fit every runtime that a folder has networks of, and write what was found beside the measurements.

    Written are a file for each runtime, a device file where no shipped one describes the device, and `RESULT`.

    Parameters
    ----------
    names, folds, report
        See `roofline.calibration.calibrate.calibrate`.

    Raises
    ------
    InputError
        It is no folder of measurements, or has too few of them.
    """
    today = today or datetime.date.today()
    facts = read_facts(folder)
    ops, networks = read_rows(folder, OPS), read_rows(folder, NETWORKS)
    runtimes = list(dict.fromkeys(row["runtime"] for row in networks))
    if not ops or not runtimes:
        lacking = "single ops" if not ops else "networks"
        raise InputError(f"{str(folder)!r} has no {lacking} yet: run `roofline measure` to its end")
    starts = {}
    for name in dict.fromkeys([*runtimes, *(row["runtime"] for row in ops)]):
        starts[name] = _write(folder / f"{own_name(name)}.toml", base_runtime(name))
    device = facts.known_as
    if device is None:
        best = best_rates(folder, ops)
        device = str(
            _write(folder / f"{facts.slug}.toml", draft_device(facts, best, f"{own_name(runtimes[0])}.toml", today))
        )
        load_device(device)  # what is written must load
    found: dict[str, tuple[Path, Calibration]] = {}
    for name in runtimes:
        report(f"fitting {name}")
        chosen = names or _affordable(starts[name], len(ops) + sum(row["runtime"] == name for row in networks))
        fit = calibrate([folder / OPS, folder / NETWORKS], starts[name], names=chosen, folds=folds, report=report)
        found[name] = starts[name], fit
    for name, (path, fit) in found.items():  # after all fits: each starts from the values that are always the same
        write_runtime(fit, path, today, start=path)
        report(f"{name} written")
    own = OwnDevice(facts=facts, device=device, drafted=facts.known_as is None, runtimes=found)
    content = json.dumps(own.to_dict(), indent=2, ensure_ascii=False).replace("NaN", "null")
    _write(folder / RESULT, content + "\n")
    return own


def _affordable(runtime: Path, rows: int) -> list[str]:
    """Return the usual constants of a runtime, the first of them where there are few rows; one may go to an offset."""
    start = load_runtime(runtime)
    own = OWN_GPU if start.device_kinds == ("gpu",) else ()
    usual = [c.field for c in fitted_constants(start, [n for n in own if getattr(start, n)] or None)]
    return usual[: max(1, rows // ROWS_PER_CONSTANT - 1)]


def _write(path: Path, text: str) -> Path:
    write_text(path, text)
    return path
