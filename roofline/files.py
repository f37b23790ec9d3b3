"""Output files: what leads their JSON, and writing them completely or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roofline.errors import InputError
from roofline.version import __version__

#: suffixes of the pictures that are drawn
PICTURES = (".png", ".svg", ".pdf")
#: of the JSON that reports and verbs write; a field that goes away or changes its meaning raises it
SCHEMA_VERSION = 1


def json_head() -> dict[str, Any]:
    """Return what leads every JSON output: the version of its schema and of the package."""
    return {"schema_version": SCHEMA_VERSION, "roofline_version": __version__}


def json_text(content: Mapping[str, Any]) -> str:
    """Return `content` as JSON text, led by `json_head`."""
    return json.dumps(json_head() | dict(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """Return JSON content with None for NaN: what nothing is known of."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
    try:
        # A folder of its own: savers that pick the format from the suffix see the right name.
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=target.parent) as folder:
            temporary = Path(folder) / target.name
            yield temporary
            os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
