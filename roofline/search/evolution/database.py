"""SQLite files that a search writes: one writer, whole transactions, and nothing of another search mixed in."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roofline.errors import InputError, RooflineError

LOCK = ".lock.sqlite"
#: pages of 4 KiB in the write-ahead log before they move into the database: rarely, a search writes much
CHECKPOINT_PAGES = 16_384
ABOUT = "create table if not exists about (key text primary key, value text not null);"


class Database:
    """A database in a folder that one search at a time may write.

    Parameters
    ----------
    folder
        Made where it does not exist.
    file, tables
        Name of the database, and the statements that make its tables.
    about
        What identifies the search; a database of another one is refused.

    Raises
    ------
    InputError
        The folder cannot be written, another search runs in it, or the database is of another search.
    """

    def __init__(self, folder: Path, file: str, tables: str, about: Mapping[str, Any]) -> None:
        self.folder = folder
        with clear(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = exclusive(folder / LOCK, f"another search is running in {str(folder)!r}")
        try:
            with clear(folder):
                self._db = sqlite3.connect(folder / file, isolation_level=None)
                self._check_ours(file)
                self._db.execute("pragma journal_mode = wal")
                self._db.execute("pragma synchronous = normal")
                self._db.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
                self._db.executescript(ABOUT + tables)
                self._check(about)
        except BaseException:
            self.close()
            raise

    def _check_ours(self, file: str) -> None:
        """Raise, before anything is changed, where the file is a database of another program."""
        tables = {name for (name,) in self._db.execute("select name from sqlite_master where type = 'table'")}
        if tables and "about" not in tables:
            raise InputError(f"{str(self.folder / file)!r} is a database of something else: name another folder")

    def _check(self, about: Mapping[str, Any]) -> None:
        with clear(self.folder, "read"):
            known = {key: json.loads(value) for key, value in self._db.execute("select key, value from about")}
        wanted = json.loads(json.dumps(dict(about), sort_keys=True, default=str))
        if not known:
            with transaction(self._db):
                rows = [(key, json.dumps(value, sort_keys=True)) for key, value in wanted.items()]
                self._db.executemany("insert into about values (?, ?)", rows)
            return
        other = [key for key in sorted({*wanted, *known}) if wanted.get(key) != known.get(key)]
        if "code" in other:  # everything else may differ for that reason
            raise InputError(f"the history in {str(self.folder)!r} is of other code: name another folder, or remove it")
        if other:
            raise InputError(
                f"the history in {str(self.folder)!r} is of another search: {', '.join(other)} differ"
                f" ({known.get(other[0])!r} there, {wanted.get(other[0])!r} now)"
            )

    def close(self) -> None:
        """Let go of the folder."""
        for name in ("_db", "_lock"):
            connection = getattr(self, name, None)
            if connection is not None:
                connection.close()


def exclusive(path: Path, busy: str) -> sqlite3.Connection:
    """Return a lock on a file that one process holds until it closes it, or dies.

    Raises
    ------
    InputError
        Another process holds it; `busy` says so.
    """
    lock = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        lock.execute("begin exclusive")
    except sqlite3.OperationalError as error:
        lock.close()
        if "locked" in str(error):
            raise InputError(busy) from None
        raise
    return lock


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of the block's changes, or none."""
    db.execute("begin immediate")
    try:
        yield
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise


@contextmanager
def clear(folder: Path, what: str = "write") -> Iterator[None]:
    """Turn what the disk or the file does into one clear line."""
    try:
        yield
    except RooflineError:
        raise
    except (sqlite3.Error, OSError, ValueError, TypeError) as error:
        raise InputError(f"cannot {what} history in {str(folder)!r}: {error}") from error
