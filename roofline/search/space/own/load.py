"""Spaces of somebody's own blocks by word: ``module:space`` of a program, or a file that names its blocks."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from roofline.errors import InputError, RooflineError, SpecError
from roofline.quantity import SpecFile
from roofline.search.space.base import BaseSpace
from roofline.search.space.own.modules import ModuleSpace, module_space
from roofline.search.space.own.stages import module_stage
from roofline.specfile import load_spec


class StageEntry(SpecFile):
    """A stage: blocks as ``module:callable`` or ``FILE.onnx``, in a list or by label; see `module_stage`."""

    name: str
    blocks: list[str] | dict[str, str]
    repeats: int | list[int] = 1
    arguments: dict[str, int | float | str | bool | list[int | float | str | bool]] = Field(default_factory=dict)


class ModuleSpaceFile(SpecFile):
    """A search space of somebody's own blocks as a file."""

    name: str
    title: str | None = None
    input: list[int] = Field(min_length=1)
    dtype: str = "float32"
    stages: list[StageEntry] = Field(min_length=1)
    forbidden: list[dict[str, list[int | float | str | bool]]] = Field(default_factory=list)
    sources: dict[str, str] = Field(default_factory=dict)


def build_module_space(spec: ModuleSpaceFile, path: Path) -> ModuleSpace:
    """Return the space that a file describes; its modules may lie beside it.

    Raises
    ------
    InputError, SpecError
        A block cannot be loaded, or the space is not valid.
    """
    stages = []
    for entry in spec.stages:
        words = entry.blocks if isinstance(entry.blocks, dict) else {_label(word): word for word in entry.blocks}
        if len(words) != len(entry.blocks):
            raise SpecError(f"stage {entry.name!r}: blocks share a label: give a table label -> block")
        with _importable(path.parent):
            blocks = {label: _block(word, path.parent) for label, word in words.items()}
        stages.append(module_stage(entry.name, blocks, entry.repeats, **entry.arguments))
    made = module_space(
        spec.name, stages, input=spec.input, dtype=spec.dtype, title=spec.title, forbidden=spec.forbidden
    )
    return replace(made, origin=(opened, str(path.resolve())))


def opened(path: str) -> ModuleSpace:
    """Return the space of a file.

    Raises
    ------
    InputError, SpecError
        As `build_module_space`; or the file is not valid.
    """
    return build_module_space(load_spec(Path(path), ModuleSpaceFile), Path(path))


def space_of(word: str) -> BaseSpace:
    """Return the space that ``module:name`` is, or that the function of that name returns.

    Raises
    ------
    InputError
        There is none.
    """
    found = named(word)
    if callable(found):
        try:
            found = found()
        except RooflineError:
            raise
        except Exception as error:  # whatever somebody's function raises
            raise InputError(f"{word!r} raises {type(error).__name__}: {error}") from error
    if not isinstance(found, BaseSpace):
        raise InputError(f"{word!r} is no search space but {type(found).__name__!r}: see rf.module_space")
    return replace(found, origin=(space_of, word)) if isinstance(found, ModuleSpace) else found


def named(word: str) -> Any:
    """Return what ``module:name`` names; modules of the working folder are found.

    Raises
    ------
    InputError
        There is none.
    """
    module, _, name = word.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except RooflineError:
        raise
    except Exception as error:  # whatever somebody's module raises
        raise InputError(f"cannot load {word!r}: {' '.join(str(error).split()) or type(error).__name__}") from None
    return found


def _label(word: str) -> str:
    return Path(word).stem if word.endswith(".onnx") else word.rpartition(":")[2]


def _block(word: str, folder: Path) -> Any:
    if word.endswith(".onnx"):
        return str(folder / word)
    if ":" not in word:
        raise SpecError(f"a block is 'module:callable' or 'FILE.onnx', got {word!r}")
    return named(word)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
