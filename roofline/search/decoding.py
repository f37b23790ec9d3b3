"""Between genomes and architectures: which genes a stage hears, what they make of it, and the way back."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from roofline.arch.block import Stage, stage_class
from roofline.arch.build import Instance, instances
from roofline.arch.load import stage_from
from roofline.arch.spec import Arch
from roofline.errors import InputError, RooflineError, SpecError, nearest

if TYPE_CHECKING:
    from roofline.search.space import Space

#: options that a genome's int8 can hold
MAX_OPTIONS = 127


def check_space(space: Space) -> None:
    """Raise SpecError unless names are unique and every change names a stage and a field."""
    if not space.choices or not space.stages:
        raise SpecError(f"space {space.name!r} is empty: it needs stages and choices")
    stages = {str(t["name"]): stage_class(str(t["block"])) for t in space.stages}
    if len(stages) != len(space.stages):
        raise SpecError(f"space {space.name!r}: stage names are not unique")
    seen: set[str] = set()
    for choice in space.choices:
        where = f"space {space.name!r}: choice {choice.name!r}"
        if not choice.values or len(choice.values) > MAX_OPTIONS or len(choice.values) != len(choice.changes):
            raise SpecError(f"{where} needs 1 to {MAX_OPTIONS} values, got {len(choice.values)}")
        if len({str(v) for v in choice.values}) != len(choice.values):
            raise SpecError(f"{where}: values are not distinct: {choice.values!r}")
        for name in (choice.name, *choice.aliases):
            if name in seen:
                raise SpecError(f"{where}: the name {name!r} is used twice")
            seen.add(name)
        for stage, field, _ in itertools.chain.from_iterable(choice.changes):
            if stage == "" and field != "image_size":
                raise SpecError(f"{where} changes {field!r} of the network; allowed: 'image_size'")
            if stage and stage not in stages:
                raise SpecError(f"{where} changes stage {stage!r}{nearest(stage, stages)}")
    for rule in (*space.forbidden, space.twin or {}):
        for name, values in rule.items():
            gene = space.gene(name)
            for value in values if isinstance(values, tuple) else (values,):
                space.choices[gene].position(value)
    if space.size == 0:
        raise SpecError(f"space {space.name!r} is empty: every combination is forbidden")


@lru_cache(maxsize=64)
def genes_of_stages(space: Space) -> tuple[tuple[int, ...], ...]:
    """Return for each stage the genes that change it."""
    by_stage = []
    for table in space.stages:
        heard = [
            i
            for i, choice in enumerate(space.choices)
            if any(stage == table["name"] for changes in choice.changes for stage, _, _ in changes)
        ]
        by_stage.append(tuple(heard))
    return tuple(by_stage)


def size_gene(space: Space) -> int | None:
    """Return the gene that chooses the input size, None where it is fixed."""
    for i, choice in enumerate(space.choices):
        if any(stage == "" for changes in choice.changes for stage, _, _ in changes):
            return i
    return None


def input_size(space: Space, option: int | None) -> int:
    """Return the input size for an option of the gene that chooses it."""
    gene = size_gene(space)
    if gene is None or option is None:
        return space.image_size
    found = [int(v) for stage, _, v in space.choices[gene].changes[option] if stage == ""]
    return found[-1] if found else space.image_size


def stage_value(space: Space, stage: int, options: Sequence[int]) -> Stage:
    """Return a stage for the options of the genes it hears.

    Raises
    ------
    SpecError
        The options do not make a valid stage.
    """
    table = dict(space.stages[stage])
    for gene, option in zip(genes_of_stages(space)[stage], options, strict=True):
        for name, field, value in space.choices[gene].changes[option]:
            if name == table["name"]:
                table[field] = value
    where = f"space {space.name!r}: stage {table['name']!r}"
    made = stage_from(table, where)
    if made.repeats < 0:
        raise SpecError(f"{where}: repeats must not be negative, got {made.repeats!r}")
    return made


def decode(space: Space, genome: Sequence[int], name: str) -> Arch:
    """Return the architecture of a checked genome; stages without repeats are left out."""
    stages = [stage_value(space, i, [genome[g] for g in genes]) for i, genes in enumerate(genes_of_stages(space))]
    gene = size_gene(space)
    return Arch(
        name=name,
        family=space.family,
        title=f"{space.title} {name}",
        image_size=input_size(space, None if gene is None else genome[gene]),
        stages=tuple(s for s in stages if s.repeats),
        input=space.input,
    )


def encode_arch(space: Space, arch: Arch) -> NDArray[np.int8]:
    """Return the first genome whose stages make the blocks of `arch`; names do not count, spellings neither.

    Raises
    ------
    InputError
        There is none; the message names the first stage that does not fit.
    """
    blocks: dict[str, list[Instance]] = {}
    for instance in instances(arch, 1):
        blocks.setdefault(instance.stage, []).append(instance)
    partial: list[dict[int, int]] = [{}]
    gene = size_gene(space)
    if gene is not None:
        options = range(len(space.choices[gene].values))
        partial = [{gene: o} for o in options if input_size(space, o) == arch.image_size]
    if not partial or (gene is None and arch.image_size != space.image_size) or arch.input != space.input:
        raise InputError(f"space {space.name!r} has no network of input size {arch.image_size!r}")
    for i, genes in enumerate(genes_of_stages(space)):
        name = str(space.stages[i]["name"])
        fitting = _fitting(space, i, blocks.pop(name, []))
        joined = [
            {**known, **dict(zip(genes, options, strict=True))}
            for known in partial
            for options in fitting
            if all(known.get(g, o) == o for g, o in zip(genes, options, strict=True))
        ]
        if not joined:
            raise InputError(f"no genome of space {space.name!r} makes stage {name!r} of {arch.name!r}")
        partial = joined
    if blocks:
        raise InputError(f"space {space.name!r} has no stage {next(iter(blocks))!r}")
    return np.array([partial[0].get(g, 0) for g in range(space.length)], dtype=np.int8)


@lru_cache(maxsize=256)
def _stages(space: Space, stage: int) -> list[tuple[tuple[int, ...], Stage]]:
    """Return (options, value) of every form of a stage."""
    sizes = [range(space.sizes[g]) for g in genes_of_stages(space)[stage]]
    found: list[tuple[tuple[int, ...], Stage]] = []
    for options in itertools.product(*sizes):
        try:
            found.append((options, stage_value(space, stage, options)))
        except RooflineError:
            continue
    return found


def _fitting(space: Space, stage: int, wanted: list[Instance]) -> list[tuple[int, ...]]:
    """Return the options with which a stage makes the blocks that are `wanted`."""
    return [options for options, made in _stages(space, stage) if _makes(made, wanted)]


def _makes(made: Stage, wanted: list[Instance]) -> bool:
    if made.repeats != len(wanted):
        return False
    try:
        return all(made.make(i, instance.inputs) == instance.block for i, instance in enumerate(wanted))
    except RooflineError:
        return False
