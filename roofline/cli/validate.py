"""``roofline validate``: predicted against measured, row by row."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roofline.cli import output
from roofline.cli.options import ForceOption, Format, FormatOption, LimitOption, check_limit
from roofline.errors import InputError
from roofline.files import PICTURES, json_text
from roofline.text import percent, significant

if TYPE_CHECKING:
    from rich.table import Table

    from roofline.calibration.validate import Comparison, Validation
    from roofline.stats import Agreement

COLUMNS = ("rows", "MAPE", "scaled", "median", "bias", "tau", "Spearman", "within 10 %", "within 20 %")
#: reasons shown before the rest is counted
SHOWN = 5


def command(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="Measurements in a published format.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", "-d", help="Only rows of it; or what they ran on.")] = None,
    runtime: Annotated[str | None, typer.Option("--runtime", "-r", help="In place of the file's.")] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="In place of the file's.")] = None,
    layout: Annotated[str | None, typer.Option("--layout", help="nchw or nhwc, in place of the file's.")] = None,
    limit: LimitOption = None,
    family_column: Annotated[str | None, typer.Option("--family-column", help="Column with each row's family.")] = None,
    worst: Annotated[int, typer.Option("--worst", help="How many of the worst rows are shown.", min=0)] = 5,
    cache: Annotated[
        Path | None, typer.Option("--cache", file_okay=False, help="Folder that keeps traced networks between runs.")
    ] = None,
    torch_profile: Annotated[
        Path | None,
        typer.Option("--torch-profile", help="Instead of FILE: a trace of PyTorch's profiler, with shapes."),
    ] = None,
    form: FormatOption = Format.table,
    plot: Annotated[
        Path | None, typer.Option("--plot", dir_okay=False, help="Also draw it (.png, .svg, .pdf).")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Predict every row of FILE... and print how far off the predictions are.

    MAPE is the mean error, scaled the same after one factor has made up for what it can, bias the median with its sign.

    Formats are told by their headers: pytorch-image-models results, Accel-NASBench, DeepBench, XLA's matmul table,
    NeuSight, LLMCompass, TPU traces. Rows that cannot be used are counted and named, never dropped silently.

    --torch-profile compares op by op, told by name and shapes; --worst says how many are shown.
    """
    output.check_suffix(plot, PICTURES, force=force)
    check_limit(limit)
    if torch_profile is not None:
        if files or device is None:
            raise InputError("--torch-profile goes with --device, and without FILE")
        from roofline.cli.profile import compare

        compare(torch_profile, device, runtime, shown=worst, form=form)
        return
    if not files:
        raise InputError("give files of measurements, or --torch-profile with a trace")
    from roofline.calibration.measured import Options
    from roofline.calibration.validate import validate
    from roofline.passes.layout import check_layout

    options = Options(
        device=device,
        runtime=runtime,
        dtype=dtype,
        layout=check_layout(layout) if layout else None,
        family_column=family_column,
        limit=limit,
        cache=cache,
    )
    found = validate(files, options)
    if plot is not None:
        from roofline.plot.accuracy import plot_accuracy

        panels = [(c.title, c.measured_s, c.predicted_s, [m.family for m in c.measurements]) for c in found.comparisons]
        plot_accuracy(panels, path=plot)
    if form is Format.json:
        output.write(json_text(found.to_dict(worst)))
    elif form is Format.csv:
        output.write(output.as_csv(found.rows()))
    else:
        for comparison in found.comparisons:
            output.show(_table(comparison), *_worst(comparison, worst), *_offsets(comparison))
        output.show(*_left_out(found))
    sys.stdout.flush()


def _table(comparison: Comparison) -> Table:
    table = output.table(comparison.title, ("", *COLUMNS), COLUMNS)
    table.add_row("roofline", *cells(comparison.agreement()))
    families = comparison.families()
    if len(families) > 1:
        for name, found in families.items():
            table.add_row(f"  {name}", *cells(found))
    table.add_section()
    for name, found in comparison.baseline_agreement().items():
        table.add_row(name, *cells(found))
    return table


def cells(found: Agreement) -> list[str]:
    """Return the statistics as people read them."""
    ranks = [f"{value:.3f}" if value == value else "–" for value in (found.tau, found.spearman)]
    errors = [percent(found.mape), percent(found.scaled), percent(found.median), f"{100 * found.bias:+.1f} %"]
    return [f"{found.count:,}", *errors, *ranks, percent(found.within_10), percent(found.within_20)]


def _worst(comparison: Comparison, count: int) -> list[Table]:
    if not count:
        return []
    right = ("row", "batch", "measured ms", "predicted ms", "ratio")
    table = output.table("furthest off", ("row", "workload", "family", *right[1:]), right)
    for row in comparison.rows()[:count]:
        table.add_row(
            str(row["row"]),
            row["workload"],
            row["family"] + (" (apart)" if row["apart"] else ""),
            f"{row['batch']:,}",
            significant(row["measured_ms"]),
            significant(row["predicted_ms"]),
            f"{row['ratio']:.2f}",
        )
    return [table]


def _offsets(comparison: Comparison) -> list[str]:
    return [
        f"added by the measuring program, found from the rows: {name} {call}" for name, call in comparison.calls.items()
    ]


def _left_out(found: Validation) -> list[str]:
    lines = []
    for name, rejected in found.rejected.items():
        if rejected:
            lines.append(f"{name}: {len(rejected)} rows left out")
            lines += [f"  row {r.row}: {r.reason}" for r in rejected[:SHOWN]]
            if len(rejected) > SHOWN:
                lines.append(f"  ... and {len(rejected) - SHOWN} more (--format json names all)")
    return lines
