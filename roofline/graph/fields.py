"""Values from a file, checked against the annotation of the field they are for."""

from __future__ import annotations

import types
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from roofline.errors import GraphError
from roofline.graph.op import Op

#: beyond it float64 products lose whole numbers
MAX_NUMBER = 2**53


@cache
def field_types(cls: type[Op]) -> dict[str, Any]:
    """Return field -> annotation of an op class."""
    return get_type_hints(cls)


def checked(value: object, annotation: Any, what: str) -> Any:
    """Return a value read from JSON as its annotation has it: lists become tuples.

    Raises
    ------
    GraphError
        It is of another type, or a number is not finite or over 2**53.

    Examples
    --------
    >>> checked([1, 2], tuple[int, ...], "axes")
    (1, 2)
    >>> checked("two", int, "axis")
    Traceback (most recent call last):
    roofline.errors.GraphError: axis must be int, got 'two'
    """
    fits, found = _match(value, annotation)
    if not fits:
        name = getattr(annotation, "__name__", None) if isinstance(annotation, type) else None
        shown = repr(value)
        raise GraphError(f"{what} must be {name or _spell(annotation)}, got {shown[:60]}")
    return found


def _match(value: Any, annotation: Any) -> tuple[bool, Any]:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        for choice in get_args(annotation):
            fits, found = _match(value, choice)
            if fits:
                return True, found
        return False, None
    if origin is Literal:
        return any(type(value) is type(c) and value == c for c in get_args(annotation)), value
    if origin is tuple:
        return _match_tuple(value, get_args(annotation))
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and _sound(value), value
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool) and _sound(value), value
    if annotation in (None, type(None)):
        return value is None, value
    if origin is np.ndarray:
        return False, None
    return isinstance(annotation, type) and type(value) is annotation, value


def _match_tuple(value: Any, inner: tuple[Any, ...]) -> tuple[bool, Any]:
    if not isinstance(value, list) or len(inner) != 2 or inner[1] is not Ellipsis:
        return False, None
    matched = [_match(v, inner[0]) for v in value]
    return all(fits for fits, _ in matched), tuple(found for _, found in matched)


def _sound(value: float) -> bool:
    return abs(value) <= MAX_NUMBER  # false of NaN and infinity; whole numbers may be too large for a float


def _spell(annotation: Any) -> str:
    return str(annotation).replace("typing.", "").replace("numpy.ndarray[tuple[Any, ...], numpy.dtype[Any]]", "array")
