"""What would make a network faster, found by simulating it with every change there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from roofline.arch.load import model as load_model
from roofline.engine.options import RunOptions
from roofline.graph.opgraph import OpGraph
from roofline.report.report import Report
from roofline.report.run import Network, request_of, simulate, simulate_many
from roofline.studies.edits import Edit, edits

if TYPE_CHECKING:
    import pandas as pd

    from roofline.hardware.spec import Device


def advise(model: Network, device: str | Path | Device, **options: Unpack[RunOptions]) -> pd.DataFrame:
    """Try every edit of a run, and rank them by the throughput they gain.

    Nothing is estimated: each row is a simulation of the edited run, all of them in one `simulate_many`. Edits do not
    add up: simulate them together where several are wanted.

    Parameters
    ----------
    model, device, **options
        As `simulate`.

    Returns
    -------
    DataFrame
        One row per edit, best first: edit, description, stage (empty for the whole run), setting (what to write in the
        stage's table of the architecture file, or which option of `simulate`), kind (``free``: same outputs;
        ``precision``: another number format; ``network``: another function, to be trained again, whose accuracy is not
        predicted), latency before and after, throughput before and after, their changes and that of the MACs per
        example as fractions, and whether the edited run fits into memory.

    Raises
    ------
    UnknownNameError
        No such model, device, runtime or dtype.
    InputError
        A value is out of range, or the device lacks the dtype.
    DoesNotFitError
        With ``strict=True``, the network needs more memory than the device has.

    Examples
    --------
    >>> table = advise("efficientnet-b0", "tpu-v3", batch=128)
    >>> bool((table["throughput_change"].diff()[1:] <= 0).all())
    True
    """
    import pandas as pd

    request = request_of(model=model, device=device, **options)
    if not isinstance(request.model, OpGraph):
        request = replace(request, model=load_model(request.model))
    before = simulate(request.model, device, **options)
    found = edits(before, request)
    after = simulate_many([edit.request for edit in found])
    rows = [_row(before, edit, report) for edit, report in zip(found, after, strict=True)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values("throughput_change", ascending=False, kind="stable", ignore_index=True)


COLUMNS = (
    *("edit", "description", "stage", "setting", "kind", "latency_before_ms", "latency_ms", "latency_change"),
    *("throughput_before_per_s", "throughput_per_s", "throughput_change", "macs_change", "fits"),
)


def _row(before: Report, edit: Edit, after: Report) -> dict[str, Any]:
    macs = before.macs_per_example
    return {
        "edit": edit.edit,
        "description": edit.description,
        "stage": edit.stage,
        "setting": edit.setting,
        "kind": edit.kind,
        "latency_before_ms": before.latency_ms,
        "latency_ms": after.latency_ms,
        "latency_change": after.latency_s / before.latency_s - 1.0,
        "throughput_before_per_s": before.throughput_per_s,
        "throughput_per_s": after.throughput_per_s,
        "throughput_change": after.throughput_per_s / before.throughput_per_s - 1.0,
        "macs_change": after.macs_per_example / macs - 1.0 if macs else 0.0,
        "fits": after.fits,
    }
