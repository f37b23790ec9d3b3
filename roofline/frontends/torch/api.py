"""`from_torch`: a PyTorch program as an op graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules import module as hooks
from torch.utils import _pytree as pytree

from roofline.errors import InputError, RooflineError, UnknownOpError
from roofline.frontends.torch import rules as _rules  # noqa: F401  (fills the registry)
from roofline.frontends.torch.exported import load_program, run_program
from roofline.frontends.torch.lower import Lowering
from roofline.frontends.torch.trace import Catcher, Tracer, attention_caught
from roofline.graph.op import show
from roofline.graph.opgraph import OpGraph


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
        A module (weights on any device, the meta device included), a function of tensors, an exported program, or the
        path of a saved one (``.pt2``).
    example_inputs
        A tensor, a tuple or list of positional inputs, a dictionary of inputs by name, or one shape
        (``(8, 3, 224, 224)``, a float32 image). Only shapes and dtypes matter; the batch is that of the first input.
        An exported program has its own.
    name
        What the graph is called; the class name by default.
    kwargs
        Further inputs by name.

    Returns
    -------
    OpGraph
        Accepted by `roofline.simulate`. Parameters count once when tied; buffers and constants are buffers.

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
    if isinstance(module, (str, Path)):
        name = name or Path(module).stem
        module = load_program(module)
    if isinstance(module, torch.export.ExportedProgram):
        name = name or "exported"
        call, module, example_inputs = run_program(module, example_inputs)
    else:
        call = module
    if not callable(module):
        raise InputError(f"cannot lower {type(module).__name__!r}: give a module, a function or an exported program")
    title = name or (type(module).__name__ if isinstance(module, torch.nn.Module) else _function_name(module))
    args, named = _inputs(example_inputs, dict(kwargs or {}))
    tracer = Tracer(Lowering())
    args, named = _enter_inputs(tracer, module, args, named, title)
    with _without_data(tracer, module) as swapped:
        out = _run(tracer, call, swapped, args, named, title)
    return _finish(tracer, out, title)


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
    function = module.forward if isinstance(module, torch.nn.Module) else module
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*args, **named)
        names = dict(bound.arguments)
    except TypeError as error:
        raise InputError(f"{title}: the example inputs do not fit the program: {error}") from None
    except ValueError:  # a builtin without signature
        names = {}
    entered: dict[int, torch.Tensor] = {}

    def enter(path: Any, x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            return x
        if id(x) not in entered:
            label = "".join(str(getattr(k, "key", getattr(k, "idx", k))) + "." for k in path).rstrip(".") or "input"
            entered[id(x)] = _meta_twin(x, f"{title}: input {label!r}")
            tracer.bind(entered[id(x)], tracer.t.leaf(label, entered[id(x)], "input"))
            if x.device.type == "cpu" and not x.is_floating_point():
                tracer.known.learn(entered[id(x)], x.detach().clone())
        return entered[id(x)]

    pytree.tree_map_with_path(enter, names)
    new = pytree.tree_map_with_path(enter, (args, named))
    return new[0], new[1]


def _meta_twin(x: torch.Tensor, what: str) -> torch.Tensor:
    if x.layout is not torch.strided or x.is_quantized:
        raise InputError(f"{what}: unsupported layout {str(x.layout)!r} or quantised dtype {str(x.dtype)!r}")
    try:
        shape = tuple(int(d) for d in x.shape)
    except Exception:
        raise InputError(f"{what} has dynamic shape {tuple(map(str, x.shape))!r}: pin it with an example input") from None
    return torch.empty_strided(shape, tuple(int(s) for s in x.stride()), dtype=x.dtype, device="meta")


# the module ------------------------------------------------------------------------------------------------------


@contextmanager
def _without_data(tracer: Tracer, module: Any) -> Iterator[dict[str, torch.Tensor]]:
    """Yield meta tensors in place of the module's parameters and buffers; hooks follow the path; evaluation mode."""
    if not isinstance(module, torch.nn.Module):
        yield {}
        return
    swapped: dict[str, torch.Tensor] = {}
    twins: dict[int, torch.Tensor] = {}
    for role, members in (("parameter", module.named_parameters), ("buffer", module.named_buffers)):
        for path, tensor in members(remove_duplicate=False):
            if isinstance(tensor, torch.nn.parameter.UninitializedTensorMixin):
                raise InputError(f"parameter {path!r} is not initialised: run the lazy module once")
            if id(tensor) not in twins:
                meta = _meta_twin(tensor, f"{role} {path!r}")
                twins[id(tensor)] = torch.nn.Parameter(meta, requires_grad=False) if role == "parameter" else meta
                value = tracer.t.leaf(path, meta, role)  # type: ignore[arg-type]
                tracer.bind(twins[id(tensor)], value)
                tracer.bind(tensor, value)
            swapped[path] = twins[id(tensor)]
    modes = {m: m.training for m in module.modules()}
    paths = {m: path for path, m in module.named_modules()}

    def enter(m: torch.nn.Module, _: Any) -> None:
        tracer.path.append(paths.get(m) or (tracer.place if m is module else f"{tracer.place}/{type(m).__name__}"))

    def leave(m: torch.nn.Module, _: Any, __: Any) -> None:
        del tracer.path[-1]

    with ExitStack() as stack:
        for m in modes:
            m.training = False
        stack.callback(lambda: [setattr(m, "training", mode) for m, mode in modes.items()])
        stack.callback(hooks.register_module_forward_pre_hook(enter).remove)
        stack.callback(hooks.register_module_forward_hook(leave).remove)
        yield swapped


def _run(
    tracer: Tracer, call: Any, swapped: dict[str, torch.Tensor], args: tuple[Any, ...], named: dict[str, Any], title: str
) -> Any:
    try:
        with torch.no_grad(), attention_caught(tracer), Catcher(tracer), tracer:
            if swapped and isinstance(call, torch.nn.Module):
                return torch.func.functional_call(call, swapped, args, named, tie_weights=False)
            return call(*args, **named)
    except RooflineError:
        raise
    except Exception as error:
        shapes = ", ".join(show(tuple(x.shape)) for x in pytree.tree_leaves((args, named)) if hasattr(x, "shape"))
        first = next(iter(str(error).strip().splitlines()), "")
        where = f" in {tracer.place!r}" if tracer.place else ""
        hint = ""
        if "meta tensor" in first or "data-dependent" in first:
            hint = "; the program depends on data, and there is none: pin what it reads"
        raise InputError(
            f"{title} raises {type(error).__name__}{where} with inputs ({shapes}): {first}{hint}"
        ) from error


def _finish(tracer: Tracer, out: Any, title: str) -> OpGraph:
    if tracer.unknown:
        kinds = "; ".join(f"{op!r} x{len(at)}, first at {at[0]}" for op, at in tracer.unknown.items())
        raise UnknownOpError(
            f"{title}: no lowering rule for {kinds}; register one with "
            "@roofline.frontends.torch.lowering('namespace.op')"
        )
    found = list(_output_tensors(out))
    if not found:
        raise InputError(f"{title} returns no tensor (got {type(out).__name__!r})")
    tracer.t.scope = ""
    values = [tracer.value(x) for x in found if x.device.type == "meta" and x.numel()]
    outputs = tuple(dict.fromkeys(tracer.t.tensor(v).id for v in values))
    return OpGraph(tracer.t.ops, tracer.t.tensors, outputs, title)


def _output_tensors(out: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """Yield the tensors in what a program returns: containers, and objects with tensors as attributes."""
    if isinstance(out, torch.Tensor):
        yield out
    elif isinstance(out, Mapping):
        for item in out.values():
            yield from _output_tensors(item, depth + 1)
    elif isinstance(out, (list, tuple, set)):
        for item in out:
            yield from _output_tensors(item, depth + 1)
    elif hasattr(out, "__dict__") and not isinstance(out, torch.nn.Module) and depth < 6:
        yield from _output_tensors(vars(out), depth + 1)
