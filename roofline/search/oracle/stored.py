"""Tables on disk: ``.npz`` with a content hash of all they depend on; a stale file is refused."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roofline.errors import InputError
from roofline.files import atomic
from roofline.numeric import Array
from roofline.reading import MOST_BYTES, read_bytes
from roofline.search.oracle.tables import StageTable

FORMAT = 1
#: more than any time, count or size; sums and products of what is less stay finite
MOST = 1e100


def digest(content: Any) -> str:
    """Return a short content hash."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def save(path: Path, wanted: Mapping[str, str], profiles: Sequence[Sequence[StageTable]]) -> Path:
    """Write tables of all profiles to `path`."""
    if path.suffix != ".npz":
        raise InputError(f"tables are written to .npz files, got {path.name!r}")
    arrays: dict[str, Any] = {}
    index = []
    for p, tables in enumerate(profiles):
        for s, table in enumerate(tables):
            columns = sorted(table.columns)
            for column in columns:
                arrays[f"{p}/{s}/{column}"] = table.columns[column]
            entry = {
                "profile": p,
                "stages": table.stages,
                "genes": table.genes,
                "shape": table.shape,
                "columns": columns,
            }
            index.append(entry)
    head = {"format": FORMAT, "hash": dict(wanted), "tables": index}
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)
    with atomic(path) as temporary:
        np.savez(temporary, **arrays)
    return path


def load(path: Path, wanted: Mapping[str, str]) -> list[tuple[StageTable, ...]]:
    """Return the tables in `path`, one tuple per profile.

    Raises
    ------
    InputError
        The file cannot be read, is no table file, or was built for something else; the message says for what.
    """
    content = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(part.file_size for part in packed.infolist()) > MOST_BYTES:
                raise InputError(f"cannot read tables from {str(path)!r}: inflates to more than {MOST_BYTES:,} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            head = json.loads(bytes(file["head"]).decode())
            if head.get("format") != FORMAT:
                raise InputError(f"{path.name} has table format {head.get('format')!r}, wanted {FORMAT}")
            other = [name for name, value in wanted.items() if head["hash"].get(name) != value]
            if other:
                raise InputError(
                    f"{path.name} is stale: it was built for another {' and '.join(other)}; build it again"
                )
            profiles: dict[int, list[StageTable]] = {}
            for s_of, entry in _numbered(head["tables"]):
                p = entry["profile"]
                stages, genes, shape = (tuple(entry[name]) for name in ("stages", "genes", "shape"))
                columns = {c: _column(file[f"{p}/{s_of}/{c}"], shape) for c in entry["columns"]}
                table = StageTable(stages=stages, genes=genes, shape=shape, columns=columns)
                profiles.setdefault(p, []).append(table)
    except InputError:
        raise
    except Exception as error:  # zip, zlib, NumPy's reader of heads and JSON: each has classes of its own for damage
        line = " ".join(str(error).split())[:200]
        raise InputError(f"cannot read tables from {str(path)!r}: {line or type(error).__name__}") from None
    return [tuple(profiles[p]) for p in sorted(profiles)]


def _column(column: Array, shape: tuple[int, ...]) -> Array:
    if column.dtype != np.float64 or column.shape != (math.prod(shape),):
        raise ValueError(f"a column of {column.shape} {column.dtype} for a table of {shape}")
    if np.any((column < 0) | (column > MOST)):  # NaN is neither: what is no network
        raise ValueError(f"a column with numbers outside 0 to {MOST:g}")
    return column


def _numbered(entries: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    seen: dict[int, int] = {}
    numbered = []
    for entry in entries:
        p = entry["profile"]
        numbered.append((seen.get(p, 0), entry))
        seen[p] = seen.get(p, 0) + 1
    return numbered
