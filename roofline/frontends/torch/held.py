"""The modules that a program calls where it is none itself: a method, a lambda, a partial function, an object."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from inspect import getattr_static
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch

#: a module further away than this (a function that calls a function with a list of objects ...) is not looked for
STEPS = 5


def modules_of(program: Any) -> dict[str, torch.nn.Module]:
    """Return the modules that a program can reach, by the name under which it knows them; a module is its own, ``""``.

    Looked at are the object of a method, what a function closes over, its defaults and the globals that it names (of
    other functions of its package, too), the arguments of a partial function, and attributes of objects.
    """
    found: dict[str, torch.nn.Module] = {}
    seen: set[int] = set()
    for name, module in _reached(program, "", str(getattr(program, "__module__", "")).partition(".")[0], seen, STEPS):
        if not any(module is m for m in found.values()):
            while name in found:
                name += "_"
            found[name] = module
    return found


def _reached(item: Any, name: str, package: str, seen: set[int], steps: int) -> Iterator[tuple[str, torch.nn.Module]]:
    if isinstance(item, torch.nn.Module):
        yield name, item
    elif steps and id(item) not in seen:
        seen.add(id(item))
        for inner, child in _children(item, package):
            yield from _reached(child, f"{name}.{inner}" if name and inner else name or inner, package, seen, steps - 1)


def _children(item: Any, package: str) -> Iterator[tuple[str, Any]]:
    """Yield what an object holds, by name; a name is empty where the object only wraps it."""
    if isinstance(item, partial):
        yield "", item.func
        yield from _children(item.args, package)
        yield from item.keywords.items()
    elif isinstance(item, MethodType):
        yield "", item.__self__
        if not isinstance(item.__self__, torch.nn.Module):
            yield "", item.__func__
    elif isinstance(item, FunctionType):
        if str(item.__module__).partition(".")[0] == package:
            yield from _of_function(item)
    elif isinstance(item, dict):
        yield from ((str(key), x) for key, x in item.items())
    elif isinstance(item, (list, tuple)):
        yield from ((str(i), x) for i, x in enumerate(item))
    elif hasattr(item, "__dict__") and not isinstance(item, (type, ModuleType, torch.Tensor)):
        yield from vars(item).items()
        call = getattr_static(type(item), "__call__", None)
        if isinstance(call, FunctionType):
            yield "", call


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    yield "", function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).items()
    yield "", getattr(function, "__wrapped__", None)
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names that code looks up outside, that of the functions inside it included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
