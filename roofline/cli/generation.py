"""What ``roofline simulate --prompt --output-tokens`` prints: answers to requests, from first to last token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import output
from roofline.cli.options import Format
from roofline.errors import InputError
from roofline.files import json_text, write_text

if TYPE_CHECKING:
    from rich.table import Table

PromptOption = Annotated[
    int | None, typer.Option("--prompt", help="Of requests to a decoder: new tokens of each prompt.")
]
AnswerOption = Annotated[int | None, typer.Option("--output-tokens", help="Tokens of each answer.")]
ChunkOption = Annotated[int | None, typer.Option("--chunk", help="Tokens of prompts per step at most; default: all.")]
#: options that say requests rather than a run, by their parameters
SAID = {"prompt": "--prompt", "output_tokens": "--output-tokens", "chunk": "--chunk"}


def requests(**given: int | None) -> dict[str, Any]:
    """Return what is said of requests; nothing where a single run is asked for.

    Raises
    ------
    InputError
        Only a part of them is said.
    """
    found = {name: value for name, value in given.items() if value is not None}
    if found and not {"prompt", "output_tokens"} <= found.keys():
        missing = next(flag for name, flag in SAID.items() if name not in found)
        raise InputError(f"requests have --prompt and --output-tokens: {missing} is missing")
    return found


def show(network: Any, chip: Any, said: dict[str, Any], form: Format, file: Path | None, options: Any) -> None:
    """Predict how requests are answered, and print it.

    A file gets it as JSON, or all batches that fit: the trade of tokens per second against time per token as a picture,
    its points as CSV.
    """
    import roofline as rf
    from roofline.report.generation_text import heading

    output.check_suffix(file, output.FILES, force=True)
    found = rf.generate(network, chip, **said, **options)
    for warning in found.warnings:
        output.warn(warning)
    if file is not None and file.suffix.lower() == ".json":
        write_text(file, json_text(found.to_dict()))
    elif file is not None:
        curve = rf.serving_curve(network, chip, **said, **(options | {"batch": None}))
        if file.suffix.lower() == ".csv":
            write_text(file, curve.table.to_csv(index=False))
        else:
            curve.plot(file)
    if form is Format.json:
        output.write(json_text(found.to_dict()))
    elif form is Format.csv:
        output.write_rows("generation", [_flat(found.to_dict())], form)
    else:
        output.show(heading(found), _summary(found))


def _summary(found: Any) -> Table:
    from roofline.report.generation_text import summary_rows

    table = output.table(None, ())
    table.show_header = False
    for justify in ("left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    for row in summary_rows(found):
        table.add_row(*row)
    return table


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Return numbers of tables inside tables side by side."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{name}_")
        elif not isinstance(value, list):
            found[before + name] = value
    return found
