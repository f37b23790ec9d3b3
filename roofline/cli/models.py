"""``roofline models``: the networks, their stages, and the published counts they are checked against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import output
from roofline.cli.options import Format, FormatOption
from roofline.files import json_text
from roofline.text import engineering

if TYPE_CHECKING:
    from roofline.arch.spec import Arch


def command(
    name: Annotated[str | None, typer.Argument(help="Show this one: stages, counts, sources.")] = None,
    form: FormatOption = Format.table,
) -> None:
    """List the models, or show one with its stages, its counts and their sources."""
    import roofline as rf

    if name is not None:
        _show(rf.model(name), form)
        return
    rows = [_row(rf.model(known)) for known in rf.models()]
    if form is not Format.table:
        output.write_rows("models", rows, form)
        return
    right = ("input", "published params", "published MACs")
    table = output.table(None, ("model", "family", *right), right)
    for row in rows:
        table.add_row(
            row["model"],
            row["family"],
            str(row["image_size"]),
            "" if row["published_params"] is None else engineering(row["published_params"], digits=4),
            "" if row["published_macs"] is None else engineering(row["published_macs"]),
        )
    output.show(table)


def _row(arch: Arch) -> dict[str, Any]:
    """Return what a list says of a network, without lowering it."""
    published = arch.published
    params, macs = None, None
    if published is not None:
        params = published.params or (published.params_million and published.params_million * 1e6)
        macs = published.macs_billion and published.macs_billion * 1e9
    return {
        "model": arch.name,
        "family": arch.family,
        "title": arch.title,
        "input": arch.input,
        "image_size": arch.image_size,
        "published_params": params,
        "published_macs": macs,
    }


def _show(arch: Arch, form: Format) -> None:
    """Print one network: its stages with what they do not leave at the default, its counts, its sources."""
    from roofline.arch.build import build_graph

    graph = build_graph(arch)
    params, macs = int(graph.params), float(graph.macs)
    stages = [stage.model_dump(exclude_defaults=True) | {"repeats": stage.repeats} for stage in arch.stages]
    if form is Format.json:
        counts = {"params": params, "macs": macs, "stages": stages, "sources": dict(arch.sources)}
        output.write(json_text({**_row(arch), **counts}))
        return
    plain = ("name", "block", "repeats")
    rows = [
        {key: stage[key] for key in plain}
        | {"settings": ", ".join(f"{key} {value}" for key, value in stage.items() if key not in plain)}
        for stage in stages
    ]
    if form is Format.csv:
        output.write_rows("stages", rows, form)
        return
    unit = "px" if arch.input == "image" else "tokens"
    table = output.table(None, (*plain, "settings"), ("repeats",), ("settings",))
    for row in rows:
        table.add_row(*map(str, row.values()))
    counts_line = f"{params:,} parameters, {engineering(macs, digits=4)} MACs per example ({arch.image_size} {unit})"
    citations = output.table(None, ("source", "citation"), folding=("citation",))
    for key, citation in arch.sources:
        citations.add_row(key, citation)
    output.show(f"{arch.name}: {arch.title}", counts_line, *_published(arch), table, citations)


def _published(arch: Arch) -> list[str]:
    published = arch.published
    if published is None:
        return []
    said = published.model_dump(exclude_none=True, exclude={"source", "note"})
    text = ", ".join(f"{key} {value:,}" for key, value in said.items())
    return [f"published: {text} ({published.source})" + (f"; {published.note}" if published.note else "")]
