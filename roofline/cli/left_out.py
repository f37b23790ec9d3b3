"""``roofline measure --check``: published networks that took no part in a fit, measured beside predicted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from roofline.cli import output
from roofline.cli.progress import progress_bar, report
from roofline.errors import InputError
from roofline.text import percent, significant

if TYPE_CHECKING:
    from roofline.measure.backend import Backend


def check_left_out(backend: Backend, folder: Path, dtypes: list[str], *, small: bool, compiled: bool) -> None:
    """Time the networks, as far as the folder lacks them, and print measured beside predicted times.

    Raises
    ------
    InputError
        The folder has not been calibrated, or timm is not installed.
    """
    from dataclasses import replace

    from roofline.calibration.own_device import RESULT
    from roofline.calibration.validate import validate
    from roofline.measure.run import measure
    from roofline.measure.store import LEFT_OUT
    from roofline.measure.timm_networks import SMALL_PIXELS, import_timm, left_out

    if not os.path.isfile(folder / RESULT):
        raise InputError(f"{str(folder)!r} predicts nothing yet: run `roofline calibrate {folder}` first")
    import_timm()
    cases = [c for dtype in dtypes for c in (left_out(dtype, pixels=SMALL_PIXELS) if small else left_out(dtype))]
    cases += [replace(c, compiled=True) for c in cases] if compiled else []
    with progress_bar(every=5) as progress:
        outcome = measure(backend, folder, cases, file=LEFT_OUT, progress=progress)
    report(outcome, folder)
    for comparison in validate([folder / LEFT_OUT]).comparisons:
        right = ("batch", "measured ms", "predicted ms", "ratio")
        table = output.table("left out of the fit", ("network", *right), right)
        for row in comparison.rows():
            times = (significant(row["measured_ms"]), significant(row["predicted_ms"]))
            table.add_row(row["family"], str(row["batch"]), *times, f"{row['ratio']:.2f}")
        found = comparison.agreement()
        about = f"{Path(comparison.runtime).stem}, {comparison.dtype}, {found.count} runs"
        errors = f"median error {percent(found.median)}, Kendall tau {found.tau:.3f}, mean error {percent(found.mape)}"
        output.show(table, f"{about}: {errors}")
