"""Exported programs: loaded from ``.pt2`` files, run node by node so that ops know the module they came from."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from roofline.errors import InputError


def load_program(path: str | Path) -> torch.export.ExportedProgram:
    """Return the program of a ``.pt2`` file.

    Raises
    ------
    InputError
        There is no such file, or it is not a saved program.
    """
    if not Path(path).is_file():
        raise InputError(f"no file {str(path)!r}")
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("not a zip archive")
        return torch.export.load(path)
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{str(path)!r} is not a saved program (.pt2): {first}") from None


def run_program(program: torch.export.ExportedProgram, example_inputs: Any) -> tuple[Any, torch.nn.Module, Any]:
    """Return what to call, the module that holds the weights, and the inputs (the program's own, unless given).

    Raises
    ------
    InputError
        The program has dynamic shapes and no example inputs.
    """
    module = program.module(check_guards=False)
    if example_inputs is None:
        args, kwargs = _own_inputs(program)
        names = list(args)
        return module, module, {**args, **kwargs} if names else kwargs
    return module, module, example_inputs


def _own_inputs(program: torch.export.ExportedProgram) -> tuple[dict[str, Any], dict[str, Any]]:
    wanted = set(program.graph_signature.user_inputs)
    found: dict[str, Any] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in wanted:
            found[node.name] = _pinned(node.name, node.meta.get("val"))
    return found, {}


def _pinned(name: str, x: Any) -> Any:
    if not isinstance(x, torch.Tensor):
        return x
    if not all(isinstance(d, int) for d in x.shape):
        dims = "x".join(str(d) for d in x.shape)
        raise InputError(f"input {name!r} has dynamic shape {dims}: pin it with example_inputs")
    return torch.empty(tuple(x.shape), dtype=x.dtype, device="meta")
