"""What a program keeps of a lowering (in a cached function, in a dictionary) is taken from it again.

A tensor without data that stays in a cache breaks the program's next run, and makes its next lowering another one: what
was computed the first time would be a constant. Modules get their state back elsewhere (`module`).
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import torch

#: containers that are looked through: a tuple in a tuple in a cache
LEVELS = 3
#: of so many tensors the holders are looked for: what holds these holds the others, too
LOOKED_FOR = 64
_CACHED_FUNCTION = type(lru_cache(lambda: None))
_MARK = "_kept_from_a_lowering"


def take_back(tensors: Iterable[torch.Tensor]) -> None:
    """Empty the cached functions and dictionaries that hold some of these tensors; they are marked, wherever held."""
    kept: list[Any] = list(tensors)
    for x in kept:
        setattr(x, _MARK, True)
    for _ in range(LEVELS):
        wanted, outer = {id(x) for x in kept}, []
        holders = gc.get_referrers(*kept[:LOOKED_FOR]) if kept else []
        names = _names([holder for holder in holders if isinstance(holder, dict)])
        for holder in holders:
            if isinstance(holder, _CACHED_FUNCTION):
                holder.cache_clear()
            elif isinstance(holder, dict) and id(holder) not in names:
                for key in [key for key, x in holder.items() if id(x) in wanted]:
                    del holder[key]
            elif isinstance(holder, (list, tuple)) and holder is not kept:
                outer.append(holder)
        kept = outer


def _names(holders: list[dict[Any, Any]]) -> set[int]:
    """Return which dictionaries hold global names or attributes, by id: without them the program would break."""
    owned = {id(getattr(o, "__dict__", None)) for o in (gc.get_referrers(*holders) if holders else ())}
    return {id(holder) for holder in holders if "__builtins__" in holder or id(holder) in owned}


def was_kept(tensor: torch.Tensor) -> bool:
    """Whether a program kept this tensor from an earlier lowering."""
    return hasattr(tensor, _MARK)
