"""What every space has, whatever its networks are made of: choices, genomes of one integer per choice, populations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError, SpecError, nearest
from roofline.search.space.genomes import Choice, Genes, Genomes, Value

#: options that a genome's int8 can hold
MAX_OPTIONS = 127


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BaseSpace(ABC):
    """A set of networks, as far as its choices say what they are.

    Attributes
    ----------
    choices
        The genes, in order. Later choices rule where two change one field.
    forbidden
        Combinations that are no networks: each maps choice names to the values that may not meet.
    twin
        Choice name -> value of the plain twin of a candidate: what a score that knows only plain networks is asked.
    """

    name: str
    title: str
    choices: tuple[Choice, ...]
    forbidden: tuple[Mapping[str, tuple[Value, ...]], ...] = ()
    twin: Mapping[str, Value] | None = None

    def __post_init__(self) -> None:
        """Check names and options.

        Raises
        ------
        SpecError
            The space is empty, a name is used twice, or a choice has no or too many options.
        """
        if not self.choices:
            raise SpecError(f"space {self.name!r} is empty: it needs stages and choices")
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

    # genomes <-> mappings --------------------------------------------------------

    def encode(self, mapping: Any) -> NDArray[np.int8]:
        """Return the genome of a mapping choice name -> value.

        Raises
        ------
        InputError
            A choice is missing, given twice, unknown, or has a value the space lacks.
        """
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

    @abstractmethod
    def decode(self, genome: Any, *, name: str | None = None) -> Any:
        """Return the network of one genome.

        Raises
        ------
        InputError
            The genome is out of range, or not a network of the space.
        """

    def options(self, genome: Any) -> list[int]:
        """Return one genome as a list, checked to be a network of the space.

        Raises
        ------
        InputError
            It is out of range, or a combination that the space forbids.
        """
        row = self.check(np.asarray(genome)[None])
        if not self.valid(row)[0]:
            raise InputError(f"genome {row[0].tolist()!r} is a combination that space {self.name!r} forbids")
        return [int(g) for g in row[0]]

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

    def restricted(self, kept: Mapping[str, Sequence[Value]]) -> Self:
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

    @property
    def size_gene(self) -> int | None:
        """The gene that chooses the input size, None where it is fixed."""
        return None

    @property
    @abstractmethod
    def hash(self) -> str:
        """SHA-256 of the space's content."""

    def __repr__(self) -> str:
        """Return the space in one line."""
        return f"{type(self).__name__}({self.name!r}, {self.length} genes, {float(prod(self.sizes)):.3g} combinations)"
