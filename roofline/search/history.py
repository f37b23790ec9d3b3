"""The history of a search: SQLite, one transaction per generation, from which a killed search goes on."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from roofline.errors import InputError, RooflineError
from roofline.search.aging import State
from roofline.search.objective import Evaluation
from roofline.search.space import Space

FILE, LOCK = "history.sqlite", ".lock.sqlite"
FORMAT = 2
#: pages of 4 KiB in the write-ahead log before they move into the database: rarely, a search writes much
CHECKPOINT_PAGES = 16_384
TABLES = """
create table if not exists about (key text primary key, value text not null);
create table if not exists generations (
    generation integer primary key, evaluations integer, best_genome text, best_fitness real, best_accuracy real,
    best_half_width real, best_latency_s real, archive_size integer);
create table if not exists state (
    id integer primary key check (id = 0), numbers text not null, arrays blob not null, digest text not null);
create table if not exists evaluations (
    generation integer, genome text, accuracy real, half_width real, in_domain integer, violation real, fitness real,
    latency_s text);
"""
Keep = Literal["generations", "all"]


class History:
    """A history in a folder; one search at a time may write it.

    Parameters
    ----------
    folder
        Made where it does not exist.
    about
        What identifies the search; a history of another one is refused.
    keep
        ``generations``, or ``all``: every evaluation too.

    Raises
    ------
    InputError
        The folder cannot be written, another search runs in it, or its history is of another search.
    """

    def __init__(self, folder: Path, space: Space, about: Mapping[str, Any], keep: Keep = "generations") -> None:
        if keep not in ("generations", "all"):
            raise InputError(f"history keeps 'generations' or 'all', got {keep!r}")
        self.folder, self.space, self.keep = folder, space, keep
        with _clear(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = sqlite3.connect(folder / LOCK, timeout=0, isolation_level=None)
        try:
            self._lock.execute("begin exclusive")
        except sqlite3.OperationalError as error:
            self._lock.close()
            if "locked" in str(error):
                raise InputError(f"another search is running in {str(folder)!r}") from None
            raise InputError(f"cannot write history in {str(folder)!r}: {error}") from None
        try:
            with _clear(folder):
                self._db = sqlite3.connect(folder / FILE, isolation_level=None)
                self._db.execute("pragma journal_mode = wal")
                self._db.execute("pragma synchronous = normal")
                self._db.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
                self._db.executescript(TABLES)
                self._check({"format": FORMAT, **about})
        except BaseException:
            self.close()
            raise

    def _check(self, about: Mapping[str, Any]) -> None:
        with _clear(self.folder, "read"):
            known = {key: json.loads(value) for key, value in self._db.execute("select key, value from about")}
        wanted = json.loads(json.dumps(dict(about), sort_keys=True, default=str))
        if not known:
            with _transaction(self._db):
                rows = [(key, json.dumps(value, sort_keys=True)) for key, value in wanted.items()]
                self._db.executemany("insert into about values (?, ?)", rows)
            return
        other = [key for key in sorted({*wanted, *known}) if wanted.get(key) != known.get(key)]
        if other:
            raise InputError(
                f"the history in {str(self.folder)!r} is of another search: {', '.join(other)} differ"
                f" ({known.get(other[0])!r} there, {wanted.get(other[0])!r} now)"
            )

    def load(self) -> State | None:
        """Return the state after the last complete generation; None in a new history.

        Raises
        ------
        InputError
            The file was damaged or changed since it was written.
        """
        with _clear(self.folder, "read"):
            row = self._db.execute("select numbers, arrays, digest from state").fetchone()
        if row is None:
            return None
        numbers, arrays, digest = row
        if not isinstance(numbers, str) or not isinstance(arrays, bytes) or _digest(numbers, arrays) != digest:
            raise InputError(f"the history in {str(self.folder)!r} is damaged: its state is not what was written")
        return _unpack(json.loads(numbers), arrays, self.space)

    def curve(self) -> list[tuple[int, float]]:
        """Return (evaluations, best fitness) whenever it rose, as far as the history goes."""
        found: list[tuple[int, float]] = []
        with _clear(self.folder, "read"):
            for spent, best in self._db.execute(
                "select evaluations, best_fitness from generations order by generation"
            ):
                if not found or best > found[-1][1]:
                    found.append((int(spent), float(best)))
        return found

    def record(self, state: State, children: Evaluation) -> None:
        """Write one generation, all of it or nothing.

        Raises
        ------
        InputError
            The disk is full, say; what was written before is kept.
        """
        best = state.best
        numbers, arrays = _pack(state)
        summary = (
            state.generation, state.evaluations, self.space.text(best.genomes[0]), float(best.fitness[0]),
            float(best.accuracy[0]), float(best.half_width[0]), float(best.latency_s[0, 0]),
            0 if state.archive is None else len(state.archive),
        )  # fmt: skip
        with _clear(self.folder), _transaction(self._db):
            text = json.dumps(numbers)
            row = (text, arrays, _digest(text, arrays))
            self._db.execute("insert or replace into state values (0, ?, ?, ?)", row)
            self._db.execute("insert or replace into generations values (?, ?, ?, ?, ?, ?, ?, ?)", summary)
            if self.keep == "all":
                self._db.executemany(
                    "insert into evaluations values (?, ?, ?, ?, ?, ?, ?, ?)", _rows(self.space, state, children)
                )

    def close(self) -> None:
        """Let go of the folder."""
        for name in ("_db", "_lock"):
            connection = getattr(self, name, None)
            if connection is not None:
                connection.close()


def _rows(space: Space, state: State, e: Evaluation) -> Iterator[tuple[Any, ...]]:
    for i in range(len(e)):
        yield (
            state.generation, space.text(e.genomes[i]), float(e.accuracy[i]), float(e.half_width[i]),
            int(e.in_domain[i]), float(e.violation[i]), float(e.fitness[i]), json.dumps(e.latency_s[i].tolist()),
        )  # fmt: skip


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("begin immediate")
    try:
        yield
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise


@contextmanager
def _clear(folder: Path, what: str = "write") -> Iterator[None]:
    """Turn what the disk or the file does into one clear line."""
    try:
        yield
    except RooflineError:
        raise
    except (sqlite3.Error, OSError, ValueError, TypeError) as error:
        raise InputError(f"cannot {what} history in {str(folder)!r}: {error}") from error


def _digest(numbers: str, arrays: bytes) -> str:
    return hashlib.sha256(numbers.encode() + arrays).hexdigest()


PARTS = ("population", "best", "archive")


def _pack(state: State) -> tuple[dict[str, Any], bytes]:
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
    return numbers, b"".join(pieces)


def _unpack(numbers: Mapping[str, Any], content: bytes, space: Space) -> State:
    at = 0

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
