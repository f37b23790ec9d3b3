"""A search space as a value: choices that change the stages of a base network; genomes of one integer per choice."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roofline.arch.block import Stage, stage_class
from roofline.arch.build import Instance, instances
from roofline.arch.load import stage_from, stage_table
from roofline.arch.spec import Arch
from roofline.errors import InputError, RooflineError, SpecError, nearest
from roofline.search.space.genomes import Choice, Genes, Genomes, Value

#: options that a genome's int8 can hold
MAX_OPTIONS = 127


@dataclass(frozen=True, kw_only=True, eq=False)
class Space:
    """A set of networks.

    Attributes
    ----------
    stages
        The base network: a table of fields per stage, as in an architecture file.
    choices
        The genes, in order. Later choices rule where two change one field.
    forbidden
        Combinations that are no networks: each maps choice names to the values that may not meet.
    twin
        Choice name -> value of the plain twin of a candidate: what a score that knows only plain networks is asked.
    """

    name: str
    title: str
    family: str
    image_size: int
    stages: tuple[Mapping[str, Any], ...]
    choices: tuple[Choice, ...]
    input: Literal["image", "tokens"] = "image"
    forbidden: tuple[Mapping[str, tuple[Value, ...]], ...] = ()
    twin: Mapping[str, Value] | None = None

    def __post_init__(self) -> None:
        """Check names and options.

        Raises
        ------
        SpecError
            The space is empty, a name is used twice, or a choice changes a stage that does not exist.
        """
        if not self.choices or not self.stages:
            raise SpecError(f"space {self.name!r} is empty: it needs stages and choices")
        stages = {str(t["name"]): stage_class(str(t["block"])) for t in self.stages}
        if len(stages) != len(self.stages):
            raise SpecError(f"space {self.name!r}: stage names are not unique")
        seen: set[str] = set()
        for choice in self.choices:
            where = f"space {self.name!r}: choice {choice.name!r}"
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
        for combination in (*self.forbidden, self.twin or {}):
            for name, values in combination.items():
                gene = self.gene(name)
                for value in values if isinstance(values, tuple) else (values,):
                    self.choices[gene].position(value)
        if self.size == 0:
            raise SpecError(f"space {self.name!r} is empty: every combination is forbidden")

    # genes ----------------------------------------------------------------------

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the genes."""
        return tuple(choice.name for choice in self.choices)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of options of each gene."""
        return tuple(len(choice.values) for choice in self.choices)

    @cached_property
    def genes(self) -> Genes:
        """The genes as numbers of options, without what they change."""

        def touched(name: str, values: Sequence[Value]) -> tuple[int, NDArray[np.bool_]]:
            gene = self.gene(name)
            return gene, np.isin(np.arange(self.sizes[gene]), [self.choices[gene].position(v) for v in values])

        met = tuple(tuple(touched(*item) for item in combination.items()) for combination in self.forbidden)
        return Genes(space=self.name, names=self.names, sizes=self.sizes, forbidden=met)

    @property
    def length(self) -> int:
        """Number of genes."""
        return len(self.choices)

    @cached_property
    def size(self) -> int:
        """Number of networks, forbidden combinations left out."""
        return self.genes.count()

    def gene(self, name: str) -> int:
        """Return the position of a gene by name or alias.

        Raises
        ------
        InputError
            There is no such choice.
        """
        for i, choice in enumerate(self.choices):
            if name == choice.name or name in choice.aliases:
                return i
        raise InputError(f"space {self.name!r} has no choice {name!r}{nearest(name, self.names)}")

    # genomes <-> mappings, architectures -------------------------------------------

    def encode(self, mapping: Mapping[str, Any] | Arch) -> NDArray[np.int8]:
        """Return the genome of a mapping choice name -> value, or of an architecture.

        Raises
        ------
        InputError
            A choice is missing, given twice, unknown, or has a value the space lacks; or no genome decodes to the
            architecture.
        """
        if isinstance(mapping, Arch):
            return self._encode_arch(mapping)
        options: dict[int, int] = {}
        for name, value in mapping.items():
            gene = self.gene(name)
            if gene in options:
                raise InputError(f"choice {self.names[gene]!r} is given twice")
            options[gene] = self.choices[gene].position(value)
        missing = [name for i, name in enumerate(self.names) if i not in options]
        if missing:
            raise InputError(f"choice {missing[0]!r} is missing (and {len(missing) - 1} more)")
        return np.array([options[i] for i in range(self.length)], dtype=np.int8)

    def mapping(self, genome: Any) -> dict[str, Value]:
        """Return choice name -> value of one genome."""
        row = self.check(np.asarray(genome)[None])[0]
        return {choice.name: choice.values[int(g)] for choice, g in zip(self.choices, row, strict=True)}

    def decode(self, genome: Any, *, name: str | None = None) -> Arch:
        """Return the architecture of one genome, which `simulate` accepts.

        Raises
        ------
        InputError
            The genome is out of range, or not a network of the space.
        """
        row = self.check(np.asarray(genome)[None])
        if not self.valid(row)[0]:
            raise InputError(f"genome {row[0].tolist()!r} is a combination that space {self.name!r} forbids")
        return self.network(row[0].tolist(), name or f"{self.name}-{self.text(row[0])}")

    def text(self, genome: Any) -> str:
        """Return a genome as a short word: one digit (base 36) per gene, two where a gene has more options."""
        return self.genes.text(genome)

    def from_text(self, text: str) -> NDArray[np.int8]:
        """Return the genome that `text` writes.

        Raises
        ------
        InputError
            It does not.
        """
        return self.genes.from_text(text)

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

    # populations ----------------------------------------------------------------------

    def check(self, genomes: Any) -> Genomes:
        """Return `genomes` as an array (N, L) of integers.

        Raises
        ------
        InputError
            Wrong dtype, shape or length, or a value out of range; the message names the first.
        """
        return self.genes.check(genomes)

    def valid(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Return which genomes (N, L) are networks of the space."""
        return self.genes.valid(genomes)

    def sample(self, n: int, seed: int | np.random.Generator = 0) -> NDArray[np.int8]:
        """Return `n` genomes drawn uniformly from the space, (N, L)."""
        return self.genes.sample(n, np.random.default_rng(seed))

    def mutate(self, genomes: Genomes, seed: int | np.random.Generator = 0, *, genes: int = 1) -> NDArray[np.int8]:
        """Return genomes with `genes` genes each drawn anew, always to another value where there is one."""
        return self.genes.mutate(genomes, np.random.default_rng(seed), genes)

    def crossover(self, a: Genomes, b: Genomes, seed: int | np.random.Generator = 0) -> NDArray[np.int8]:
        """Return one child per pair: every gene from either parent with equal chance."""
        return self.genes.crossover(a, b, np.random.default_rng(seed))

    def enumerate(self, chunk: int = 1 << 16) -> Iterator[NDArray[np.int8]]:
        """Yield all networks in lexicographic order, some at a time."""
        return self.genes.enumerate(chunk)

    def to_twin(self, genomes: Genomes) -> Genomes:
        """Return the plain twins of `genomes` (the genomes themselves in a space that has none)."""
        if not self.twin:
            return genomes
        twins = np.array(genomes)
        for name, value in self.twin.items():
            gene = self.gene(name)
            twins[:, gene] = self.choices[gene].position(value)
        return twins

    def is_twin(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Return which genomes are their own plain twin."""
        return np.asarray(np.all(self.to_twin(genomes) == genomes, axis=1))

    def restricted(self, kept: Mapping[str, Sequence[Value]]) -> Space:
        """Return the part of the space in which some choices have fewer values: choice name -> those kept.

        Raises
        ------
        InputError
            There is no such choice or value.
        """
        choices = list(self.choices)
        for name, values in kept.items():
            gene = self.gene(name)
            old = self.choices[gene]
            places = [old.position(value) for value in values]
            choices[gene] = replace(
                old, values=tuple(old.values[p] for p in places), changes=tuple(old.changes[p] for p in places)
            )
        known = {choice.name: choice.values for choice in choices}
        met = [
            {n: tuple(v for v in vs if v in known[n]) for n, vs in combination.items()}
            for combination in self.forbidden
        ]
        twin = {n: v for n, v in (self.twin or {}).items() if v in known[n]} or None
        return replace(self, choices=tuple(choices), forbidden=tuple(c for c in met if all(c.values())), twin=twin)

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

    def __repr__(self) -> str:
        """Return the space in one line."""
        return f"Space({self.name!r}, {self.length} genes, {float(prod(self.sizes)):.3g} combinations)"


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
