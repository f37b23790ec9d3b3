"""``roofline advise``: what would make a network faster, by simulating it with every change there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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
from roofline.errors import InputError, nearest
from roofline.text import significant

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

#: as `roofline.studies.edits` has them, without the cost of its import
KINDS = ("free", "precision", "network")
SHOWN = ("description", "kind", "setting", "latency_ms", "latency_change", "throughput_change", "macs_change")
LEGEND = "free: same outputs; precision: other numbers; network: another function, accuracy not predicted"
#: a change of less is not worth a line
WORTH_SAYING = 0.0005


@takes(OPTIONS, before="changes")
def command(
    device: DeviceOption,
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="A model name, a TOML file, a saved graph (.json), or a config.json."),
    ] = None,
    changes: SetOption = None,
    limit: Annotated[int, typer.Option("--limit", help="Lines of the table.")] = 15,
    everything: Annotated[bool, typer.Option("--all", help="Also changes that gain nothing.")] = False,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help=f"Only changes that are {', '.join(KINDS)}; repeatable.")
    ] = None,
    form: FormatOption = Format.table,
    file: OutputOption = None,
    force: ForceOption = False,
    onnx: frontend.OnnxOption = None,
    torch: frontend.TorchOption = None,
    jax: frontend.JaxOption = None,
    huggingface: frontend.HuggingfaceOption = None,
    graph: frontend.GraphOption = None,
    input_shape: frontend.ShapeOption = None,
    dim: frontend.DimOption = None,
    value: frontend.ValueOption = None,
    cache: frontend.CacheOption = None,
    examples: frontend.ExamplesOption = None,
    **options: Any,
) -> None:
    """Try every change of MODEL, its batch, precision and software on a device, and rank what gains throughput.

    Each line is a simulation of the changed run. "free" computes the same, "precision" the same in other numbers,
    "network" another function whose accuracy is not predicted. --format json|csv and --output hold every change.
    """
    output.check_suffix(file, (".csv", ".json"), force=force)
    if limit < 1:
        raise InputError(f"--limit must be at least 1, got {limit}")
    kinds = words(list(KINDS) if kind is None else kind)
    if not kinds:
        raise InputError(f"give at least one --kind of {', '.join(KINDS)}")
    for name in kinds:
        if name not in KINDS:
            raise InputError(f"unknown --kind {name!r}{nearest(name, KINDS)}")
    import roofline as rf

    told: dict[str, Any] = {"shapes": tuple(input_shape or ()), "dims": tuple(dim or ()), "values": tuple(value or ())}
    programs: dict[str, Any] = {"onnx": onnx, "torch": torch, "jax": jax, "huggingface": huggingface, "graph": graph}
    source = frontend.Source(**programs, cache=cache, examples=examples, **told)
    network = frontend.network(model, source)
    chip = machines([device], changes)[device]
    before = rf.simulate(network, chip, **options)
    advice = rf.advise(network, chip, **options)
    advice = advice[advice["kind"].isin(kinds)]
    shown = for_readers(advice) if everything else gains(advice)
    tried = f"{significant(before.latency_ms, 4)} ms; {len(advice)} changes tried"
    lines: tuple[Table | str, ...] = (_table(tried, shown.head(limit)), LEGEND)
    if shown.empty:
        lines = (tried, "none of them gains throughput")
    from roofline.report.summary import heading

    output.deliver({"advice": output.records(advice)}, form, (heading(before), *lines), file)


def gains(advice: pd.DataFrame) -> pd.DataFrame:
    """Return the changes that are worth a line, and of each what a reader needs."""
    return for_readers(advice[advice["throughput_change"] >= WORTH_SAYING])


def for_readers(advice: pd.DataFrame) -> pd.DataFrame:
    """Return what a reader needs of each change."""
    note = advice["fits"].map({True: "", False: " (does not fit)"})
    return advice.assign(description=advice["description"] + note)[list(SHOWN)]


def _table(title: str, advice: pd.DataFrame) -> Table:
    right = ("latency ms", "latency", "throughput", "MACs")
    table = output.table(title, ("change", "kind", "setting", *right), right)
    for row in advice.to_dict("records"):
        table.add_row(
            row["description"],
            row["kind"],
            row["setting"],
            significant(row["latency_ms"], 4),
            *(signed(row[name]) for name in ("latency_change", "throughput_change", "macs_change")),
        )
    return table


def signed(change: float) -> str:
    """Return a change in per cent with its sign; a dash where it rounds to nothing."""
    return f"{100 * change:+.1f} %" if abs(change) >= WORTH_SAYING else "-"
