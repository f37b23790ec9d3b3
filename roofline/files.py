"""Output files: what leads their JSON, and writing them completely or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from roofline.errors import InputError
from roofline.text import UNPRINTABLE, printable
from roofline.version import __version__

try:
    import fcntl
except ImportError:  # Windows: what a killed run leaves there stays
    fcntl = None  # type: ignore[assignment]

#: suffixes of the pictures that are drawn
PICTURES = (".png", ".svg", ".pdf")
#: of the JSON that reports and verbs write; a field that goes away or changes its meaning raises it
SCHEMA_VERSION = 1


def json_head() -> dict[str, Any]:
    """Return what leads every JSON output: the version of its schema and of the package."""
    return {"schema_version": SCHEMA_VERSION, "roofline_version": __version__}


def json_text(content: Mapping[str, Any]) -> str:
    """Return `content` as JSON text, led by `json_head`."""
    text = json.dumps(json_head() | dict(content), indent=2, ensure_ascii=False, allow_nan=False)
    # outside of its strings JSON has none of these, and inside it writes them so
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def finite(value: Any) -> Any:
    """Return JSON content with None for NaN: what nothing is known of."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def nameable(path: str | Path) -> bool:
    """Return whether the system could have a file of that name."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its suffix, that takes its place when the block succeeds.

    An interrupted or failed write leaves neither a half-written file nor a damaged older one.

    Raises
    ------
    InputError
        The file cannot be written there.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text(), [p.name for p in target.parent.iterdir()]
    ('whole', ['a.txt'])
    """
    target = Path(path)
    if not nameable(target):
        raise InputError(f"cannot write {str(path)!r}: no file can have that name")
    try:
        _remove_left(target.parent)
        # A folder of its own: savers that pick the format from the suffix see the right name.
        with _held_folder(target.parent) as folder:
            temporary = folder / target.name
            yield temporary
            os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all, without what `printable` escapes; errors as `atomic`."""
    with atomic(path) as temporary:
        temporary.write_text(printable(text), encoding="utf-8")


PREFIX = ".writing-"
#: folders that have been looked through by this process
_looked: set[str] = set()


@contextmanager
def _held_folder(parent: Path) -> Iterator[Path]:
    """Yield a temporary folder with a lock on it, which the system takes away when the process is killed."""
    while True:
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True) as folder:
            if fcntl is None:
                yield Path(folder)
                return
            with suppress(FileNotFoundError):
                handle = os.open(folder, os.O_RDONLY)
                try:
                    with suppress(OSError):  # a file system without locks
                        fcntl.flock(handle, fcntl.LOCK_SH)
                    if os.path.isdir(folder):  # else somebody took it for one that was left
                        yield Path(folder)
                        return
                finally:
                    os.close(handle)


def _remove_left(parent: Path) -> None:
    """Remove the temporary folders of runs that were killed: those that nobody holds."""
    if fcntl is None or str(parent) in _looked:
        return
    _looked.add(str(parent))
    for name in os.listdir(parent):
        if name.startswith(PREFIX):
            with suppress(OSError):
                handle = os.open(parent / name, os.O_RDONLY)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(parent / name, ignore_errors=True)
                finally:
                    os.close(handle)
