"""``roofline validate --torch-profile``: where a profile and its prediction part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from roofline.cli import output
from roofline.cli.options import Format
from roofline.files import json_text
from roofline.text import percent, significant

if TYPE_CHECKING:
    from roofline.calibration.profile import Line, ProfileComparison


def compare(path: Path, device: str, runtime: str | None, *, shown: int, form: Format) -> None:
    """Print the ops of a trace beside their predictions."""
    from roofline.calibration.profile import compare_profile

    found = compare_profile(path, device, runtime)
    if form is Format.json:
        output.write(json_text(found.to_dict()))
    elif form is Format.csv:
        output.write(output.as_csv([_row(line) for line in (*found.lines, *found.unmatched)]))
    else:
        _show(found, shown)


def _row(line: Line) -> dict[str, object]:
    predicted_us = "" if line.predicted_s is None else line.predicted_s * 1e6
    times_us = {"measured_us": line.measured_s * 1e6, "predicted_us": predicted_us}
    return {"op": line.op, "shapes": line.shapes, "calls": line.calls, **times_us, "why": line.why}


def _show(found: ProfileComparison, shown: int) -> None:
    measured_s = sum(line.measured_s for line in found.lines)
    predicted_s = sum(line.predicted_s or 0.0 for line in found.lines)
    lost_s = sum(line.measured_s for line in found.unmatched) + found.unowned_s
    right = ("calls", "measured us", "predicted us", "ratio", "gap us")
    table = output.table(f"on {found.device}, {found.runtime}: largest gaps first", ("op", "shapes", *right), right)
    for line in found.lines[:shown]:
        ratio = f"{(line.predicted_s or 0.0) / line.measured_s:.2f}"
        times = (significant(line.measured_s * 1e6), significant((line.predicted_s or 0.0) * 1e6))
        table.add_row(line.op, line.shapes, f"{line.calls:,}", *times, ratio, f"{line.gap_s * 1e6:+,.1f}")
    whole = f"{len(found.lines)} ops with their shapes: measured {significant(measured_s * 1e3)} ms, predicted "
    output.show(table, f"{whole}{significant(predicted_s * 1e3)} ms")
    if found.unmatched or found.unowned_s:
        share = lost_s / (lost_s + measured_s)
        output.show(f"without a prediction: {percent(share)} of the time, {len(found.unmatched)} ops")
        for line in found.unmatched[:shown]:
            output.show(f"  {line.op} {line.shapes}, {significant(line.measured_s * 1e6)} us: {line.why}")
        if found.unowned_s:
            output.show(f"  kernels that no op launched: {significant(found.unowned_s * 1e6)} us")
