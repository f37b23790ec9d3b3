"""The format of a folder that `roofline measure` filled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.types import Measurement, Options, SavedGraph
from roofline.errors import InputError
from roofline.measure.store import COLUMNS
from roofline.passes.layout import check_layout
from roofline.software.load import runtimes


@measured_format("roofline-measure", "a folder of roofline measure", " ".join(COLUMNS))
def measured_here(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a case: its graph lies in the folder, and so do the files of a device or runtime that no shipped one is."""
    graph = sheet.path.parent / cells.text("graph")
    if not os.path.isfile(graph):
        raise InputError(f"the folder has no {cells.text('graph')!r}")
    whole = cells.text("whole") == "1"
    dispatched = cells.text("clock") == "dispatch" and not whole
    name, runtime = cells.text("device"), cells.text("runtime")
    yield Measurement(
        row=cells.row,
        label=cells.text("case"),
        workload=SavedGraph(path=graph, whole=whole),
        device=beside(sheet.path, name) if name.endswith(".toml") else cells.device("device"),
        runtime=_runtime(sheet.path, runtime),
        dtype=cells.text("dtype"),
        layout=check_layout(cells.text("layout")),
        batch=cells.integer("batch"),
        latency_s=cells.number("latency_us") * 1e-6,
        family=cells.text("family"),
        offset_group=f"{sheet.stem} {runtime}" if dispatched else None,
    )


def _runtime(path: Path, name: str) -> str:
    """Return the runtime that was fitted in the folder, or the shipped one."""
    own = path.parent / f"{own_name(name)}.toml"
    return name if name in runtimes() and not os.path.isfile(own) else beside(path, own.name)


def own_name(runtime: str) -> str:
    """Return how a runtime is called once it is fitted to a device of one's own.

    A shipped one gets another name, so that what device files say of it no longer holds.
    """
    return f"{runtime}_own" if runtime in runtimes() else runtime


def beside(path: Path, name: str) -> str:
    """Return a file of the same folder as `path`.

    Raises
    ------
    InputError
        There is none yet.
    """
    found = path.parent / name
    if not os.path.isfile(found):
        raise InputError(f"the folder has no {name!r} yet: `roofline calibrate` writes it")
    return str(found)
