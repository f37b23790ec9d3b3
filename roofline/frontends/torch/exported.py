"""Exported programs: run node by node, so that ops know the module they came from."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.utils import _pytree as pytree

from roofline.errors import InputError
from roofline.frontends.torch.reader import Tracer


class _Runner(torch.fx.Interpreter):
    """Runs a program node by node, at the place of the module that each node came from."""

    def __init__(self, module: torch.fx.GraphModule, tracer: Tracer) -> None:
        super().__init__(module)
        self.tracer = tracer

    def run_node(self, n: torch.fx.Node) -> Any:
        stack = n.meta.get("nn_module_stack") or {}
        place = next(reversed(list(stack.values())), ("", None))[0]
        self.tracer.path.append(place.removeprefix("L['self'].").removeprefix("L['self']"))
        result = super().run_node(n)
        del self.tracer.path[-1]
        return result


def open_program(program: torch.export.ExportedProgram, tracer: Tracer) -> torch.nn.Module:
    """Return a module that runs the program; its inputs have the program's names."""
    module = program.module(check_guards=False)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return _Runner(module, tracer).run(*pytree.tree_leaves((args, kwargs)))

    names = program.graph_signature.user_inputs
    positional = program.call_spec.in_spec.child(0)
    if positional.num_children == positional.num_leaves == len(names):
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        forward.__signature__ = inspect.Signature([inspect.Parameter(str(n), kind) for n in names])  # type: ignore[attr-defined]
    module.forward = forward
    return module


def own_inputs(program: torch.export.ExportedProgram) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and named inputs of the shapes that the program was exported with.

    Raises
    ------
    InputError
        A shape is dynamic.
    """
    wanted = set(program.graph_signature.user_inputs)
    leaves = [
        _pinned(node.name, node.meta.get("val"))
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in wanted
    ]
    args, kwargs = pytree.tree_unflatten(leaves, program.call_spec.in_spec)
    return tuple(args), dict(kwargs)


def _pinned(name: str, x: Any) -> Any:
    if not isinstance(x, torch.Tensor):
        return x
    if not all(isinstance(d, int) for d in x.shape):
        dims = "x".join(str(d) for d in x.shape)
        raise InputError(f"input {name!r} has dynamic shape {dims}: pin it with example_inputs")
    return torch.empty(tuple(x.shape), dtype=x.dtype, device="meta")
