"""``roofline compare``: several networks on several devices, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roofline.cli import frontend, output
from roofline.cli.options import (
    DevicesOption,
    ForceOption,
    Format,
    FormatOption,
    ModelsArgument,
    OutputOption,
    SetOption,
    each_device,
    machines,
    takes,
    words,
)
from roofline.engine.options import OPTIONS
from roofline.errors import InputError
from roofline.text import percent, significant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.table import Table

    from roofline.report.report import Report


@takes(OPTIONS, before="changes", each=True)
def command(
    models: ModelsArgument,
    device: DevicesOption,
    changes: SetOption = None,
    form: FormatOption = Format.table,
    file: OutputOption = None,
    force: ForceOption = False,
    **options: Any,
) -> None:
    """Simulate every MODEL on every device.

    Prints one row per run: latency, what bounds it, and how the time divides. --output also writes the networks under
    the roofs of the devices (.png, .svg, .pdf), or the rows (.csv, .json).
    """
    output.check_suffix(file, output.FILES, force=force)
    import roofline as rf
    from roofline.engine.setting import per_device

    names, devices = words(models), words(device)
    if not names or not devices:
        raise InputError("give at least one MODEL and one --device")
    chips = machines(devices, changes)
    networks = {name: frontend.network(name, frontend.Source()) for name in names}
    specs = list(chips.values())
    each = per_device(each_device(options, chips.items()), specs)
    reports = rf.simulate_many(
        {"model": networks[name], "device": spec, **own}
        for spec, own in zip(specs, each, strict=True)
        for name in names
    )
    for report in reports:
        for warning in report.warnings:
            output.warn(f"{report.model} on {report.device}: {warning}")

    def draw(path: Path) -> None:
        from roofline.plot import plot_comparison

        plot_comparison(reports, path=path)

    output.deliver({"runs": [row(report) for report in reports]}, form, [_table(reports)], file, draw)


def row(report: Report) -> dict[str, Any]:
    """Return the run as one flat row: what `rf.compare` says of it, and how its time divides."""
    from roofline.studies.compare import row_of

    return row_of(report) | {f"{name}_share": share for name, share in report.bound_shares.items()}


def _table(reports: Sequence[Report]) -> Table:
    bounds = tuple(reports[0].bound_shares)
    right = ("latency ms", "per second", "GMACs", "M params", "I FLOP/B", "TFLOP/s", "E", *bounds)
    columns = ("device", "model", "latency ms", "per second", "bound", *bounds, "GMACs", "M params", *right[4:7])
    table = output.table(None, columns, right)
    previous = None
    for report in reports:
        group = (report.device, report.runtime, report.dtype, report.batch)
        if previous is not None and group != previous and len({r.model for r in reports}) > 1:
            table.add_section()
        table.add_row(
            f"{report.device} {report.runtime} {report.dtype} b{report.batch:,}" if group != previous else "",
            report.model,
            significant(report.latency_ms, 4),
            significant(report.throughput_per_s, 3),
            report.bound,
            *(percent(share) for share in report.bound_shares.values()),
            significant(report.macs_per_example / 1e9),
            significant(report.params / 1e6),
            significant(report.intensity_flops_per_byte),
            significant(report.achieved_flops_per_s / 1e12),
            percent(report.efficiency),
        )
        previous = group
    return table
