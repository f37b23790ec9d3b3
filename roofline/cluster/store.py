"""Results of a sweep on disk as they come: a unit's rows whole or not at all, so that a killed sweep goes on."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from roofline.cluster.plan import Plan
from roofline.cluster.work import Row, columns_of
from roofline.errors import InputError
from roofline.files import atomic, write_text
from roofline.fingerprint import code_hash
from roofline.search.evolution.database import exclusive, transaction
from roofline.version import __version__

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".sqlite", ".parquet")


class Store(Protocol):
    """Where rows go; opened for one plan by one process at a time."""

    def done(self) -> set[str]:
        """Return the keys of the units whose rows are there."""

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
        Another suffix, a place that cannot be written, results of another plan, or another sweep is writing them.
    """
    path = Path(path)
    kinds: dict[str, type[SqliteStore] | type[ParquetStore]] = {".sqlite": SqliteStore, ".parquet": ParquetStore}
    if path.suffix not in kinds:
        raise InputError(f"cannot write {path.name!r}: allowed suffixes are {', '.join(kinds)}")
    try:
        return kinds[path.suffix](path, plan)
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"cannot write results to {str(path)!r}: {error}") from None


def _about(plan: Plan) -> dict[str, str]:
    code = code_hash(columns_of.__module__)  # named first: everything else may differ for that reason
    return {"roofline_version": __version__, "code": code, "plan": plan.digest, "files": plan.files_digest}


def _check(known: dict[str, str], plan: Plan, path: Path) -> None:
    for key, value in _about(plan).items():
        if known.get(key) != value:
            of = {"plan": "another plan", "files": "other files of networks, devices or runtimes", "code": "other code"}
            what = of.get(key, f"version {known.get(key)!r}")
            raise InputError(f"{path.name} holds results of {what}: name another file, or remove it")


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
        self._lock = exclusive(path.with_name(f".{path.name}.lock"), _busy(path))
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._db.execute("pragma journal_mode = wal")
            names = ", ".join(f'"{name}"' for name in self.columns)
            self._db.execute("create table if not exists about (key text primary key, value text)")
            known = dict(self._db.execute("select key, value from about").fetchall())
            if known:
                _check(known, plan, path)
            with transaction(self._db):
                self._db.execute("create table if not exists units (key text primary key)")
                self._db.execute(f"create table if not exists runs ({names}, primary key (unit, point))")
                if not known:
                    self._db.executemany("insert into about values (?, ?)", list(_about(plan).items()))
        except BaseException:
            self.close()
            raise

    def done(self) -> set[str]:
        """Return the keys of the units whose rows are there."""
        return {key for (key,) in self._db.execute("select key from units")}

    def add(self, unit: str, rows: Sequence[Row]) -> None:
        """Keep the rows of a unit, all of them or none."""
        marks = ", ".join("?" * len(self.columns))
        values = [tuple(_plain(row.get(name)) for name in self.columns) for row in rows]
        with transaction(self._db):
            self._db.execute("insert into units values (?)", (unit,))
            self._db.executemany(f"insert into runs values ({marks})", values)

    def frame(self) -> pd.DataFrame:
        """Return all rows, by unit and point."""
        import pandas as pd

        return _ordered(pd.read_sql("select * from runs", self._db))

    def close(self) -> None:
        """Let go of the files; that of the lock stays, another process may be about to lock it."""
        self._db.close()
        self._lock.close()


class ParquetStore:
    """A folder with a Parquet file per unit, which any reader of Parquet takes as one table."""

    ABOUT = "_about.json"  # readers of Parquet skip names that begin so

    def __init__(self, path: Path, plan: Plan) -> None:
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise InputError("Parquet needs pyarrow: pip install 'roofline[dask]', or name a .sqlite file") from None
        self.path, self.columns = path, columns_of(plan)
        path.mkdir(parents=True, exist_ok=True)
        self._lock = exclusive(path / "_lock", _busy(path))
        try:
            self._claim(plan)
        except BaseException:
            self.close()
            raise

    def _claim(self, plan: Plan) -> None:
        about = self.path / self.ABOUT
        if about.is_file():
            try:
                known = json.loads(about.read_text(encoding="utf-8"))
            except ValueError:
                known = {}
            _check(known if isinstance(known, dict) else {}, plan, self.path)
        elif any(self.path.glob("*.parquet")):
            raise InputError(f"{self.path.name} holds Parquet files of another origin: name another folder")
        else:
            write_text(about, json.dumps(_about(plan)))

    def _part(self, unit: str) -> Path:
        return self.path / f"{hashlib.sha256(unit.encode()).hexdigest()[:24]}.parquet"

    def done(self) -> set[str]:
        """Return the keys of the units whose rows are there."""
        import pyarrow.parquet as pq

        keys = set()
        for part in self.path.glob("*.parquet"):
            keys.add(pq.read_table(part, columns=["unit"]).column("unit")[0].as_py())
        return keys

    def add(self, unit: str, rows: Sequence[Row]) -> None:
        """Keep the rows of a unit, all of them or none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        fields = [pa.field(name, pa.type_for_alias(_kind(name).arrow)) for name in self.columns]
        columns = {name: [_plain(row.get(name)) for row in rows] for name in self.columns}
        arrays = [pa.array(columns[f.name], type=f.type, from_pandas=True) for f in fields]
        with atomic(self._part(unit)) as temporary:
            pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), temporary)

    def frame(self) -> pd.DataFrame:
        """Return all rows, by unit and point."""
        import pandas as pd

        parts = [pd.read_parquet(part) for part in sorted(self.path.glob("*.parquet"))]
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
TEXT = {"unit", "network", "model", "device", "runtime", "dtype", "layout", "bound", "base_device", "error"}
WHOLE = {"point", "batch", "cores", "image_size"}


def _kind(name: str) -> _Kind:
    return _TEXT if name in TEXT else _WHOLE if name in WHOLE else _FLAG if name == "fits" else _NUMBER


def _plain(value: Any) -> Any:
    """Return a value as both stores keep it: None for NaN, a number of NumPy's as Python's."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value
