"""Lowered graphs kept in a folder, by the content of what they are lowered from."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from roofline.cli.programs import PROGRAM_FILES, Source, blamed, here
from roofline.errors import InputError, RooflineError
from roofline.fingerprint import code_hash, program_hash, versions
from roofline.reading import check_regular

if TYPE_CHECKING:
    from roofline.graph.opgraph import OpGraph

#: whose versions lowering depends on, beside our own code
PACKAGES = {"onnx": ("onnx",), "torch": ("torch",), "jax": ("jax", "flax")}


def cached(source: Source, folder: Path, kind: str, build: Callable[[Source], OpGraph]) -> OpGraph:
    """Return the graph of a program: from the folder if it is there, else lowered and put there.

    Raises
    ------
    InputError
        The folder cannot be used, or the program not found.
    """
    import roofline as rf

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot use cache folder {str(folder)!r}: {error.strerror or error}") from None
    path = folder / f"{kind}-{_content_key(source, kind)}.json"
    if path.is_file():
        try:
            return rf.load_graph(path)
        except RooflineError:
            pass  # damaged: lower again and replace it
    graph = build(source)
    graph.save(path)
    return graph


def _content_key(source: Source, kind: str) -> str:
    """Return the hash of all that lowering depends on: file, options, our front end, versions of libraries.

    Of ``module:function`` the file of the module counts, and what it imports of its own folder and the working one.
    """
    text = str(getattr(source, kind))
    if kind == "onnx":
        from roofline.frontends.onnx.content import content_hash

        file = Path(text)
        try:
            content = content_hash(file)
        except RooflineError:  # lowering will say why
            content = _digest(file)
    elif text.endswith(PROGRAM_FILES):
        file = Path(text)
        content = _digest(file)
    else:
        file = _module_file(text.partition(":")[0])
        content = program_hash(file) if file.suffix == ".py" else _digest(file)
    program = [kind, text.partition(":")[2] or file.name, source.shapes, source.dims, source.values]
    options = json.dumps([*program, code_hash(f"roofline.frontends.{kind}"), versions(*PACKAGES[kind])])
    return hashlib.sha256(f"{options} {content}".encode()).hexdigest()[:32]


def _digest(file: Path) -> str:
    check_regular(file)
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {str(file)!r}: {error.strerror or error}") from None


def _module_file(module: str) -> Path:
    with here(), blamed(f"module {module!r}"):
        found = importlib.util.find_spec(module)
    if found is None or not found.origin:
        raise InputError(f"no module {module!r} here or installed")
    return Path(found.origin)
