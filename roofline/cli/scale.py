"""``roofline scale``: a base network scaled to a family, by latency on devices or by FLOPs."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import output
from roofline.cli.export import export_beside, forms_beside
from roofline.cli.options import (
    DevicesOption,
    ExportOption,
    ForceOption,
    Format,
    FormatOption,
    each_device,
    machines,
    takes,
    words,
)
from roofline.engine.options import PER_DEVICE
from roofline.errors import InputError
from roofline.files import finite, json_text
from roofline.text import significant

if TYPE_CHECKING:
    from roofline.search.scaling.family import Answer, ScaledFamily


class ScaledBy(StrEnum):
    """What the targets are of."""

    latency = "latency"
    flops = "flops"


@takes(PER_DEVICE, before="folder", each=True)
def command(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Network to scale: a name, or a file.")],
    device: DevicesOption,
    target: Annotated[
        list[str] | None,
        typer.Option("--target-latency-ms", "-t", help="A,B,...; repeat DEVICE=A,B,... where devices differ."),
    ] = None,
    gmacs: Annotated[str | None, typer.Option("--target-gmacs", help="A,B,...: 1e9 MACs of one example.")] = None,
    times: Annotated[str | None, typer.Option("--times", help="Multiples of the base's cost: 2,4,8,...")] = None,
    like: Annotated[
        str | None, typer.Option("--like", help="Networks to cost no more than: efficientnet-b1..b7")
    ] = None,
    objective: Annotated[ScaledBy, typer.Option("--objective", help="What targets are of.")] = ScaledBy.latency,
    accuracy: Annotated[
        str, typer.Option("--accuracy", "-a", help="all-families, efficientnet, or module:function.")
    ] = "all-families",
    base_top1: Annotated[
        float | None, typer.Option("--base-top1", help="Top-1 accuracy of BASE [%]; default: the published one.")
    ] = None,
    tie: Annotated[
        float | None, typer.Option("--tie", help="Gap [percentage points] that accuracy cannot tell; default 0.25.")
    ] = None,
    free: Annotated[bool, typer.Option("--free", help="Each member its own depth, width and resolution.")] = False,
    depth: Annotated[float, typer.Option("--max-depth", help="Largest multiple.")] = 6.0,
    width: Annotated[float, typer.Option("--max-width", help="Largest multiple.")] = 4.0,
    resolution: Annotated[float, typer.Option("--max-resolution", help="Largest multiple.")] = 3.0,
    step: Annotated[int | None, typer.Option("--resolution-step", help="Pixels between resolutions.")] = None,
    folder: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", file_okay=False)] = None,
    to: ExportOption = None,
    force: ForceOption = False,
    form: FormatOption = Format.table,
    **options: Any,
) -> None:
    """Scale BASE in depth, width and resolution to a family of networks.

    Each member is the cheapest of the networks that accuracy cannot tell from the most accurate one within its target,
    a hard limit; by latency it is then moved until no FLOPs-scaled network of equal predicted accuracy is faster.
    Prints the family, the coefficients, and what every calibration of accuracy would choose. --output keeps a
    table, architecture files of the members (--export: and programs), and plots.
    """
    from roofline.search.accuracy.choose import load_function
    from roofline.search.scaling.compound import TIE_PP, compound_scale
    from roofline.search.scaling.forms import Limits

    devices, chosen = words(device), forms_beside(to, folder)
    if not devices:
        raise InputError("give at least one --device")
    if target and objective is ScaledBy.flops:
        raise InputError("--target-latency-ms is of --objective latency: give --target-gmacs, --times or --like")
    if gmacs and objective is ScaledBy.latency:
        raise InputError("--target-gmacs is of --objective flops: give --target-latency-ms, --times or --like")
    kinds = {"--target-latency-ms": target, "--target-gmacs": gmacs, "--times": times, "--like": like}
    given = [name for name, value in kinds.items() if value]
    if len(given) != 1:
        raise InputError(f"give one of {', '.join(kinds)}; got {' and '.join(given) or 'none'}")
    if folder is not None and os.path.exists(folder / "family.csv") and not force:
        raise InputError(f"{str(folder)!r} holds a family: give --force to overwrite it")
    wanted = _milliseconds(target) if target else None
    family = compound_scale(
        base,
        devices,
        wanted if gmacs is None else _numbers(gmacs, "--target-gmacs"),
        times=None if times is None else _numbers(times, "--times"),
        like=like,
        objective=objective.value,
        accuracy=load_function(accuracy) if ":" in accuracy else accuracy,
        base_top1=base_top1,
        tie_pp=TIE_PP if tie is None else tie,
        coefficients="free" if free else "common",
        limits=Limits(depth=_to(depth), width=_to(width), resolution=_to(resolution), resolution_step=step),
        **each_device(options, machines(devices, None).items()),
    )
    if folder is not None:
        export_beside(family.save(folder), chosen)
    _print(family, form)


def _to(most: float) -> tuple[float, float]:
    return min(1.0, most), most


def _milliseconds(texts: list[str]) -> Any:
    """Return ``A,B,...``, or a mapping for ``DEVICE=A,B,...`` once per device."""
    if not any("=" in text for text in texts):
        return _numbers(",".join(texts), "--target-latency-ms")
    pairs = [text.partition("=") for text in texts]
    if not all(equals for _, equals, _ in pairs):
        raise InputError("--target-latency-ms takes A,B,... for all devices, or DEVICE=A,B,... for each")
    return {device.strip(): _numbers(values, "--target-latency-ms") for device, _, values in pairs}


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"{option} takes numbers, A,B,..., got {text!r}") from None


def _print(family: ScaledFamily, form: Format) -> None:
    from roofline.search.scaling.family import left_out

    if form is Format.json:
        output.write(json_text(finite(family.summary())))
        return
    if form is Format.csv:
        output.write(output.as_csv(family.rows()))
        return
    head = f"{family.grid.base.name} scaled by {family.objective} on {', '.join(family.devices)}"
    output.show(f"{head}: {len(family.grid):,} networks looked at, targets are hard limits")
    for name, answer in family.answers.items():
        error = left_out(name)
        said = "" if error != error else f", {error:.1f} points off (root mean square) for a family left out of its fit"
        output.show(f"\naccuracy by {name}{said}", _coefficients(answer), _table(family, name))
        output.show(*(f"trade: {line}" for line in family.trades(name)))
    output.show(*(f"note: {note}" for note in family.notes))


def _coefficients(answer: Answer) -> str:
    triple = answer.triple
    if triple is None:
        return "coefficients are free for each member"
    low, high = triple.lowest, triple.highest
    spans = ", ".join(f"{a:.2f} to {b:.2f}" for a, b in zip(low, high, strict=True))
    best = ", ".join(f"{value:.2f}" for value in triple.best)
    return (
        f"alpha {triple.alpha:.2f}, beta {triple.beta:.2f}, gamma {triple.gamma:.2f} of depth, width, resolution at"
        f" twice the cost; most accurate {best}; accuracy cannot tell {triple.count} apart: {spans}"
    )


def _table(family: ScaledFamily, name: str) -> Any:
    by_latency = family.objective == "latency"
    times = [f"{device} ms" for device in family.devices]
    more = [f"FLOPs-scaled {time}" for time in times] if by_latency else []
    numbers = ("depth", "width", "px", "phi", "GMACs", "M params", *times, *more, "tied")
    table = output.table(None, ("member", *numbers[:-1], "accuracy", "tied"), numbers)
    for row in family.rows(name):
        latencies = [significant(row[f"latency_ms_{device}"], 4) for device in family.devices]
        scaled = [significant(row[f"flops_scaled_latency_ms_{device}"], 4) for device in family.devices if by_latency]
        phi = "" if row["phi"] != row["phi"] else f"{row['phi']:.2f}"
        scale = (f"{row['depth']:.2f}", f"{row['width']:.2f}", f"{row['resolution_px']}", phi)
        counts = (significant(row["macs"] / 1e9), significant(row["params"] / 1e6))
        table.add_row(row["member"], *scale, *counts, *latencies, *scaled, row["figure"], f"{row['tied']:,}")
    return table
