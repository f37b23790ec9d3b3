"""``roofline export``: networks as programs in PyTorch or JAX, or as ONNX files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from roofline.cli import frontend, output
from roofline.cli.options import ForceOption, ModelsArgument, words
from roofline.errors import InputError
from roofline.text import counted


def command(
    models: ModelsArgument,
    to: Annotated[list[str], typer.Option("--to", help="torch, onnx or jax; repeat it, or give a comma list.")],
    folder: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", file_okay=False, help="Made if missing.")],
    image_size: Annotated[int | None, typer.Option("--image-size", help="Pixels per side, or tokens.")] = None,
    weights: Annotated[
        bool, typer.Option("--weights/--no-weights", help="ONNX files with weights, or with their shapes alone.")
    ] = True,
    force: ForceOption = False,
) -> None:
    """Write each MODEL as a program or a file that needs nothing of this package.

    torch is a readable module of modules that can be trained, jax plain functions, onnx a file for any batch. Weights
    are new, drawn as the papers do.
    """
    from roofline.export.files import export, forms

    names, chosen = words(models), forms(words(to))
    if not names:
        raise InputError("give at least one MODEL")
    for name in names:
        network = frontend.network(name, frontend.Source())
        for path in export(network, chosen, folder, image_size=image_size, weights=weights, force=force):
            output.show(f"{name}: {path} ({counted(path.stat().st_size, 'byte')})")


def forms_beside(to: list[str] | None, folder: Path | None) -> tuple[str, ...]:
    """Return the forms in which networks are to be written beside their architecture files.

    Raises
    ------
    InputError
        No such form, or there is no folder to write into.
    """
    from roofline.export.files import forms

    if not to:
        return ()
    if folder is None:
        raise InputError("--export writes into the folder of --output: give it")
    return forms(words(to))


def export_beside(written: Iterable[Path], chosen: tuple[str, ...]) -> None:
    """Write the network of each architecture file among some files beside it."""
    from roofline.export.files import export

    for path in written:
        if chosen and path.suffix == ".toml":
            export(path, chosen, path.parent, force=True)
