"""The state of a search as a row of a database, with a digest that tells whether it is still what was written."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeAlias

import numpy as np

from roofline.errors import InputError
from roofline.search.evolution.aging import State
from roofline.search.evolution.objective import Evaluation
from roofline.search.space.base import BaseSpace

Row: TypeAlias = tuple[str, bytes, str]
#: columns of such a row
COLUMNS = "numbers text not null, arrays blob not null, digest text not null"
JUDGED = ("accuracy", "half_width", "in_domain", "violation", "fitness")
PARTS, NUMBERS = ("population", "best", "archive"), ("head", "random", "generation", "evaluations")


def pack(state: State) -> Row:
    """Return a state as numbers (JSON), arrays and their digest."""
    numbers: dict[str, Any] = {name: getattr(state, name) for name in NUMBERS}
    numbers["devices"] = state.population.latency_s.shape[1]
    pieces = []
    for part in PARTS:
        e = getattr(state, part)
        numbers[part] = None if e is None else len(e)
        if e is not None:
            pieces += [np.ascontiguousarray(getattr(e, name)).tobytes() for name in Evaluation.__dataclass_fields__]
    text, arrays = json.dumps(numbers), b"".join(pieces)
    return text, arrays, _digest(text, arrays)


def unpack(row: tuple[Any, ...], space: BaseSpace) -> State:
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
        parts[part] = None
        if (n := numbers[part]) is not None:
            genomes, latency_s = read(n, np.int8, space.length), read(n, np.float64, numbers["devices"])
            columns = {name: read(n, np.bool_ if name == "in_domain" else np.float64) for name in JUDGED}
            parts[part] = Evaluation(genomes=genomes, latency_s=latency_s, **columns)
    population, best = parts["population"], parts["best"]
    if population is None or best is None:
        raise InputError("the history holds no population")
    return State(population=population, best=best, archive=parts["archive"], **{n: numbers[n] for n in NUMBERS})


def _digest(text: str, arrays: bytes) -> str:
    return hashlib.sha256(text.encode() + arrays).hexdigest()
