"""``roofline devices``: what is known, and where each number is from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import output
from roofline.cli.facts import facts, show_facts
from roofline.cli.options import Format, FormatOption
from roofline.text import significant

if TYPE_CHECKING:
    from roofline.hardware.spec import Device


def command(
    name: Annotated[str | None, typer.Argument(help="Show this one, with every number and its source.")] = None,
    form: FormatOption = Format.table,
) -> None:
    """List the devices, or show one with every number, its unit and its source."""
    import roofline as rf

    if name is not None:
        spec = rf.device(name)
        head = f"{spec.name}: {spec.title}, {spec.year}; default {spec.default_dtype} under {spec.default_runtime}"
        show_facts(head, facts((quantity.path, quantity) for quantity in spec.quantities), spec.sources, form)
        return
    rows = [row(rf.device(known)) for known in rf.devices()]
    if form is not Format.table:
        output.write_rows("devices", rows, form)
        return
    right = ("year", "cores", "peak TFLOP/s", "vector TFLOP/s", "memory GB", "GB/s", "ridge FLOP/B")
    table = output.table(None, ("device", "title", "dtype", "runtime", *right), right)
    for each in rows:
        table.add_row(
            each["device"],
            each["title"],
            each["dtype"],
            each["runtime"],
            str(each["year"]),
            str(each["cores"]),
            significant(each["peak_flops_per_s"] / 1e12),
            significant(each["vector_peak_flops_per_s"] / 1e12),
            significant(each["memory_bytes"] / 1e9),
            significant(each["memory_bytes_per_s"] / 1e9),
            significant(each["ridge_flops_per_byte"]),
        )
    output.show(table)


def row(spec: Device) -> dict[str, Any]:
    """Return the headline numbers of a device at its default dtype, a unit in every name."""
    peak_flops_per_s = spec.peak_flops_per_s(spec.default_dtype)
    return {
        "device": spec.name,
        "title": spec.title,
        "year": spec.year,
        "cores": spec.cores,
        "dtype": spec.default_dtype,
        "runtime": spec.default_runtime,
        "peak_flops_per_s": peak_flops_per_s,
        "vector_peak_flops_per_s": spec.vector.peak_flops_per_s,
        "memory_bytes": spec.main_memory.capacity_bytes,
        "memory_bytes_per_s": spec.main_memory.bandwidth_bytes_per_s,
        "ridge_flops_per_byte": peak_flops_per_s / spec.main_memory.bandwidth_bytes_per_s,
    }
