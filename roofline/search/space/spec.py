"""A search space as a value: choices that change the stages of a base network; genomes of one integer per choice."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roofline.arch.block import Stage, stage_class
from roofline.arch.build import Instance, instances
from roofline.arch.load import stage_from, stage_table
from roofline.arch.spec import Arch
from roofline.errors import InputError, RooflineError, SpecError, nearest
from roofline.search.space.base import BaseSpace
from roofline.search.space.genomes import Choice


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Space(BaseSpace):
    """A set of networks of an architecture file's kinds of blocks.

    Attributes
    ----------
    stages
        The base network: a table of fields per stage, as in an architecture file.
    """

    family: str
    image_size: int
    stages: tuple[Mapping[str, Any], ...]
    input: Literal["image", "tokens"] = "image"

    def __post_init__(self) -> None:
        """Check names and options.

        Raises
        ------
        SpecError
            As `BaseSpace`; or a choice changes a stage that does not exist.
        """
        if not self.choices or not self.stages:
            raise SpecError(f"space {self.name!r} is empty: it needs stages and choices")
        stages = {str(t["name"]): stage_class(str(t["block"])) for t in self.stages}
        if len(stages) != len(self.stages):
            raise SpecError(f"space {self.name!r}: stage names are not unique")
        for choice in self.choices:
            where = f"space {self.name!r}: choice {choice.name!r}"
            for stage, field, _ in itertools.chain.from_iterable(choice.changes):
                if stage == "" and field != "image_size":
                    raise SpecError(f"{where} changes {field!r} of the network; allowed: 'image_size'")
                if stage and stage not in stages:
                    raise SpecError(f"{where} changes stage {stage!r}{nearest(stage, stages)}")
        super().__post_init__()

    # genomes <-> architectures ------------------------------------------------------

    def encode(self, mapping: Mapping[str, Any] | Arch) -> NDArray[np.int8]:
        """Return the genome of a mapping choice name -> value, or of an architecture.

        Raises
        ------
        InputError
            As `BaseSpace.encode`; or no genome decodes to the architecture.
        """
        return self._encode_arch(mapping) if isinstance(mapping, Arch) else super().encode(mapping)

    def decode(self, genome: Any, *, name: str | None = None) -> Arch:
        """Return the architecture of one genome, which `simulate` accepts.

        Raises
        ------
        InputError
            The genome is out of range, or not a network of the space.
        """
        options = self.options(genome)
        return self.network(options, name or f"{self.name}-{self.text(options)}")

    # stages ------------------------------------------------------------------------

    @cached_property
    def genes_of_stages(self) -> tuple[tuple[int, ...], ...]:
        """For each stage the genes that change it."""
        return tuple(tuple(i for i, c in enumerate(self.choices) if s["name"] in c.stages) for s in self.stages)

    @cached_property
    def size_gene(self) -> int | None:
        """The gene that chooses the input size, None where it is fixed."""
        return next((i for i, choice in enumerate(self.choices) if "" in choice.stages), None)

    def input_size(self, option: int | None) -> int:
        """Return the input size for an option of the gene that chooses it."""
        size = self.image_size
        if self.size_gene is not None and option is not None:
            for stage, _, value in self.choices[self.size_gene].changes[option]:
                size = size if stage else int(value)
        return size

    def stage_value(self, stage: int, options: Sequence[int]) -> Stage:
        """Return a stage for the options of the genes it hears.

        Raises
        ------
        SpecError
            The options do not make a valid stage.
        """
        table = dict(self.stages[stage])
        for gene, option in zip(self.genes_of_stages[stage], options, strict=True):
            for name, field, value in self.choices[gene].changes[option]:
                if name == table["name"]:
                    table[field] = value
        where = f"space {self.name!r}: stage {table['name']!r}"
        made = stage_from(table, where)
        if made.repeats < 0:
            raise SpecError(f"{where}: repeats must not be negative, got {made.repeats!r}")
        return made

    def network(self, genome: Sequence[int], name: str) -> Arch:
        """Return the architecture of a checked genome; stages without repeats are left out."""
        stages = [self.stage_value(i, [genome[g] for g in genes]) for i, genes in enumerate(self.genes_of_stages)]
        gene = self.size_gene
        return Arch(
            name=name,
            family=self.family,
            title=f"{self.title} {name}",
            image_size=self.input_size(None if gene is None else genome[gene]),
            stages=tuple(s for s in stages if s.repeats),
            input=self.input,
        )

    def _encode_arch(self, arch: Arch) -> NDArray[np.int8]:
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
        gene = self.size_gene
        if gene is not None:
            options = range(len(self.choices[gene].values))
            partial = [{gene: o} for o in options if self.input_size(o) == arch.image_size]
        if not partial or (gene is None and arch.image_size != self.image_size) or arch.input != self.input:
            raise InputError(f"space {self.name!r} has no network of input size {arch.image_size!r}")
        for i, genes in enumerate(self.genes_of_stages):
            name = str(self.stages[i]["name"])
            wanted = blocks.pop(name, [])
            fitting = [options for options, made in _forms(self, i) if _makes(made, wanted)]
            joined = [
                {**known, **dict(zip(genes, options, strict=True))}
                for known in partial
                for options in fitting
                if all(known.get(g, o) == o for g, o in zip(genes, options, strict=True))
            ]
            if not joined:
                raise InputError(f"no genome of space {self.name!r} makes stage {name!r} of {arch.name!r}")
            partial = joined
        if blocks:
            raise InputError(f"space {self.name!r} has no stage {next(iter(blocks))!r}")
        return np.array([partial[0].get(g, 0) for g in range(self.length)], dtype=np.int8)

    # identity -----------------------------------------------------------------------------

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the space's content."""
        content = {
            "name": self.name,
            "image_size": self.image_size,
            "input": self.input,
            "stages": [dict(s) for s in self.stages],
            "choices": [(c.name, c.values, c.changes) for c in self.choices],
            "forbidden": [dict(f) for f in self.forbidden],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def space_from(
    name: str,
    base: Arch,
    choices: Sequence[Choice],
    **more: Any,
) -> Space:
    """Return a space around a base network, in Python; files are read by `search_space`."""
    own: dict[str, Any] = {"title": name} | {f: getattr(base, f) for f in ("family", "image_size", "input")}
    stages = tuple(stage_table(s) for s in base.stages)
    return Space(name=name, stages=stages, choices=tuple(choices), **(own | more))


@lru_cache(maxsize=256)
def _forms(space: Space, stage: int) -> list[tuple[tuple[int, ...], Stage]]:
    """Return (options, value) of every form of a stage."""
    forms: list[tuple[tuple[int, ...], Stage]] = []
    for options in itertools.product(*(range(space.sizes[g]) for g in space.genes_of_stages[stage])):
        with suppress(RooflineError):
            forms.append((options, space.stage_value(stage, options)))
    return forms


def _makes(made: Stage, wanted: list[Instance]) -> bool:
    if made.repeats != len(wanted):
        return False
    try:
        return all(made.make(i, instance.inputs) == instance.block for i, instance in enumerate(wanted))
    except RooflineError:
        return False
