"""Options for somebody else's program: ``--onnx``, ``--torch``, ``--jax``, ``--huggingface``, ``--graph``, and more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli.graph_cache import cached
from roofline.cli.programs import Source, lower_jax, lower_onnx, lower_torch
from roofline.errors import InputError

if TYPE_CHECKING:
    from roofline.arch.spec import Arch
    from roofline.graph.opgraph import OpGraph

__all__ = ["Source", "load", "network", "save"]

#: what hubs call the configuration of a model
CONFIGURATION = "config.json"

OnnxOption = Annotated[Path | None, typer.Option("--onnx", metavar="FILE", help="An ONNX file.")]
TorchOption = Annotated[
    str | None,
    typer.Option(
        "--torch", metavar="MODULE:FUNCTION", help="A function that returns a PyTorch module; or a .pt2 or .pt file."
    ),
]
JaxOption = Annotated[
    str | None,
    typer.Option("--jax", metavar="MODULE:FUNCTION", help="A JAX function, or one that returns it or a flax module."),
]
HuggingfaceOption = Annotated[
    Path | None,
    typer.Option("--huggingface", metavar="PATH", help="A language model's config.json, or the folder that holds it."),
]
GraphOption = Annotated[Path | None, typer.Option("--graph", metavar="FILE", help="A graph of --save-graph.")]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        metavar="8x3x224x224[:DTYPE]",
        help="An input of --torch or --jax, NAME=SIZES of --onnx; repeatable.",
    ),
]
DimOption = Annotated[
    list[str] | None, typer.Option("--dim", metavar="NAME=SIZE", help="Size of a dimension of --onnx; repeatable.")
]
ValueOption = Annotated[
    list[str] | None,
    typer.Option("--value", metavar="NAME=NUMBER", help="Value of an input of --onnx that decides sizes; repeatable."),
]
ExamplesOption = Annotated[
    int | None,
    typer.Option("--examples", metavar="N", help="How many examples the program is for, if its inputs do not show it."),
]
SaveOption = Annotated[Path | None, typer.Option("--save-graph", metavar="FILE", help="Also save the op graph.")]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", help="Keep lowered graphs here, by content.")
]


def load(source: Source) -> OpGraph | Arch | None:
    """Return the graph that the options name; None where they name none.

    Raises
    ------
    RooflineError
        The program cannot be imported, read or lowered; the message says what to change.
    """
    kind = source.kind
    if kind is None:
        return None
    if kind == "graph":
        import roofline as rf

        return rf.load_graph(str(source.graph))
    if kind == "huggingface":
        from roofline.frontends.huggingface import from_huggingface

        return from_huggingface(str(source.huggingface))
    build = {"onnx": lower_onnx, "torch": lower_torch, "jax": lower_jax}[kind]
    return build(source) if source.cache is None else cached(source, source.cache, kind, build)


def network(model: str | None, source: Source) -> str | OpGraph | Arch:
    """Return what is to be simulated: a model's name or file, a saved graph, or a program.

    Raises
    ------
    InputError
        Neither MODEL nor a program is given, or both.
    """
    kind = source.kind
    if model is not None and kind is not None:
        raise InputError(f"give MODEL or --{kind}, not both")
    if model is not None and is_configuration(model):
        source, model = replace(source, huggingface=Path(model)), None
    elif model is not None and model.endswith(".json"):
        source, model = replace(source, graph=Path(model)), None
    found = model or load(source)
    if found is None:
        raise InputError("give a MODEL, or one of --onnx, --torch, --jax, --huggingface, --graph")
    if source.examples is None:
        return found
    from roofline.graph.opgraph import OpGraph

    if not isinstance(found, OpGraph):
        raise InputError("--examples states the batch of a program; --batch runs MODEL at one")
    return found.with_examples(source.examples)


def is_configuration(model: str) -> bool:
    """Whether a MODEL is a language model's ``config.json``, or a folder that holds it."""
    path = Path(model)
    return path.name == CONFIGURATION or (path / CONFIGURATION).is_file()


def save(found: str | OpGraph | Arch, path: Path, options: Mapping[str, Any]) -> None:
    """Write the op graph of what is simulated with some options to a file."""
    from roofline.arch.build import build_graph
    from roofline.arch.load import model
    from roofline.engine.asked import asked, sized
    from roofline.graph.opgraph import OpGraph

    if not isinstance(found, OpGraph):
        found = build_graph(sized(model(found), asked(options)).arch, options["batch"] or 1)
    found.save(path)
