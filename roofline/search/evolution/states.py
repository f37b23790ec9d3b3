"""The state of a search as a row of a database, with a digest that tells whether it is still what was written."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeAlias

import numpy as np

from roofline.errors import InputError
from roofline.search.evolution.aging import State
from roofline.search.evolution.objective import Evaluation
from roofline.search.space.spec import Space

Row: TypeAlias = tuple[str, bytes, str]
#: columns of such a row
COLUMNS = "numbers text not null, arrays blob not null, digest text not null"
PARTS = ("population", "best", "archive")


def pack(state: State) -> Row:
    """Return a state as numbers (JSON), arrays and their digest."""
    numbers: dict[str, Any] = {
        "head": state.head, "random": state.random, "generation": state.generation, "evaluations": state.evaluations,
        "devices": state.population.latency_s.shape[1],
    }  # fmt: skip
    pieces = []
    for part in PARTS:
        e = getattr(state, part)
        numbers[part] = None if e is None else len(e)
        if e is not None:
            pieces += [np.ascontiguousarray(getattr(e, name)).tobytes() for name in Evaluation.__dataclass_fields__]
    text, arrays = json.dumps(numbers), b"".join(pieces)
    return text, arrays, _digest(text, arrays)


def unpack(row: tuple[Any, ...], space: Space) -> State:
    """Return the state that a row holds.

    Raises
    ------
    InputError
        The row was damaged or changed since it was written.
    """
    text, content, digest = row
    if not isinstance(text, str) or not isinstance(content, bytes) or _digest(text, content) != digest:
        raise InputError("the history is damaged: a state is not what was written")
    numbers, at = json.loads(text), 0

    def read(rows: int, kind: Any, width: int = 0) -> Any:
        nonlocal at
        count = rows * (width or 1)
        values = np.frombuffer(content, dtype=kind, count=count, offset=at).copy()
        at += count * np.dtype(kind).itemsize
        return values.reshape(rows, width) if width else values

    parts: dict[str, Evaluation | None] = {}
    for part in PARTS:
        n = numbers[part]
        parts[part] = None if n is None else Evaluation(
            genomes=read(n, np.int8, space.length), latency_s=read(n, np.float64, numbers["devices"]),
            accuracy=read(n, np.float64), half_width=read(n, np.float64), in_domain=read(n, np.bool_),
            violation=read(n, np.float64), fitness=read(n, np.float64),
        )  # fmt: skip
    population, best = parts["population"], parts["best"]
    if population is None or best is None:
        raise InputError("the history holds no population")
    return State(
        population=population, best=best, archive=parts["archive"], head=numbers["head"], random=numbers["random"],
        generation=numbers["generation"], evaluations=numbers["evaluations"],
    )  # fmt: skip


def _digest(text: str, arrays: bytes) -> str:
    return hashlib.sha256(text.encode() + arrays).hexdigest()
