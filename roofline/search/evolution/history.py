"""The history of a search: SQLite, whole generations in each transaction, from which a killed search goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from roofline.errors import InputError
from roofline.search.evolution.aging import State
from roofline.search.evolution.database import Database, clear, transaction
from roofline.search.evolution.objective import Evaluation
from roofline.search.evolution.states import COLUMNS, pack, unpack
from roofline.search.space.base import BaseSpace

FILE = "history.sqlite"
FORMAT = 2
TABLES = f"""
create table if not exists generations (
    generation integer primary key, evaluations integer, best_genome text, best_fitness real, best_accuracy real,
    best_half_width real, best_latency_s real, archive_size integer);
create table if not exists state (id integer primary key check (id = 0), {COLUMNS});
create table if not exists evaluations (
    generation integer, genome text, accuracy real, half_width real, in_domain integer, violation real, fitness real,
    latency_s text);
"""
Keep = Literal["generations", "all"]
#: generations that end within so many seconds are written together: a search that is killed repeats them at most
PERIOD_S = 0.25


class History(Database):
    """A history in a folder; see `Database`.

    Parameters
    ----------
    keep
        ``generations``, or ``all``: every evaluation too.

    Raises
    ------
    InputError
        The folder cannot be written, another search runs in it, or its history is of another search.
    """

    def __init__(self, folder: Path, space: BaseSpace, about: Mapping[str, Any], keep: Keep = "generations") -> None:
        if keep not in ("generations", "all"):
            raise InputError(f"history keeps 'generations' or 'all', got {keep!r}")
        self.space, self.keep = space, keep
        self._waiting: list[tuple[State, Evaluation]] = []
        self._written_s = -PERIOD_S
        super().__init__(folder, FILE, TABLES, {"format": FORMAT, **about})

    def load(self) -> State | None:
        """Return the state after the last complete generation; None in a new history.

        Raises
        ------
        InputError
            The file was damaged or changed since it was written.
        """
        with clear(self.folder, "read"):
            row = self._db.execute("select numbers, arrays, digest from state").fetchone()
        return None if row is None else unpack(row, self.space)

    def curve(self) -> list[tuple[int, float]]:
        """Return (evaluations, best fitness) whenever it rose, as far as the history goes."""
        curve: list[tuple[int, float]] = []
        with clear(self.folder, "read"):
            for spent, best in self._db.execute(
                "select evaluations, best_fitness from generations order by generation"
            ):
                if not curve or best > curve[-1][1]:
                    curve.append((int(spent), float(best)))
        return curve

    def record(self, state: State, children: Evaluation) -> None:
        """Take one generation; it is written now, or with those that end soon after it.

        Raises
        ------
        InputError
            The disk is full, say; what was written before is kept.
        """
        self._waiting.append((state, children))
        if time.monotonic() - self._written_s >= PERIOD_S:
            self.write()

    def write(self) -> None:
        """Write the generations that wait, all of them or none.

        Raises
        ------
        InputError
            As `record`.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        with clear(self.folder), transaction(self._db):
            self._db.execute("insert or replace into state values (0, ?, ?, ?)", pack(waiting[-1][0]))
            self._db.executemany(
                "insert or replace into generations values (?, ?, ?, ?, ?, ?, ?, ?)", map(self._summary, waiting)
            )
            for state, children in waiting if self.keep == "all" else ():
                self._db.executemany(
                    "insert into evaluations values (?, ?, ?, ?, ?, ?, ?, ?)", _rows(self.space, state, children)
                )
        self._written_s = time.monotonic()

    def close(self) -> None:
        """Write what waits, and let go of the folder.

        Raises
        ------
        InputError
            As `record`.
        """
        try:
            if hasattr(self, "_db"):
                self.write()
        finally:
            super().close()

    def _summary(self, generation: tuple[State, Evaluation]) -> tuple[Any, ...]:
        state, best = generation[0], generation[0].best
        judged = (float(column[0]) for column in (best.fitness, best.accuracy, best.half_width, best.latency_s[:, 0]))
        kept = 0 if state.archive is None else len(state.archive)
        return state.generation, state.evaluations, self.space.text(best.genomes[0]), *judged, kept


def _rows(space: BaseSpace, state: State, e: Evaluation) -> Iterator[tuple[Any, ...]]:
    for i in range(len(e)):
        accuracy = (float(e.accuracy[i]), float(e.half_width[i]), int(e.in_domain[i]))
        judged = (float(e.violation[i]), float(e.fitness[i]), json.dumps(e.latency_s[i].tolist()))
        yield (state.generation, space.text(e.genomes[i]), *accuracy, *judged)
