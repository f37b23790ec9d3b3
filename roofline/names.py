"""How names are compared, and what they tell: ``TPUv3``, ``tpu_v3`` and ``tpu-v3`` are one device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar

from roofline.errors import UnknownNameError, nearest

T = TypeVar("T")


@lru_cache(maxsize=4096)
def key(name: str) -> str:
    """Return `name` reduced to lower-case letters and digits, the form in which names are compared.

    Examples
    --------
    >>> key("TPU_v3") == key("tpu-v3") == key("TPUv3")
    True
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def lookup(name: str, table: Mapping[str, T], what: str) -> T:
    """Return the entry of `table` whose key spells `name`, in any spelling.

    Raises
    ------
    UnknownNameError
        No such entry; the message shows the nearest names.

    Examples
    --------
    >>> lookup("TPUv3", {"tpu-v3": 1}, "device")
    1
    """
    if name in table:
        return table[name]
    spelling = key(name)
    for known, value in table.items():
        if key(known) == spelling:
            return value
    raise UnknownNameError(f"unknown {what} {name!r}{nearest(name, table)}")


def family(model: str) -> tuple[str, str]:
    """Return family and member of a model name.

    Examples
    --------
    >>> family("efficientnet-x-b7"), family("vit")
    (('efficientnet-x', 'b7'), ('vit', 'vit'))
    """
    head, _, tail = model.rpartition("-")
    return (head, tail) if head else (model, model)
