"""Compiling for a TPU that is not there, once: results are kept in a folder, by program, topology and versions."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roofline.errors import InputError
from roofline.files import atomic
from roofline.xla import worker
from roofline.xla.programs import Exported, versions
from roofline.xla.targets import Target

#: of the files of the folder; a change of what they hold, or of how the worker compiles, raises it
FORMAT = 1
MOST_OF_A_REASON = 300


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What the compiler made of a program.

    Attributes
    ----------
    text
        The optimised program.
    memory
        Sizes [bytes] as the compiler reports them, the program's own code among them.
    seconds
        How long compiling took.
    known
        Whether it was in the folder.
    """

    text: str
    memory: dict[str, int]
    seconds: float
    known: bool = False


def compiled(program: Exported, target: Target, cache: Path | None = None) -> Compiled:
    """Return a program as the compiler leaves it for a target.

    Parameters
    ----------
    cache
        Folder in which results are kept and looked for; it is made if need be.

    Raises
    ------
    InputError
        The compiler is not installed or not of the version that JAX wants, does not know the topology, or refuses the
        program; the folder cannot be used.
    """
    known = kept(program, target, cache)
    if known is not None:
        return known
    found = place(program, target, cache)
    began = time.monotonic()
    told = _ask(program, target)
    result = Compiled(text=told["text"], memory=told["memory"], seconds=round(time.monotonic() - began, 1))
    if found is not None:
        content = {"format": FORMAT, "topology": target.topology, **versions(), "seconds": result.seconds, **told}
        with atomic(found) as temporary:
            temporary.write_bytes(gzip.compress(json.dumps(content).encode(), mtime=0))
    return result


def kept(program: Exported, target: Target, cache: Path | None) -> Compiled | None:
    """Return what the folder has of a program; None where that is nothing. Errors as `place`."""
    found = place(program, target, cache)
    return None if found is None else _read(found)


def place(program: Exported, target: Target, cache: Path | None) -> Path | None:
    """Return the file in which a result is kept.

    Raises
    ------
    InputError
        The folder cannot be made.
    """
    if cache is None:
        return None
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot use cache folder {str(cache)!r}: {error.strerror or error}") from None
    words = [program.key, target.topology, *versions().values()]
    name = hashlib.sha256(" ".join(words).encode()).hexdigest()[:24]
    return cache / f"{re.sub(r'[^a-z0-9]+', '-', target.topology)}-{name}.json.gz"


def _read(path: Path) -> Compiled | None:
    """Return what a file of the folder holds; None where there is none, or it is damaged and is to be replaced."""
    try:
        content = json.loads(gzip.decompress(path.read_bytes()))
        if content["format"] != FORMAT:
            return None
        return Compiled(text=content["text"], memory=content["memory"], seconds=content["seconds"], known=True)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def _ask(program: Exported, target: Target) -> dict[str, Any]:
    versions()
    with tempfile.TemporaryDirectory(prefix="roofline-") as folder:
        given, answer = Path(folder) / "program", Path(folder) / "answer.json"
        given.write_bytes(program.content)
        command = [sys.executable, str(Path(worker.__file__)), str(given), target.topology, str(answer)]
        ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if not answer.is_file():
            last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise InputError(f"the compiler ended with status {ended.returncode}: {shortened(last)}")
        told: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "refused" in told:
        what = (
            f"topology {target.topology!r}" if told["stage"] == "topology" else f"the program for {target.topology!r}"
        )
        raise InputError(f"the compiler refuses {what}: {shortened(told['refused'])}")
    return told


def shortened(text: str) -> str:
    """Return a reason in one line, and not more of it than anybody reads."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_OF_A_REASON else f"{line[:MOST_OF_A_REASON]} ..."
