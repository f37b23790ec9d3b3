"""``roofline gap``: how wrong FLOPs are as a stand-in for latency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from roofline.text import significant

if TYPE_CHECKING:
    from rich.table import Table

    from roofline.studies.gap import FlopsGap


@takes(OPTIONS, before="changes", each=True)
def command(
    models: ModelsArgument,
    device: DevicesOption,
    reference: Annotated[
        str | None, typer.Option("--reference", help="The MODEL that ratios refer to; default: the first.")
    ] = None,
    changes: SetOption = None,
    form: FormatOption = Format.table,
    file: OutputOption = None,
    force: ForceOption = False,
    **options: Any,
) -> None:
    """Set the latency ratio of every pair of MODELs against the ratio of their FLOPs, device by device.

    Prints the worst error of FLOPs as a proxy, rank correlations, and a row per run; --format csv only the runs.
    --output also draws latency over FLOPs (.png, .svg, .pdf), or writes the runs (.csv) or everything (.json).
    """
    output.check_suffix(file, output.FILES, force=force)
    import roofline as rf

    chips = machines(words(device), changes)
    found = rf.flops_gap(
        [frontend.network(name, frontend.Source()) for name in words(models)],
        list(chips.values()),
        reference=reference,
        **each_device(options, chips.items()),
    )
    tables = {
        name: output.records(getattr(found, attribute))
        for name, attribute in {"runs": "table", "devices": "summary", "pairs": "pairs"}.items()
    }
    output.deliver(tables, form, [_summary(found), _runs(found)], file, found.plot)


def _summary(found: FlopsGap) -> Table:
    right = ("worst error %", "worst pair %", "expected %", "Kendall tau", "Spearman", "TFLOP/s")
    table = output.table(
        f"FLOPs as a proxy for latency, against {found.reference}",
        ("device", "runtime", "dtype", *right[:1], "model", *right[1:2], "pair", *right[2:]),
        right,
    )
    for row in found.summary.to_dict("records"):
        table.add_row(
            *(str(row[name]) for name in ("device", "runtime", "dtype")),
            f"{row['worst_error_percent']:,.0f}",
            row["worst_model"],
            f"{row['worst_pair_error_percent']:,.0f}",
            row["worst_pair"],
            f"{row['worst_pair_low_percent']:,.0f} to {row['worst_pair_high_percent']:,.0f}",
            f"{row['kendall_tau']:.2f}",
            f"{row['spearman']:.2f}",
            f"{significant(row['lowest_tflops_per_s'])} to {significant(row['highest_tflops_per_s'])}",
        )
    return table


def _runs(found: FlopsGap) -> Table:
    right = ("GFLOPs", "latency ms", "FLOPs ratio", "latency ratio", "gap", "error %", "TFLOP/s")
    table = output.table(None, ("device", "model", *right), right)
    previous = None
    for row in found.table.to_dict("records"):
        if previous not in (None, row["device"]):
            table.add_section()
        table.add_row(
            f"{row['device']} b{row['batch']:,}" if row["device"] != previous else "",
            row["model"],
            significant(row["flops_per_example"] / 1e9),
            significant(row["latency_ms"], 4),
            *(significant(row[name]) for name in ("flops_ratio", "latency_ratio", "gap")),
            f"{row['error_percent']:,.0f}",
            significant(row["achieved_tflops_per_s"]),
        )
        previous = row["device"]
    return table
