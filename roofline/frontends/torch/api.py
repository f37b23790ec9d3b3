"""`from_torch`: a PyTorch program as an op graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from roofline.errors import InputError, RooflineError, ShapeError, UnknownOpError
from roofline.frontends.torch import rules as _rules  # noqa: F401  (fills the registry)
from roofline.frontends.torch.asked import raised_at
from roofline.frontends.torch.catch import Catcher, attention_caught, eager, flex_attention_caught
from roofline.frontends.torch.exported import open_program, own_inputs
from roofline.frontends.torch.files import load_program
from roofline.frontends.torch.given import as_it_was, reached
from roofline.frontends.torch.kept import take_back
from roofline.frontends.torch.module import meta_twin, signature_of, without_data
from roofline.frontends.torch.reader import Tracer
from roofline.frontends.torch.writer import Writer
from roofline.graph.empty import without_empty
from roofline.graph.experts import with_routing
from roofline.graph.op import show
from roofline.graph.opgraph import OpGraph
from roofline.graph.state import with_state


def from_torch(
    module: Callable[..., Any] | str | Path | torch.export.ExportedProgram,
    example_inputs: Any = None,
    *,
    name: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> OpGraph:
    """Lower a PyTorch program to an op graph, as an eager runtime launches it: one op for each ATen op.

    Nothing is computed: the program runs in evaluation mode on tensors without data, whatever its weights are on.

    Parameters
    ----------
    module
        A module (weights on any device, the meta device included), a function of tensors, TorchScript, an exported
        program, or the path of a saved one (``.pt2``, ``.pt``).
    example_inputs
        A tensor, a tuple or list of positional inputs, a dictionary of inputs by name, or one shape
        (``(8, 3, 224, 224)``, a float32 image). Shapes and dtypes matter, and the values of small integer and boolean
        tensors that have data. An exported program has its own.
    name
        What the graph is called; the class name by default.
    kwargs
        Further inputs by name.

    Returns
    -------
    OpGraph
        Accepted by `roofline.engine`. Parameters count once when tied; buffers and constants are buffers.

    Raises
    ------
    UnknownOpError
        Ops without a lowering rule: all of them with their places, shapes and counts, and how to register one.
    InputError
        The program raises, its inputs do not fit, or it depends on data.

    Examples
    --------
    >>> import torch
    >>> from_torch(torch.nn.Linear(16, 32, device="meta"), (8, 16)).macs
    4096.0
    """
    tracer = Tracer(Writer())
    if isinstance(module, (str, Path)):
        name = name or Path(module).stem
        module = load_program(module)
    if isinstance(module, torch.export.ExportedProgram):
        name = name or "exported"
        program, module = module, open_program(module, tracer)
        if example_inputs is None:
            example_inputs, kwargs = own_inputs(program)
    if not callable(module):
        raise InputError(f"cannot lower {type(module).__name__!r}: give a module, a function or an exported program")
    title = name or (type(module).__name__ if isinstance(module, torch.nn.Module) else _function_name(module))
    args, named = pytree.tree_map_only(np.ndarray, torch.from_numpy, _inputs(example_inputs, dict(kwargs or {})))
    with torch.inference_mode(False), as_it_was((args, named)):  # its tensors are taken apart later than others
        graph = _lowered(tracer, module, args, named, title)
    take_back(tracer.release())
    return graph


def _lowered(tracer: Tracer, program: Any, args: tuple[Any, ...], named: dict[str, Any], title: str) -> OpGraph:
    args, named = _enter_inputs(tracer, program, args, named, title)
    with without_data(tracer, program) as call:
        return _finish(tracer, _run(tracer, call, args, named, title), title)


@dataclass(frozen=True, kw_only=True)
class Between:
    """A tensor between two parts of a program, as torch sees it and as the graph stores it.

    Attributes
    ----------
    strides
        Torch's, in elements; None: contiguous.
    order
        Torch dimension of each axis of the graph's tensor; None: as the first reader wants it.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    strides: tuple[int, ...] | None = None
    order: tuple[int, ...] | None = None

    def empty(self) -> torch.Tensor:
        """Return such a tensor, without data."""
        if self.strides is None:
            return torch.empty(self.shape, dtype=self.dtype, device="meta")
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device="meta")


def lower_part(module: torch.nn.Module, given: Between) -> tuple[OpGraph, Between]:
    """Return the graph of a part of a program that takes one tensor and returns one, and what it returns.

    Raises
    ------
    InputError
        As `from_torch`; or the part does not return one tensor.
    """
    tracer = Tracer(Writer())
    with torch.inference_mode(False):  # its tensors are taken apart later than others
        graph, left = _lowered_part(tracer, module, given)
    take_back(tracer.release())
    return graph, left


def _lowered_part(tracer: Tracer, module: torch.nn.Module, given: Between) -> tuple[OpGraph, Between]:
    title = type(module).__name__
    args, named = _enter_inputs(tracer, module, (given.empty(),), {}, title)
    node = tracer.value(args[0]).node
    if given.order is not None:  # as the part before has written it: nobody is free to store it otherwise
        node.role, node.axes = "activation", given.order
    with without_data(tracer, module) as call:
        out = _run(tracer, call, args, named, title)
        found = [x for x in reached(out) if isinstance(x, torch.Tensor)]
        if len(found) != 1:
            raise InputError(f"{title} returns {len(found)} tensors: parts of a network hand on one")
        node.role = "input"
        if node.tensor is not None:
            tracer.writer.put(replace(tracer.writer.tensors[node.tensor.id], role="input"))
        graph, left = _finish(tracer, out, title), found[0]
        order = tracer.value(left).stored
    return graph, Between(shape=tuple(left.shape), dtype=left.dtype, strides=tuple(left.stride()), order=order)


def _function_name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__)).strip("<>")


# inputs ----------------------------------------------------------------------------------------------------------


def _inputs(given: Any, named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and named inputs."""
    if given is None:
        return (), named
    if isinstance(given, Mapping):
        return (), {**given, **named}
    if isinstance(given, (tuple, list)):
        if given and all(isinstance(x, int) and not isinstance(x, bool) for x in given):
            if min(given) < 1:
                raise InputError(f"example_inputs: a shape has positive sizes, got {tuple(given)!r}")
            return (torch.empty(tuple(given), device="meta"),), named
        return tuple(given), named
    return (given,), named


def _enter_inputs(
    tracer: Tracer, module: Any, args: tuple[Any, ...], named: dict[str, Any], title: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the inputs as meta tensors, each an input of the graph under the name of its parameter."""
    try:
        signature = signature_of(module)
        bound = signature.bind(*args, **named)
        names = _named(signature, bound.arguments)
    except TypeError as error:
        raise InputError(f"{title}: the example inputs do not fit the program: {error}") from None
    except ValueError:  # a builtin without signature
        names = {f"input_{i}": x for i, x in enumerate(args)} | named
    entered: dict[int, torch.Tensor] = {}

    def enter(path: Any, x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            return x
        if id(x) not in entered:
            label = "".join(str(getattr(k, "key", getattr(k, "idx", k))) + "." for k in path).rstrip(".") or "input"
            entered[id(x)] = meta_twin(x, f"{title}: input {label!r}")
            tracer.inputs[label] = entered[id(x)]
            tracer.bind(entered[id(x)], tracer.writer.leaf(label, entered[id(x)], "input"))
            if not x.is_floating_point():
                tracer.known.learn_copy(entered[id(x)], x)
        return entered[id(x)]

    pytree.tree_map_with_path(enter, names)
    new = pytree.tree_map_with_path(enter, (args, named))
    return new[0], new[1]


def _named(signature: inspect.Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments by name, those of ``*args`` and ``**kwargs`` singly."""
    names: dict[str, Any] = {}
    for name, given in arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            names.update(given)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            names.update({f"{name}_{i}": x for i, x in enumerate(given)})
        else:
            names[name] = given
    return names


def _run(tracer: Tracer, call: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any], title: str) -> Any:
    try:
        with torch.no_grad(), eager(), attention_caught(tracer), flex_attention_caught(tracer), Catcher(tracer), tracer:
            return call(*args, **named)
    except RooflineError:
        raise
    except Exception as error:
        shapes = ", ".join(show(tuple(x.shape)) for x in pytree.tree_leaves((args, named)) if hasattr(x, "shape"))
        first = next(iter(str(error).strip().splitlines()), "")
        line = raised_at(error.__traceback__)
        where = f" in {tracer.place!r}" if tracer.place else ""
        hint = ""
        if any(sign in first for sign in ("meta tensor", "data-dependent", "unallocated storage")):
            hint = "; the program depends on data, and there is none: pin what it reads"
        raised = f"{title} raises {type(error).__name__}{where} with inputs ({shapes}): {first}"
        raise InputError(f"{raised}{line and f', at {line}'}{hint}") from error


def _finish(tracer: Tracer, out: Any, title: str) -> OpGraph:
    if tracer.unknown:
        kinds = "; ".join(f"{op!r} x{len(at)}, first at {at[0]}" for op, at in tracer.unknown.items())
        raise UnknownOpError(
            f"{title}: no lowering rule for {kinds}; register one with "
            "@roofline.frontends.torch.lowering('namespace.op')"
        )
    found = [x for x in reached(out) if isinstance(x, torch.Tensor)]
    if not found:
        raise InputError(f"{title} returns no tensor (got {type(out).__name__!r})")
    if not any(x.numel() for x in found):
        raise ShapeError(f"{title}: nothing to run: the tensors it returns have no elements")
    tracer.writer.place = ""
    values = [tracer.value(x) for x in found if x.device.type == "meta" and x.numel()]
    outputs = tuple(dict.fromkeys(tracer.writer.tensor(v).id for v in values))
    tracer.writer.name_memory()
    graph = without_empty(OpGraph(tracer.writer.ops, tracer.writer.tensors, outputs, title))
    return with_state(with_routing(graph))
