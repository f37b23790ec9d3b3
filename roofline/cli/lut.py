"""``roofline lut``: the latency table of a search space on a device, for other people's search code."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from roofline.cli import output
from roofline.cli.options import DeviceOption, ForceOption, FromOption, SpaceArgument, space_word, takes
from roofline.engine.options import OF_SPACE

SUFFIXES = (".csv", ".json", ".yaml", ".yml", ".npz")


class Rows(StrEnum):
    """What a row is."""

    block = "block"
    stage = "stage"


@takes(OF_SPACE, before="image_size")
def command(
    device: DeviceOption,
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help=f"One of {', '.join(SUFFIXES)}.")],
    space: SpaceArgument = None,
    source: FromOption = None,
    by: Annotated[
        Rows, typer.Option("--by", help="Rows: distinct blocks, or stages with the choices they hear.")
    ] = Rows.block,
    image_size: Annotated[int | None, typer.Option("--image-size", help="In a space that does not choose it.")] = None,
    force: ForceOption = False,
    **options: Any,
) -> None:
    """Write the latency of every block that networks of SPACE are made of.

    CSV and JSON have a row for each, YAML the keys of Once-for-All's tables; .npz is what the oracle loads.
    """
    output.check_suffix(file, SUFFIXES, force=force)
    from roofline.search.oracle.latency import Oracle
    from roofline.search.oracle.lut import write

    oracle = Oracle(space_word(space, source), device, image_size=image_size, **options)
    if file.suffix.lower() == ".npz":
        oracle.save(file)
        output.show(f"tables of {oracle.space.name} on {oracle.devices[0]}: {file}")
        return
    count = write(oracle, file, by=by.value)
    output.show(f"{count:,} {by.value}s of {oracle.space.name} on {oracle.devices[0]}: {file}")
