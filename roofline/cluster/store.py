"""Results of a sweep on disk as they come: a unit's rows whole or not at all, so that a killed sweep goes on.

With the rows of a unit lie what they depend on (`roofline.cluster.identity`) and a digest of what was written. Rows of
another identity, and rows that are not what was written, are no results: they go when the store is opened.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from roofline.cluster.identity import identities
from roofline.cluster.plan import Plan, units_of
from roofline.cluster.work import Row, columns_of
from roofline.errors import InputError, RooflineError
from roofline.files import atomic, write_text
from roofline.reading import parse_json, read_text
from roofline.search.evolution.database import exclusive, transaction
from roofline.text import printable

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".sqlite", ".parquet")
FORMAT = "roofline sweep 2"
#: seconds that another program may hold the file before a sweep gives up
LOCKED_S = 30.0
#: what tells a unit's rows: their identity, and their digest as written
Seal: TypeAlias = tuple[str, str]


class Store(Protocol):
    """Where rows go; opened for one plan by one process at a time.

    Attributes
    ----------
    dropped
        Units whose rows were there, and are to be computed again.
    """

    dropped: int

    def done(self) -> set[str]:
        """Return the keys of the units whose rows are there, as they were written."""

    def add(self, unit: str, rows: Sequence[Row]) -> None:
        """Keep the rows of a unit, all of them or none."""

    def frame(self) -> pd.DataFrame:
        """Return all rows, in an order that does not depend on when they came."""

    def close(self) -> None:
        """Let go of the files."""


def open_store(path: str | Path, plan: Plan) -> Store:
    """Return the store that a path's suffix names: an SQLite file, or a folder of Parquet parts.

    Raises
    ------
    InputError
        Another suffix, a place that cannot be written, results of another plan or of something else, or another sweep
        is writing them.
    """
    path = Path(path)
    kinds: dict[str, type[SqliteStore] | type[ParquetStore]] = {".sqlite": SqliteStore, ".parquet": ParquetStore}
    if path.suffix not in kinds:
        raise InputError(f"cannot write {path.name!r}: allowed suffixes are {', '.join(kinds)}")
    with _told(path):
        return kinds[path.suffix](path, plan)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn whatever the disk, another program or a library does to a store into one clear line."""
    try:
        yield
    except RooflineError:
        raise
    except Exception as error:  # SQLite, Arrow and the system have classes of their own
        line = " ".join(str(error).split())[:200]
        raise InputError(
            f"cannot write results to {str(path)!r}: {line}: what was computed is kept, run it again to go on"
        ) from error


def _check(known: Mapping[str, Any], plan: Plan, path: Path) -> None:
    if known.get("format") != FORMAT:
        raise InputError(f"{path.name} holds something else than results of this version: name another file")
    if known.get("plan") != plan.digest:
        raise InputError(f"{path.name} holds results of another plan: name another file, or remove it")


def _foreign(path: Path, what: str) -> InputError:
    return InputError(f"{path.name} holds {what}, which no sweep has written: remove it, or name another file")


def _busy(path: Path) -> str:
    return f"another sweep is writing {str(path)!r}"


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows by unit and point, with the same types whatever they were stored in."""
    typed = frame.astype({name: _kind(name).pandas for name in frame.columns})
    return typed.sort_values(["unit", "point"], kind="stable", ignore_index=True)


class SqliteStore:
    """One SQLite file: tables ``about``, ``units`` and ``runs``, one transaction per unit."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.columns = path, columns_of(plan)
        self._wanted = identities(plan, units_of(plan))
        self._lock = exclusive(path.with_name(f".{path.name}.lock"), _busy(path))
        self._db = sqlite3.connect(path, timeout=LOCKED_S, isolation_level=None)
        self._db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        try:
            self._claim(plan)
            self.dropped = self._drop_others()
        except BaseException:
            self.close()
            raise

    def _claim(self, plan: Plan) -> None:
        tables = {name for (name,) in self._db.execute("select name from sqlite_master where type = 'table'")}
        if tables:  # before anything is changed: it may be somebody else's
            about = self._db.execute("select * from about").fetchall() if "about" in tables else []
            known = {row[0]: row[1] for row in about if len(row) == 2}
            _check(known, plan, self.path)
            return
        self._db.execute("pragma journal_mode = wal")
        names = ", ".join(f'"{name}"' for name in self.columns)
        with transaction(self._db):
            self._db.execute("create table about (key text primary key, value text)")
            self._db.execute("create table units (key text primary key, identity text, digest text)")
            self._db.execute(f"create table runs ({names}, primary key (unit, point))")
            self._db.executemany("insert into about values (?, ?)", [("format", FORMAT), ("plan", plan.digest)])

    def _drop_others(self) -> int:
        sound = self.done()
        units = {key for (key,) in self._db.execute("select key from units")}
        for (key,) in self._db.execute("select distinct unit from runs").fetchall():
            if key not in units and key not in self._wanted:
                raise _foreign(self.path, f"rows of {str(key)[:80]!r}")
        with transaction(self._db):
            for key in (units | self._wanted.keys()) - sound:
                self._db.execute("delete from runs where unit = ?", (key,))
                self._db.execute("delete from units where key = ?", (key,))
        return len(units - sound)

    def done(self) -> set[str]:
        """Return the keys of the units whose rows are there, as they were written."""
        with _told(self.path):
            seals = {key: (identity, digest) for key, identity, digest in self._db.execute("select * from units")}
            return {key for key in seals.keys() & self._wanted.keys() if seals[key] == self._seal_of(key)}

    def _seal_of(self, unit: str) -> Seal:
        names = ", ".join(f'"{name}"' for name in self.columns)
        rows = self._db.execute(f"select {names} from runs where unit = ? order by point", (unit,)).fetchall()
        return _seal(self._wanted[unit], self.columns, rows)

    def add(self, unit: str, rows: Sequence[Row]) -> None:
        """Keep the rows of a unit, all of them or none."""
        marks = ", ".join("?" * len(self.columns))
        values = [tuple(_plain(name, row.get(name)) for name in self.columns) for row in rows]
        seal = _seal(self._wanted[unit], self.columns, values)
        with _told(self.path), transaction(self._db):
            self._db.execute("insert into units values (?, ?, ?)", (unit, *seal))
            self._db.executemany(f"insert into runs values ({marks})", values)

    def frame(self) -> pd.DataFrame:
        """Return all rows, by unit and point."""
        import pandas as pd

        with _told(self.path):
            return _ordered(pd.read_sql("select * from runs", self._db))

    def close(self) -> None:
        """Let go of the files; that of the lock stays, another process may be about to lock it."""
        self._db.close()
        self._lock.close()


class ParquetStore:
    """A folder with a Parquet file per unit, which any reader of Parquet takes as one table."""

    ABOUT = "_about.json"  # readers of Parquet skip names that begin so
    SEAL = (b"roofline.identity", b"roofline.digest")

    def __init__(self, path: Path, plan: Plan) -> None:
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise InputError("Parquet needs pyarrow: pip install 'roofline[dask]', or name a .sqlite file") from None
        self.path, self.columns = path, columns_of(plan)
        self._wanted = identities(plan, units_of(plan))
        path.mkdir(parents=True, exist_ok=True)
        self._lock = exclusive(path / "_lock", _busy(path))
        try:
            self._claim(plan)
            sound = {self._part(key) for key in self.done()}
            damaged = [part for part in self._parts() if part not in sound]
            for part in damaged:
                part.unlink()
            self.dropped = len(damaged)
        except BaseException:
            self.close()
            raise

    def _claim(self, plan: Plan) -> None:
        about = self.path / self.ABOUT
        if os.path.exists(about):
            known = parse_json(read_text(about), about.name)
            _check(known if isinstance(known, dict) else {}, plan, self.path)
        elif self._parts():
            raise InputError(f"{self.path.name} holds Parquet files of another origin: name another folder")
        else:
            write_text(about, json.dumps({"format": FORMAT, "plan": plan.digest}))
        for part in self._parts():
            if not re.fullmatch("[0-9a-f]{24}", part.stem):
                raise _foreign(self.path, repr(part.name))

    def _parts(self) -> list[Path]:
        return sorted(self.path.glob("*.parquet"))

    def _part(self, unit: str) -> Path:
        return self.path / f"{hashlib.sha256(unit.encode()).hexdigest()[:24]}.parquet"

    def done(self) -> set[str]:
        """Return the keys of the units whose rows are there, as they were written."""
        return {key for key, identity in self._wanted.items() if self._sound(self._part(key), identity)}

    def _sound(self, part: Path, identity: str) -> bool:
        import pyarrow.parquet as pq

        if not os.path.isfile(part):
            return False
        try:
            table = pq.ParquetFile(part).read()
            rows = list(zip(*(table.column(name).to_pylist() for name in self.columns), strict=True))
            seal = tuple((table.schema.metadata or {}).get(name, b"").decode() for name in self.SEAL)
        except Exception:  # whatever a damaged part makes its reader do: it is computed again
            return False
        return seal == _seal(identity, self.columns, rows)

    def add(self, unit: str, rows: Sequence[Row]) -> None:
        """Keep the rows of a unit, all of them or none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        values = [tuple(_plain(name, row.get(name)) for name in self.columns) for row in rows]
        seal = _seal(self._wanted[unit], self.columns, values)
        fields = [pa.field(name, pa.type_for_alias(_kind(name).arrow)) for name in self.columns]
        arrays = [pa.array([row[i] for row in values], type=f.type, from_pandas=True) for i, f in enumerate(fields)]
        schema = pa.schema(fields, metadata=dict(zip(self.SEAL, (part.encode() for part in seal), strict=True)))
        with _told(self.path), atomic(self._part(unit)) as temporary:
            pq.write_table(pa.Table.from_arrays(arrays, schema=schema), temporary)

    def frame(self) -> pd.DataFrame:
        """Return all rows, by unit and point."""
        import pandas as pd

        with _told(self.path):
            parts = [pd.read_parquet(part) for part in self._parts()]
            return _ordered(pd.concat(parts, ignore_index=True)) if parts else pd.DataFrame(columns=self.columns)

    def close(self) -> None:
        """Let go of the files."""
        self._lock.close()


class _Kind(NamedTuple):
    """How a column is typed by pandas and by Arrow."""

    pandas: str
    arrow: str


_TEXT, _WHOLE = _Kind("string", "string"), _Kind("Int64", "int64")
_FLAG, _NUMBER = _Kind("boolean", "bool"), _Kind("float64", "float64")
TEXT = {
    "unit",
    "network",
    "model",
    "device",
    "runtime",
    "dtype",
    "layout",
    "bound",
    "base_device",
    "error",
    "phase",
    "format",
}
WHOLE = {"point", "batch", "cores", "image_size", "length"}


def _kind(name: str) -> _Kind:
    return _TEXT if name in TEXT else _WHOLE if name in WHOLE else _FLAG if name == "fits" else _NUMBER


def _plain(name: str, value: Any) -> Any:
    """Return a value as both stores keep it and give it back: None for NaN, a number of NumPy's as Python's."""
    value = value.item() if hasattr(value, "item") else value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    kind = _kind(name)
    if kind is _TEXT:
        return printable(str(value))
    return bool(value) if kind is _FLAG else int(value) if kind is _WHOLE else float(value) + 0.0


def _seal(identity: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Seal:
    """Return what is written beside the rows of a unit; values that no row has make it another one."""
    try:
        values = [[_plain(name, value) for name, value in zip(columns, row, strict=True)] for row in rows]
    except (TypeError, ValueError):
        return identity, "damaged"
    return identity, hashlib.sha256(repr(values).encode()).hexdigest()[:24]
