"""A module made ready for tracing: tensors without data in place of its own, hooks that follow the path."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn.modules import module as hooks
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]

from roofline.errors import InputError
from roofline.frontends.torch.reader import Tracer


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


@contextmanager
def without_data(tracer: Tracer, module: Any) -> Iterator[dict[str, torch.Tensor]]:
    """Yield meta tensors in place of the module's parameters and buffers; hooks follow the path; evaluation mode."""
    if not isinstance(module, torch.nn.Module):
        yield {}
        return
    swapped: dict[str, torch.Tensor] = {}
    twins: dict[int, torch.Tensor] = {}
    for role, members in (("parameter", module.named_parameters), ("buffer", module.named_buffers)):
        for path, tensor in members(remove_duplicate=False):
            if isinstance(tensor, UninitializedTensorMixin):
                raise InputError(f"parameter {path!r} is not initialised: run the lazy module once")
            if id(tensor) not in twins:
                meta = meta_twin(tensor, f"{role} {path!r}")
                twins[id(tensor)] = torch.nn.Parameter(meta, requires_grad=False) if role == "parameter" else meta
                value = tracer.writer.leaf(path, meta, role)  # type: ignore[arg-type]
                tracer.bind(twins[id(tensor)], value)
                tracer.bind(tensor, value)
            swapped[path] = twins[id(tensor)]
    paths = {m: path for path, m in module.named_modules()}

    def enter(m: torch.nn.Module, _: Any) -> None:
        tracer.path.append(paths.get(m) or (tracer.place if m is module else f"{tracer.place}/{type(m).__name__}"))

    def leave(m: torch.nn.Module, _: Any, __: Any) -> None:
        del tracer.path[-1]

    with ExitStack() as stack:
        stack.callback(_restorer(list(paths)))
        for m in paths:
            m.training = False
        stack.callback(hooks.register_module_forward_pre_hook(enter).remove)
        stack.callback(hooks.register_module_forward_hook(leave).remove)
        yield swapped


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
