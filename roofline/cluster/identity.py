"""What the rows of a sweep depend on, as one hash per network: the content of every file, the code, the libraries.

A row of another identity is no result of this sweep, whatever the plan's text says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from roofline.cluster.networks import Unit
from roofline.cluster.plan import Plan
from roofline.cluster.work import rows
from roofline.errors import InputError, RooflineError
from roofline.fingerprint import code_hash, versions
from roofline.hardware.load import device
from roofline.paths import data_files
from roofline.reading import check_regular

#: libraries that build or read the networks of a kind, by the suffix of a file
LIBRARIES = {"timm": ("torch", "timm"), "transformers": ("torch", "transformers", "timm"), ".onnx": ("onnx",)}
SHIPPED = ("hardware_specs", "runtimes", "libraries", "formats", "models")


def identities(plan: Plan, units: Iterable[Unit]) -> dict[str, str]:
    """Return the identity of each unit's rows, by its key.

    A network's own file counts for itself alone; devices, runtimes and what is shipped count for all.
    """
    common = hashlib.sha256(code_hash(rows.__module__).encode() + plan.digest.encode())
    for path in (*(path for folder in SHIPPED for path in data_files(folder).values()), *_of_machines(plan)):
        common.update(_content(path))
    found = {}
    for unit in units:
        own = common.copy()
        own.update(unit.key.encode(errors="backslashreplace"))
        name = Path(re.sub(r"(?<=\.toml):.*", "", unit.name))
        if unit.kind == "file":
            own.update(_lowered(name) if name.suffix.lower() == ".onnx" else _content(name))
        own.update(repr(versions(*LIBRARIES.get(unit.kind, LIBRARIES.get(name.suffix.lower(), ())))).encode())
        found[unit.key] = own.hexdigest()[:24]
    return found


def _of_machines(plan: Plan) -> Iterator[Path]:
    """Yield the files of devices, runtimes and formats that the plan names, and those that these name."""
    for option in ("runtime", "format"):
        yield from (Path(text) for text in plan.options.get(option, ()) if text.endswith(".toml"))
    for text in plan.devices:
        if text.endswith(".toml"):
            yield Path(text)
        if (runtime := device(text).default_runtime).endswith(".toml"):
            yield Path(runtime)


def _content(path: Path) -> bytes:
    """Return the hash of a file; one that cannot be read is told from every one that can."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (InputError, OSError):
        return b"unreadable"


def _lowered(path: Path) -> bytes:
    """Return the hash of an ONNX file: all but the weights, also where these lie beside it."""
    from roofline.frontends.onnx.content import content_hash

    try:
        return content_hash(path).encode()
    except RooflineError:
        return _content(path)
