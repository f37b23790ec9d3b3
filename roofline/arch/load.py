"""From a name or a file to an `Arch`.

A file of ``models/`` holds a family; its variants' names begin with the file's name, so that one network can be found
without reading every file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from roofline.arch.block import Stage, stage_class
from roofline.arch.rounding import round_filters, round_repeats
from roofline.arch.spec import Arch, FamilyFile, Scaling
from roofline.errors import InputError, RooflineError, SpecError, UnknownNameError, nearest
from roofline.names import key, lookup
from roofline.paths import data_files
from roofline.specfile import Stamp, load_spec, one_line, stamp

#: blocks of one network; the deepest that anybody trained has a few thousand
MAX_BLOCKS = 20_000


def models() -> list[str]:
    """Return the names of all shipped networks."""
    return [name for path in data_files("models").values() for name in _family(path).variants]


def model(name: str | Path | Arch) -> Arch:
    """Return a network by name, or from a file: ``PATH.toml``, with several variants ``PATH.toml:VARIANT``.

    Raises
    ------
    UnknownNameError
        No such network; the message shows the nearest names.
    SpecError
        The file is not valid.
    InputError
        Neither name nor path.
    """
    if isinstance(name, Arch):
        return name
    if not isinstance(name, (str, Path)):
        raise InputError(f"model must be a name, a path or an Arch, got {name!r}")
    text = str(name)
    if ".toml" in text:
        return _from_file(text)
    for stem, path in data_files("models").items():
        if key(text).startswith(key(stem)):
            try:
                return _arch(path, lookup(text, {v: v for v in _family(path).variants}, "model"))
            except UnknownNameError:
                continue
    near = nearest(text, models())
    raise UnknownNameError(f"unknown model {text!r}{_brought(text, near)}{near}")


def _brought(name: str, near: str) -> str:
    """Return how to bring a network, where a name is that of a hub, ends in a size, or is like no other."""
    sized = re.search(r"/|(^|[^a-z0-9])\d+(\.\d+)?[bm]($|[^a-z0-9])", name.lower())
    if not sized and near.startswith("; nearest"):
        return ""
    return (
        "; bring one of PyTorch by rf.from_torch(module, inputs) or --torch package.module:function, see --onnx, --jax"
    )


def multiples(name: str) -> tuple[float, float]:
    """Return the depth and the width that a shipped network has in its family's file, as multiples.

    Raises
    ------
    UnknownNameError
        No such network.

    Examples
    --------
    >>> multiples("efficientnet-b1")
    (1.1, 1.0)
    """
    for path in data_files("models").values():
        variants = _family(path).variants
        if name in variants:
            return variants[name].depth, variants[name].width
    raise UnknownNameError(f"unknown model {name!r}{nearest(name, models())}")


def _from_file(text: str) -> Arch:
    location, _, variant = text.partition(".toml")
    path = Path(location + ".toml")
    names = {v: v for v in _family(path).variants}
    if variant.startswith(":"):
        return _arch(path, lookup(variant[1:], names, "variant"))
    if len(names) > 1:
        raise SpecError(f"{path.name} holds {len(names)} networks: write {path.name}:NAME{nearest('', names)}")
    return _arch(path, next(iter(names)))


def _family(path: Path) -> FamilyFile:
    return _family_at(path, stamp(path))


@lru_cache(maxsize=256)
def _family_at(path: Path, version: Stamp) -> FamilyFile:
    return load_spec(path, FamilyFile)


def _arch(path: Path, variant: str) -> Arch:
    return _arch_of(path, variant, stamp(path))


@lru_cache(maxsize=1024)
def _arch_of(path: Path, name: str, version: Stamp) -> Arch:
    family = _family(path)
    try:
        return build_arch(family, name)
    except RooflineError as error:
        raise SpecError(f"{path.name}: [variants.{name}]: {error}") from None


def build_arch(family: FamilyFile, name: str) -> Arch:
    """Return variant `name` of a family as a value, with overrides and multipliers applied.

    Raises
    ------
    SpecError
        A stage is not valid, an override names no stage, an input size is missing, a source is unknown.
    """
    variant = family.variants[name]
    tables = [dict(t) for t in (variant.stages if variant.stages is not None else family.stages)]
    if not tables:
        raise SpecError("no stages")
    for target, values in variant.set.items():
        _override(tables, target, values)
    stages = tuple(
        scale_stage(_stage(table), family.scaling, width=variant.width, depth=variant.depth) for table in tables
    )
    blocks = sum(s.repeats for s in stages)
    if blocks > MAX_BLOCKS:
        raise SpecError(f"{blocks:,} blocks; a network has at most {MAX_BLOCKS:,}")
    names = [s.name for s in stages]
    if len(set(names)) != len(names):
        raise SpecError(f"stage names are not unique: {names!r}")
    size = variant.image_size if family.input == "image" else variant.sequence_length
    if size is None:
        raise SpecError(f"missing key {'image_size' if family.input == 'image' else 'sequence_length'!r}")
    if variant.published is not None and variant.published.source not in family.sources:
        source = variant.published.source
        raise SpecError(f"published: unknown source {source!r}{nearest(source, family.sources)}")
    return Arch(
        name=name,
        family=family.family,
        title=variant.title or f"{family.title} {name}",
        image_size=size,
        stages=stages,
        input=family.input,
        published=variant.published,
        sources=tuple(family.sources.items()),
        scaling=family.scaling,
    )


def _override(tables: list[dict[str, Any]], target: str, values: dict[str, Any]) -> None:
    """Set fields of the stage named `target`; ``"*"`` sets them in every stage whose kind has such a field."""
    if target != "*":
        names = {str(table.get("name")): i for i, table in enumerate(tables)}
        place = lookup(target, names, "stage")
        tables[place] = merged(tables[place], values)
        return
    fields: set[str] = set()
    for table in tables:
        usable = stage_class(str(table.get("block"))).model_fields
        fields.update(usable)
        table.update({k: v for k, v in values.items() if k in usable})
    if missing := [k for k in values if k not in fields]:
        raise SpecError(f'set."*": no stage takes {missing[0]!r}{nearest(missing[0], fields)}')


def merged(table: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with other values, those of tables inside it one by one."""
    inside = [k for k, v in values.items() if isinstance(v, dict) and isinstance(table.get(k), dict)]
    return {**table, **values, **{k: merged(table[k], values[k]) for k in inside}}


def stage_from(table: dict[str, Any], where: str) -> Stage:
    """Return the stage that a table of an architecture file or of a search space states; `where` leads any error.

    Raises
    ------
    SpecError
        A field is missing, unknown or of a wrong type.
    """
    if "block" not in table:
        raise SpecError(f"{where}: missing key 'block'")
    cls = stage_class(str(table["block"]))
    try:
        return cls.model_validate(table)
    except ValidationError as error:
        raise SpecError(one_line(error, cls, where)) from None


def stage_table(stage: Stage) -> dict[str, Any]:
    """Return a stage as the fields that an architecture file would state."""
    return {
        "name": stage.name,
        "block": stage.kind,
        **stage.model_dump(exclude_defaults=True, exclude={"name", "block"}),
    }


def _stage(table: dict[str, Any]) -> Stage:
    where = f"stage {table.get('name', '?')!r}"
    made = stage_from(table, where)
    if made.repeats < 1:
        raise SpecError(f"{where}: repeats must be at least 1, got {made.repeats!r}")
    return made


def scale_stage(stage: Stage, scaling: Scaling, *, width: float, depth: float) -> Stage:
    """Return a stage with its channels times `width` and its repeats times `depth`, rounded; 1 changes nothing."""
    changes: dict[str, Any] = {}
    if stage.scale_width and width != 1.0:
        for name in stage.width_fields:
            channels = getattr(stage, name)
            if channels:
                changes[name] = round_filters(channels * width, scaling.divisor, scaling.kept)
    if stage.scale_depth and depth != 1.0:
        changes["repeats"] = round_repeats(stage.repeats, depth)
    return stage.model_copy(update=changes) if changes else stage
