"""A module made ready for tracing: tensors without data in place of its own, hooks that follow the path."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn.modules import module as hooks
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from roofline.dtypes import DTYPES
from roofline.errors import InputError
from roofline.frontends.torch.held import modules_of
from roofline.frontends.torch.reader import Tracer
from roofline.frontends.torch.values import Value


def meta_twin(x: torch.Tensor, what: str) -> torch.Tensor:
    """Return a tensor without data of the same shape, strides and dtype.

    Raises
    ------
    InputError
        A layout, dtype or dynamic shape that cannot be lowered.
    """
    if x.layout is not torch.strided or x.is_quantized:
        raise InputError(f"{what}: unsupported layout {str(x.layout)!r} or quantised dtype {str(x.dtype)!r}")
    try:
        shape = tuple(int(d) for d in x.shape)
    except Exception:
        raise InputError(
            f"{what} has dynamic shape {tuple(map(str, x.shape))!r}: pin it with an example input"
        ) from None
    return torch.empty_strided(shape, tuple(int(s) for s in x.stride()), dtype=x.dtype, device="meta")


class _Holder(torch.nn.Module):
    """A program as a module around the modules that it calls: torch swaps their tensors for the time of a call."""

    def __init__(self, program: Callable[..., Any], modules: Iterable[torch.nn.Module]) -> None:
        super().__init__()
        self.program = [program]  # in a list: no member of the holder
        self.modules_of_program = torch.nn.ModuleList(modules)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the program."""
        return entry(self.program[0])(*args, **kwargs)


def entry(program: Any) -> Callable[..., Any]:
    """Return what is called; of a layer of TorchScript with overloads, the first of them."""
    overloaded = isinstance(program, torch.jit.ScriptModule) and not hasattr(program, "forward")
    return program.forward__0 if overloaded else program  # type: ignore[no-any-return]


def signature_of(program: Any) -> inspect.Signature:
    """Return the signature of a module or function; a method of TorchScript has its own.

    Raises
    ------
    ValueError
        A builtin without signature.
    """
    called = entry(program)
    function: Any = called.forward if isinstance(called, torch.nn.Module) else called
    if not isinstance(function, (torch.ScriptMethod, torch.ScriptFunction)):
        return inspect.signature(function)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    schema: Any = function.schema
    arguments = schema.arguments[isinstance(function, torch.ScriptMethod) :]
    return inspect.Signature(
        [
            inspect.Parameter(
                a.name, kind, default=a.default_value if a.has_default_value() else inspect.Parameter.empty
            )
            for a in arguments
        ]
    )


@contextmanager
def without_data(tracer: Tracer, program: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Yield the program with meta tensors in place of its modules' parameters and buffers.

    Hooks follow the path, and the modules are in evaluation mode, while this lasts.
    """
    roots = modules_of(program)
    if not roots:
        yield program
        return
    holder = _Holder(program, roots.values())
    swapped: dict[str, torch.Tensor] = {}
    twins: dict[int, torch.Tensor] = {}
    paths: dict[torch.nn.Module, str] = {holder: ""}
    for i, (name, root) in enumerate(roots.items()):
        for path, module in root.named_modules():
            paths.setdefault(module, _joined(name, path))
        for role, members in (("parameter", root.named_parameters), ("buffer", root.named_buffers)):
            for path, tensor in members(remove_duplicate=False):
                if id(tensor) not in twins:
                    twins[id(tensor)] = _entered(tracer, _joined(name, path), tensor, role)
                swapped[f"modules_of_program.{i}.{path}"] = twins[id(tensor)]

    def enter(m: torch.nn.Module, _: Any) -> None:
        inner = m not in paths  # made while the program runs
        tracer.path.append(f"{tracer.place}/{type(m).__name__}" if inner else paths[m] or tracer.place)

    def leave(m: torch.nn.Module, _: Any, __: Any) -> None:
        del tracer.path[-1]

    def call(*args: Any, **kwargs: Any) -> Any:
        return torch.func.functional_call(holder, swapped, args, kwargs, tie_weights=False)

    with ExitStack() as stack:
        stack.callback(_restorer(list(paths)))
        for m in paths:
            if isinstance(m, torch.jit.ScriptModule):
                _keep_script_state(stack, m, twins)
            m.training = False
            if isinstance(m, torch.nn.DataParallel):
                m.device_ids = []  # one device: it calls its module
        stack.callback(hooks.register_module_forward_pre_hook(enter).remove)
        stack.callback(hooks.register_module_forward_hook(leave).remove)
        yield call


def _joined(name: str, path: str) -> str:
    return f"{name}.{path}" if name and path else name or path


def _entered(tracer: Tracer, path: str, tensor: torch.Tensor, role: str) -> torch.Tensor:
    """Return what stands for a parameter or buffer: a leaf of the graph, or several that it is made of."""
    if isinstance(tensor, UninitializedTensorMixin):
        raise InputError(f"parameter {path!r} is not initialised: run the lazy module once")
    if is_traceable_wrapper_subclass(tensor):
        return _entered_parts(tracer, path, tensor, role)
    meta = meta_twin(tensor, f"{role} {path!r}")
    twin = torch.nn.Parameter(meta, requires_grad=False) if role == "parameter" else meta
    value = tracer.writer.leaf(path, meta, role)  # type: ignore[arg-type]
    tracer.bind(twin, value)
    tracer.bind(tensor, value)
    if role == "buffer":
        tracer.known.learn_copy(meta, tensor)
    return twin


def _keep_script_state(stack: ExitStack, m: Any, twins: dict[int, torch.Tensor]) -> None:
    """Have what TorchScript stores beside parameters given back: the mode, and the weights of a recurrent layer."""
    stack.callback(setattr, m, "training", m.training)
    names = getattr(m, "_flat_weights_names", None)
    if names and hasattr(m, "_flat_weights"):
        stack.callback(setattr, m, "_flat_weights", m._flat_weights)
        m._flat_weights = [twins[id(getattr(m, name))] for name in names]


def _entered_parts(tracer: Tracer, path: str, tensor: Any, role: str) -> torch.Tensor:
    """Return a tensor that is made of others (quantized numbers and their scales), each a leaf in its own format.

    The largest part is the parameter; the others, scales and zero points, are buffers.
    """
    twin = _without_data(tensor, path)
    parts = list(_parts(twin, path))
    largest = max(parts, key=lambda part: part[1].numel() * part[1].element_size())[1]
    made = torch.nn.Parameter(twin, requires_grad=False) if role == "parameter" else twin
    for (name, part), (_, kept) in zip(parts, _parts(made, path), strict=True):
        value = _packed(tracer, name, part, tensor.shape, role) if part is largest else None
        tracer.bind(kept, value or tracer.writer.leaf(name, part, role if part is largest else "buffer"))  # type: ignore[arg-type]
    return made


def _without_data(tensor: Any, path: str) -> Any:
    if not is_traceable_wrapper_subclass(tensor):
        return meta_twin(tensor, path)
    names, context = tensor.__tensor_flatten__()
    parts = {name: _without_data(getattr(tensor, name), f"{path}.{name}") for name in names}
    return type(tensor).__tensor_unflatten__(parts, context, tensor.shape, tensor.stride())


def _parts(tensor: Any, path: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the plain tensors that a tensor is made of, with their paths."""
    if not is_traceable_wrapper_subclass(tensor):
        yield path, tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from _parts(getattr(tensor, name), f"{path}.{name}")


def _packed(tracer: Tracer, name: str, part: torch.Tensor, shape: torch.Size, role: str) -> Value | None:
    """Return a view of integers of few bits as the words that they are packed in; None where nothing is packed."""
    bits = 8 * part.element_size() * part.numel() / max(shape.numel(), 1)
    if part.is_floating_point() or part.numel() >= shape.numel() or f"int{bits:g}" not in DTYPES:
        return None
    narrow = torch.empty(shape, dtype=part.dtype, device="meta")
    leaf = tracer.writer.leaf(name, narrow, role, dtype=DTYPES[f"int{bits:g}"])  # type: ignore[arg-type]
    return tracer.writer.window(leaf, part)


def _restorer(modules: list[torch.nn.Module]) -> Callable[[], None]:
    """Return what gives modules back the state they have now: a program may keep what it computed, even in a list."""
    before = [dict(m.__dict__) for m in modules]
    inner = [
        (m, key, copy.copy(item))
        for m in modules
        for key, item in m.__dict__.items()
        if type(item) in (dict, list, OrderedDict)  # hooks and buffers too
    ]

    def restore() -> None:
        for m, state in zip(modules, before, strict=True):
            m.__dict__.clear()
            m.__dict__.update(state)
        for m, key, item in inner:
            held = m.__dict__[key]
            held.clear()
            held.update(item) if isinstance(held, dict) else held.extend(item)

    return restore
