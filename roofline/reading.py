"""The one reader of files that somebody else wrote: whatever a path leads to, the content comes, or one line.

Devices and pipes are refused, for they never end; so are files and archives that hold more than anybody needs, JSON
that is nested without end, and text that no other program could read back.
"""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roofline.errors import InputError, RooflineError

#: what a file may hold, and what it may inflate to: the largest published table needs 20 MB, a graph of 100,000 ops 40
MOST_BYTES = 256 * 2**20
#: lists in lists of JSON or TOML; what the project reads has seven
MOST_LEVELS = 64
#: digits of a whole number: any of 128 bits
MOST_DIGITS = 40
GZIP = b"\x1f\x8b"
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def check_regular(path: str | Path, error: type[RooflineError] = InputError) -> None:
    """Raise `error` unless a path leads to a regular file."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as problem:
        raise error(f"cannot read {str(path)!r}: {getattr(problem, 'strerror', None) or problem}") from None
    if not stat.S_ISREG(mode):
        what = os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else "a device or pipe, not a file"
        raise error(f"cannot read {str(path)!r}: {what}")


def read_bytes(path: str | Path, error: type[RooflineError] = InputError, most: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    Raises
    ------
    RooflineError
        Of the class `error`: it cannot be read, is no regular file, or is larger.
    """
    check_regular(path, error)
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(most + 1) if size <= most else b""
    except OSError as problem:
        raise error(f"cannot read {str(path)!r}: {problem.strerror or problem}") from None
    if max(size, len(content)) > most:
        raise error(f"cannot read {str(path)!r}: more than {most:,} bytes")
    return content


def read_text(path: str | Path, error: type[RooflineError] = InputError, most: int = MOST_BYTES) -> str:
    """Return the text of a file, in UTF-8, plain or gzipped: at most `most` bytes of it.

    Raises
    ------
    RooflineError
        Of the class `error`: as `read_bytes`, or it is damaged or no text.
    """
    content = read_bytes(path, error, most)
    try:
        if content.startswith(GZIP):
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                content = file.read(most + 1)
            if len(content) > most:
                raise error(f"cannot read {str(path)!r}: inflates to more than {most:,} bytes")
        return content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error):
        raise error(f"cannot read {str(path)!r}: a damaged gzip file") from None
    except UnicodeDecodeError:
        raise error(f"cannot read {str(path)!r}: not a text file") from None


def parse_json(text: str, name: str, error: type[RooflineError] = InputError, *, strict: bool = False) -> Any:
    """Return what JSON says; `name` leads any error, `strict` refuses keys given twice and what is no number.

    Raises
    ------
    RooflineError
        Of the class `error`: it is no JSON, nested too deeply, has a number of too many digits, or half a character.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise error(f"{name}: a key is given twice")
        return found

    def no_number(word: str) -> Any:
        raise error(f"{name}: {word} is no number")

    def whole(digits: str) -> int:
        if len(digits) > MOST_DIGITS:
            raise error(f"{name}: a number of {len(digits):,} digits")
        return int(digits)

    # numbers of a graph are checked one by one when it is built: a hook for each would double the time
    options: dict[str, Any] = {"object_pairs_hook": unique, "parse_constant": no_number} if strict else {}
    try:
        content = json.loads(text, **options if strict else {"parse_int": whole})
        check_depth(content)
        if _HALF_PAIR.search(text):
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError:
        raise error(f"{name}: nested too deeply") from None
    except UnicodeEncodeError:
        raise error(f"{name}: a text with half of a character (a lone surrogate)") from None
    except RooflineError:
        raise
    except ValueError as problem:
        raise error(f"{name}: not valid JSON: {problem}") from None
    return content


def check_depth(content: Any) -> None:
    """Raise RecursionError where lists and tables lie in one another more than `MOST_LEVELS` deep."""
    level = [content]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise RecursionError


def parse_csv(text: str, name: str) -> tuple[tuple[str, ...], list[tuple[int, Mapping[str, str]]]]:
    """Return the columns of a table, and its rows as (line number, column -> text); `name` leads any error.

    A row that is cut short lacks its last columns.

    Raises
    ------
    InputError
        A cell is longer than any that people write, or a column has its name twice.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        columns = tuple(column.strip() for column in next(reader, []))
        cells = [(reader.line_num, row) for row in reader if any(row)]
    except csv.Error as problem:
        raise InputError(f"{name}: line {reader.line_num}: {problem}") from None
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(f"{name}: column {twice[0]!r} appears twice")
    return columns, [(line, dict(zip(columns, row, strict=False))) for line, row in cells]


def check_whole(values: Sequence[Any] | Mapping[str, Any]) -> None:
    """Raise ValueError where whole numbers need more than 64 bits, which TOML does not have."""
    for value in values.values() if isinstance(values, Mapping) else values:
        if isinstance(value, (dict, list)):
            check_whole(value)
        elif isinstance(value, int) and value.bit_length() > 63:
            raise ValueError("a whole number of more than 64 bits")
