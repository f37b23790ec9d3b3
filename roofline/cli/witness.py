"""``roofline witness``: what XLA's own compiler makes of networks, beside the predictions."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import frontend, output
from roofline.cli.options import (
    DevicesOption,
    ForceOption,
    Format,
    FormatOption,
    OutputOption,
    SetOption,
    machines,
    whole_numbers,
    words,
)
from roofline.cli.programs import jax_program
from roofline.cli.progress import progress_bar
from roofline.errors import InputError
from roofline.text import percent, significant

if TYPE_CHECKING:
    from rich.table import Table

    from roofline.studies.beside import Witness

SLOWEST = 20


def command(
    device: DevicesOption,
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Model names or files; comma lists too.")
    ] = None,
    batch: Annotated[str, typer.Option("--batch", "-b", help="Examples per run and chip; a comma list too.")] = "1",
    dtype: Annotated[str | None, typer.Option("--dtype", help="bf16, fp16 or fp32; default: the device's.")] = None,
    image_size: Annotated[int | None, typer.Option("--image-size", help="Pixels per side (or tokens).")] = None,
    jax: frontend.JaxOption = None,
    input_shape: frontend.ShapeOption = None,
    topology: Annotated[
        str | None, typer.Option("--topology", metavar="NAME", help="What JAX calls the device: v5e:1x1, ...")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="DIR", help="Keep compiled programs here: none is compiled twice.")
    ] = None,
    kept_only: Annotated[
        bool, typer.Option("--kept-only", help="Leave out what --cache does not have, instead of compiling it.")
    ] = False,
    changes: SetOption = None,
    form: FormatOption = Format.table,
    file: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Compile MODELs, or a JAX function (--jax), for TPUs that are not there; set the compiler's kernels beside ours.

    Needs the public libtpu wheel: pip install 'roofline[witness]'. Says which ops share a kernel in XLA and in the
    prediction, layouts and memories, and how cycles compare: estimates of a compiler, not measurements. --format csv
    and a .csv file hold the kernels that match; .json everything.
    """
    output.check_suffix(file, (".csv", ".json"), force=force)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # nothing runs here: JAX need not look for a TPU
    import roofline as rf

    names = words(models or [])
    if bool(names) == (jax is not None):
        raise InputError("give MODEL or --jax, not both" if names else "give a MODEL, or --jax")
    inputs: tuple[Any, ...] = ()
    programs: list[Any] | Callable[..., Any] = list(names)
    if jax is not None:
        programs, inputs = jax_program(frontend.Source(jax=jax, shapes=tuple(input_shape or ())))
    elif input_shape:
        raise InputError("--input-shape belongs to --jax")
    with progress_bar(every=1) as progress:
        found = rf.witness(
            programs,
            list(machines(words(device), changes).values()),
            batch=whole_numbers(batch, "--batch"),
            inputs=inputs,
            dtype=dtype,
            image_size=image_size,
            topology=topology,
            cache=cache,
            kept_only=kept_only,
            progress=progress,
        )
    for model, chip, size, reason in found.refused:
        output.warn(f"{model} on {chip} at batch {size} is missing: {reason}")
    tables = {
        "kernels": output.records(found.table),
        "runs": output.records(found.summary),
        "devices": output.records(found.devices),
        "pairs": output.records(found.pairs),
    }
    shown: list[Table | str] = [found.source, _runs(found)]
    shown += [_devices(found)] if len(found.runs) > 1 else [_kernels(found), _apart(found)]
    output.deliver(tables, form, shown, file, source=found.source)


def _runs(found: Witness) -> Table:
    right = ("batch", "kernels", "XLA's", "ours ms", "XLA ms", "ratio", "rank corr.", "same pairs", "unmatched")
    table = output.table("Sums over kernels", ("model", "device", *right), right)
    for row in output.records(found.summary):
        table.add_row(
            row["model"],
            row["device"],
            *(f"{row[name]:,}" for name in ("batch", "kernels", "compiled_kernels")),
            *(significant(row[name], 4) for name in ("predicted_ms", "compiled_ms")),
            *("–" if row[name] is None else f"{row[name]:.2f}" for name in ("ratio", "spearman")),
            *("–" if row[name] is None else percent(row[name]) for name in ("same_share", "unmatched_share")),
        )
    return table


def _devices(found: Witness) -> Table:
    right = ("runs", "factor", "median error", "worst", "rank corr.", "same pairs")
    table = output.table("After one factor per device", ("device", *right), right)
    for row in output.records(found.devices):
        shares = (percent(row["median_error"]), percent(row["worst_error"]))
        ranks = ("–" if row["spearman"] is None else f"{row['spearman']:.2f}", percent(row["same_share"] or 0.0))
        table.add_row(row["device"], str(row["runs"]), f"{row['factor']:.2f}", *shares, *ranks)
    return table


def _kernels(found: Witness) -> Table:
    rows = sorted(output.records(found.table), key=lambda row: -row["compiled_cycles"])[:SLOWEST]
    right = ("cycles", "XLA's", "ratio")
    names = ("kernels", "XLA's kernels", *right, "layout", "memory", "emitter")
    table = output.table(f"Slowest of {len(found.table)} groups of kernels with the same ops", names, right, names[:2])
    for row in rows:
        table.add_row(
            row["kernels"] or f"({row['ops'] or 'no op'})",
            row["compiled_kernels"],
            *(f"{row[name]:,.0f}" for name in ("cycles", "compiled_cycles")),
            "–" if row["ratio"] is None else f"{row['ratio']:.2f}",
            *(row[name] for name in ("layout", "memory", "emitter")),
        )
    return table


def _apart(found: Witness) -> Table:
    counts = Counter(
        (row["kinds"], row["predicted"]) for row in output.records(found.pairs) if row["predicted"] != row["compiled"]
    )
    table = output.table("Neighbours that one side fuses", ("ops", "fused by", "pairs"), ("pairs",))
    for (kinds, predicted), count in counts.most_common():
        table.add_row(kinds, "the prediction" if predicted else "XLA", str(count))
    return table
