"""What is filed once: a second entry under one name is a mistake, never a silent replacement."""

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableMapping, Sequence
from typing import Any, TypeVar

from roofline.errors import GraphError

K = TypeVar("K", bound=Hashable)
F = TypeVar("F")


def filed(table: MutableMapping[K, Any], keys: Sequence[K], twice: Callable[[K], str]) -> Callable[[F], F]:
    """Return a decorator that files a function under each of `keys`; `twice` says what is wrong with a taken one.

    Raises
    ------
    GraphError
        A key is taken; nothing is filed then.

    Examples
    --------
    >>> rules = {}
    >>> double = filed(rules, ("double",), lambda key: f"{key!r} has two rules")(lambda x: 2 * x)
    >>> rules["double"](4)
    8
    """

    def register(function: F) -> F:
        for i, key in enumerate(keys):
            if key in table or key in keys[:i]:
                raise GraphError(twice(key))
        table.update(dict.fromkeys(keys, function))
        return function

    return register
