"""Objects that a program is given or returns: what they hold, and giving them back as they were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

_OPAQUE = (torch.Tensor, torch.nn.Module, type, ModuleType, str, bytes)


def reached(given: Any) -> Iterator[Any]:
    """Yield a value and all that it holds, each once: items of containers, and attributes of objects without code."""
    waiting, seen = [given], {id(given)}
    while waiting:
        found = waiting.pop()
        yield found
        new = [x for x in _held(found) if id(x) not in seen]
        new = list({id(x): x for x in new}.values())
        seen |= {id(x) for x in new}
        waiting += reversed(new)


@contextmanager
def as_it_was(given: Any) -> Iterator[None]:
    """Give objects back what they hold now: a cache that grows while a program runs is as long as before."""
    attributes = [(x, dict(vars(x))) for x in reached(given) if _plain(x)]
    contents = [(x, x.copy()) for x in reached(given) if type(x) in (list, dict, set)]
    try:
        yield
    finally:
        for x, before in attributes:
            vars(x).clear()
            vars(x).update(before)
        for x, items in contents:
            x.clear()
            x.extend(items) if isinstance(x, list) else x.update(items)


def _held(x: Any) -> Iterable[Any]:
    if isinstance(x, _OPAQUE):
        return ()
    if isinstance(x, Mapping):
        return tuple(x.values())
    if isinstance(x, (list, tuple, set)):
        return tuple(x)
    return tuple(vars(x).values()) if _plain(x) else ()


def _plain(x: Any) -> bool:
    return hasattr(x, "__dict__") and not isinstance(x, _OPAQUE) and not callable(x)
