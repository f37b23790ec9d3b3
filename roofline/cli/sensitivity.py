"""``roofline sensitivity``: which number of a device a latency hangs on."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from roofline.cli import frontend, output
from roofline.cli.options import (
    DeviceOption,
    ForceOption,
    Format,
    FormatOption,
    OutputOption,
    SetOption,
    machines,
    takes,
    words,
)
from roofline.engine.options import OPTIONS
from roofline.text import significant


@takes(OPTIONS, before="field")
def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model name, a TOML file, a saved graph (.json), or a config.json.")
    ],
    device: DeviceOption,
    field: Annotated[
        list[str] | None, typer.Option("--field", help="Only this one; repeat it, or a comma list.")
    ] = None,
    changes: SetOption = None,
    form: FormatOption = Format.table,
    file: OutputOption = None,
    force: ForceOption = False,
    **options: Any,
) -> None:
    """Change every number of a device a little and simulate MODEL again: d log latency / d log field.

    Counts are halved and doubled. --output also draws the fields that matter (.png, .svg, .pdf), or writes all
    (.csv, .json).
    """
    output.check_suffix(file, output.FILES, force=force)
    import roofline as rf

    chip = machines([device], changes)[device]
    found = rf.sensitivity(
        frontend.network(model, frontend.Source()), chip, fields=words(field) if field else None, **options
    )
    right = ("value", "from", "to", "ms", "ms to", "elasticity")
    shown = output.table(f"d log latency / d log field: {found.report}", ("field", *right), right)
    for row in found.table.to_dict("records"):
        shown.add_row(
            row["field"],
            *(f"{row[name]:.6g}" for name in ("value", "low", "high")),
            *(significant(row[name], 5) for name in ("low_ms", "high_ms")),
            "–" if math.isnan(row["elasticity"]) else f"{row['elasticity']:+.3f}",
        )
    output.deliver({"fields": output.records(found.table)}, form, [shown], file, found.plot)
