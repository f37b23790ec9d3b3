"""`graph.json`: any op graph as a versioned file, whole to the last bit.

The file is a JSON object: ``format``, ``schema_version``, ``name``, ``outputs``, ``tensors`` and ``ops``, and
``examples`` where the batch is stated. A tensor has id, shape, dtype, role, ``tied`` where it is, and ``part`` where it
has one; an op has id, kind, inputs, outputs, and every field that differs from its default. `roofline.graph.load` reads
it.
"""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
from collections.abc import Collection, Iterator
from dataclasses import MISSING, fields
from functools import cache
from inspect import isabstract
from pathlib import Path
from typing import Any

import numpy as np

from roofline.errors import GraphError, InputError
from roofline.files import write_text
from roofline.graph.dag import Dag
from roofline.graph.op import Op
from roofline.plugins import find_plugins
from roofline.version import __version__

FORMAT, SCHEMA_VERSION = "roofline-graph", 1


@cache
def op_classes() -> dict[str, type[Op]]:
    """Return every op class by its kind."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"roofline.graph.{module.name}")
    found: dict[str, type[Op]] = {}
    for cls in _subclasses(Op):  # type: ignore[type-abstract]
        if not isabstract(cls) and cls.__module__.startswith("roofline."):
            if cls.kind in found:
                raise GraphError(f"ops {found[cls.kind].__name__!r} and {cls.__name__!r} have one kind {cls.kind!r}")
            found[cls.kind] = cls
    return found


def concrete_ops() -> frozenset[type[Op]]:
    """Return every op class that there is now, in the package and outside it."""
    return frozenset(cls for cls in _subclasses(Op) if not isabstract(cls))  # type: ignore[type-abstract]


def check_kinds(before: Collection[type[Op]]) -> None:
    """Raise GraphError where an op class that is new since `before` has the kind of another one."""
    for cls in concrete_ops() - set(before):
        others = sorted(other.__name__ for other in concrete_ops() - {cls} if other.kind == cls.kind)
        if cls.kind in op_classes() or others:
            raise GraphError(f"op {cls.__name__!r} has the kind {cls.kind!r} of {others[0]!r}")


def op_class(kind: str) -> type[Op] | None:
    """Return the op class of a kind: the package's, else the one that a module outside has defined last."""
    find_plugins()
    if kind in op_classes():
        return op_classes()[kind]
    outside = [cls for cls in _subclasses(Op) if cls.kind == kind and not isabstract(cls)]  # type: ignore[type-abstract]
    return outside[-1] if outside else None


def _subclasses(cls: type[Op]) -> Iterator[type[Op]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def save_graph(graph: Dag, path: str | Path) -> None:
    """Write a graph to a file, whole or not at all.

    Raises
    ------
    InputError
        The graph has columns instead of numbers (a block template), or an op class whose kind is another's.
    """
    text = json.dumps(as_dict(graph), separators=(",", ":"), allow_nan=False) + "\n"
    write_text(Path(path), text)


def as_dict(graph: Dag) -> dict[str, Any]:
    """Return a graph as a value that JSON can hold; see `save_graph`."""
    tensors = [
        {"id": t.id, "shape": _plain(t.shape, t.id), "dtype": t.dtype.name, "role": t.role}
        | ({"tied": True} if t.tied else {})
        | ({"part": t.part} if t.part else {})
        for t in graph.tensors.values()
    ]
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "roofline_version": __version__,
        "name": graph.name,
        "outputs": list(graph.outputs),
        **({} if graph.stated_examples is None else {"examples": graph.stated_examples}),
        "tensors": tensors,
        "ops": [_op_dict(op_id, op) for op_id, op in graph.ops.items()],
    }


def _op_dict(op_id: str, op: Op) -> dict[str, Any]:
    if op_class(op.kind) is not type(op):
        raise InputError(f"op {op_id!r} of class {type(op).__name__!r} cannot be saved: kind {op.kind!r} is another's")
    found: dict[str, Any] = {"id": op_id, "kind": op.kind}
    for f in fields(op):
        value = _plain(getattr(op, f.name), op_id)
        if f.default is MISSING or type(value) is not type(f.default) or value != f.default:
            found[f.name] = value
    return found


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, tuple):
        return [_plain(v, where) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        raise InputError(f"{where!r} holds a column of {value.size} rows; a file holds one graph")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where!r} holds {value!r}")
    return value
