"""From a name or a TOML file to a search space. A file states a base network and the choices that change it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field

from roofline.arch.load import model, stage_table
from roofline.errors import RooflineError, SpecError, nearest
from roofline.names import lookup
from roofline.paths import data_files
from roofline.quantity import SpecFile
from roofline.search.space.base import BaseSpace
from roofline.search.space.genomes import Choice, Value
from roofline.search.space.own.load import ModuleSpaceFile, build_module_space, space_of
from roofline.search.space.spec import Space
from roofline.specfile import Stamp, parse_spec, read_toml, stamp


class OptionEntry(SpecFile):
    """An option that changes several fields: stage -> field -> value."""

    value: int | float | str | bool
    set: dict[str, dict[str, Any]] = Field(default_factory=dict)


class ChoiceEntry(SpecFile):
    """One choice, or with `stages` one for each stage: ``{stage}`` and ``{i}`` (its position) stand for it.

    Either `values` with the `fields` they go into (``stage.field`` or ``image_size``), or `options`.
    """

    name: str
    stages: list[str] = Field(default_factory=list)
    aliases: list[str] = Field(default_factory=list)
    fields: list[str] = Field(default_factory=list)
    values: list[int | float | str | bool] = Field(default_factory=list)
    options: list[OptionEntry] = Field(default_factory=list)


class SpaceFile(SpecFile):
    """A search space as a file."""

    name: str
    title: str
    base: str
    image_size: int | None = None
    choices: list[ChoiceEntry] = Field(min_length=1)
    forbidden: list[dict[str, list[int | float | str | bool]]] = Field(default_factory=list)
    twin: dict[str, int | float | str | bool] = Field(default_factory=dict)
    sources: dict[str, str] = Field(default_factory=dict)


def search_spaces() -> list[str]:
    """Return the names of the shipped search spaces.

    Examples
    --------
    >>> search_spaces()
    ['accel-nasbench', 'efficientnet-x', 'resnet', 'vit']
    """
    return list(data_files("spaces"))


def search_space(name: str | Path | BaseSpace) -> BaseSpace:
    """Return a search space by name, from a TOML file, or from a program: ``module:space``.

    Raises
    ------
    UnknownNameError
        No such space; the message shows the nearest names.
    SpecError
        The file is not valid.
    InputError
        The program has no such space, or a block of a file cannot be loaded.

    Examples
    --------
    >>> f"{search_space('accel-nasbench').size:.3g}"
    '1.04e+11'
    """
    if isinstance(name, BaseSpace):
        return name
    text = str(name)
    if text.endswith(".toml"):
        path = Path(text)
        return _load(path, stamp(path))
    if ":" in text:
        return space_of(text)
    path = lookup(text, data_files("spaces"), "search space")
    return _load(path, stamp(path))


@lru_cache(maxsize=64)
def _load(path: Path, version: Stamp) -> BaseSpace:
    tables = read_toml(path)
    kind: type[ModuleSpaceFile | SpaceFile]
    kind = ModuleSpaceFile if "input" in tables and "base" not in tables else SpaceFile
    spec = parse_spec(tables, kind, path.name)
    try:
        return build_module_space(spec, path) if isinstance(spec, ModuleSpaceFile) else build_space(spec)
    except (RooflineError, ValueError) as error:
        raise SpecError(f"{path.name}: {error}") from None


def build_space(spec: SpaceFile) -> Space:
    """Return the space that a file describes."""
    base = model(spec.base)
    choices = tuple(choice for entry in spec.choices for choice in _choices(entry))
    twin = {choice.name: _twin_value(spec.twin, choice) for choice in choices}
    for pattern in spec.twin:
        if not any(_matches(pattern, choice.name) for choice in choices):
            raise SpecError(f"[twin]: {pattern!r} names no choice{nearest(pattern, [c.name for c in choices])}")
    return Space(
        name=spec.name,
        title=spec.title,
        family=base.family,
        image_size=spec.image_size or base.image_size,
        input=base.input,
        stages=tuple(stage_table(stage) for stage in base.stages),
        choices=choices,
        forbidden=tuple(
            {name: tuple(values) for name, values in combination.items()} for combination in spec.forbidden
        ),
        twin={name: value for name, value in twin.items() if value is not None} or None,
    )


def _matches(pattern: str, name: str) -> bool:
    return name == pattern or (pattern.startswith("*") and name.endswith(pattern[1:]))


def _twin_value(twin: dict[str, Value], choice: Choice) -> Value | None:
    values = [value for pattern, value in twin.items() if _matches(pattern, choice.name)]
    return values[-1] if values else None


def _choices(entry: ChoiceEntry) -> list[Choice]:
    if bool(entry.options) == bool(entry.values) or bool(entry.values) != bool(entry.fields):
        raise SpecError(f"choice {entry.name!r} has either options, or values and fields")
    made = []
    for i, stage in enumerate(entry.stages or [""]):

        def fill(text: str, stage: str = stage, i: int = i) -> str:
            return text.replace("{stage}", stage).replace("{i}", str(i))

        values: list[Value]
        changes: list[tuple[tuple[str, str, Value], ...]]
        if entry.options:
            values = [option.value for option in entry.options]
            changes = [
                tuple((fill(s), f, v) for s, fields in option.set.items() for f, v in fields.items())
                for option in entry.options
            ]
        else:
            values = list(entry.values)
            places = [fill(field).rpartition(".") for field in entry.fields]
            changes = [tuple((s, f, value) for s, _, f in places) for value in values]
        aliases = tuple(fill(alias) for alias in entry.aliases)
        made.append(Choice(name=fill(entry.name), values=tuple(values), changes=tuple(changes), aliases=aliases))
    return made
