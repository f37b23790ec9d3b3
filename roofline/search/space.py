"""A search space as a value: choices that change the stages of a base network; genomes of one integer per choice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from roofline.arch.load import stage_table
from roofline.arch.spec import Arch
from roofline.errors import InputError, nearest
from roofline.search import decoding
from roofline.search import genomes as genome_tools

Genomes: TypeAlias = NDArray[np.integer[Any]]
Value: TypeAlias = int | float | str | bool
#: (stage or "" for the network, field, value) ...
Changes: TypeAlias = tuple[tuple[str, str, Value], ...]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One gene: what it may be, and what each option changes in the base network.

    Attributes
    ----------
    name, aliases
        What mappings call it.
    values
        Labels of the options, distinct; a genome holds the position of one.
    changes
        Per option: (stage, field, value); stage "" with field ``image_size`` changes the network.
    """

    name: str
    values: tuple[Value, ...]
    changes: tuple[Changes, ...]
    aliases: tuple[str, ...] = ()

    def position(self, value: Any) -> int:
        """Return the position of an option; numbers may be strings, as read from CSV.

        Raises
        ------
        InputError
            There is no such option.
        """
        for i, known in enumerate(self.values):
            if (value == known and isinstance(value, bool) == isinstance(known, bool)) or value == str(known):
                return i
        allowed = ", ".join(map(repr, self.values))
        raise InputError(f"{self.name!r} must be one of {allowed}, got {value!r}")


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
        decoding.check_space(self)

    # genes ----------------------------------------------------------------------

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the genes."""
        return tuple(choice.name for choice in self.choices)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of options of each gene."""
        return tuple(len(choice.values) for choice in self.choices)

    @property
    def length(self) -> int:
        """Number of genes."""
        return len(self.choices)

    @cached_property
    def size(self) -> int:
        """Number of networks, forbidden combinations left out."""
        return genome_tools.count_valid(self)

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
            return decoding.encode_arch(self, mapping)
        found: dict[int, int] = {}
        for name, value in mapping.items():
            gene = self.gene(name)
            if gene in found:
                raise InputError(f"choice {self.names[gene]!r} is given twice")
            found[gene] = self.choices[gene].position(value)
        missing = [name for i, name in enumerate(self.names) if i not in found]
        if missing:
            raise InputError(f"choice {missing[0]!r} is missing (and {len(missing) - 1} more)")
        return np.array([found[i] for i in range(self.length)], dtype=np.int8)

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
        return decoding.decode(self, row[0].tolist(), name or f"{self.name}-{self.text(row[0])}")

    def text(self, genome: Any) -> str:
        """Return a genome as a short word: one digit (base 36) per gene, two where a gene has more options."""
        return "".join(np.base_repr(int(g), 36).lower().zfill(self._digits) for g in np.asarray(genome))

    @cached_property
    def _digits(self) -> int:
        return 1 if max(self.sizes) <= 36 else 2

    def from_text(self, text: str) -> NDArray[np.int8]:
        """Return the genome that `text` writes.

        Raises
        ------
        InputError
            It does not.
        """
        width = self._digits
        if len(text) != self.length * width or not text.isalnum() or not text.isascii():
            raise InputError(f"a genome of {self.name!r} is a word of {self.length * width} digits, got {text!r}")
        row = np.array([[int(text[i : i + width], 36) for i in range(0, len(text), width)]], dtype=np.int64)
        return np.asarray(self.check(row)[0], dtype=np.int8)

    # populations ----------------------------------------------------------------------

    def check(self, genomes: Any) -> Genomes:
        """Return `genomes` as an array (N, L) of integers.

        Raises
        ------
        InputError
            Wrong dtype, shape or length, or a value out of range; the message names the first.
        """
        return genome_tools.check(self, genomes)

    def valid(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Return which genomes (N, L) are networks of the space."""
        return genome_tools.valid(self, genomes)

    def sample(self, n: int, seed: int | np.random.Generator = 0) -> NDArray[np.int8]:
        """Return `n` genomes drawn uniformly from the space, (N, L)."""
        return genome_tools.sample(self, n, np.random.default_rng(seed))

    def mutate(self, genomes: Genomes, seed: int | np.random.Generator = 0, *, genes: int = 1) -> NDArray[np.int8]:
        """Return genomes with `genes` genes each drawn anew, always to another value where there is one."""
        return genome_tools.mutate(self, genomes, np.random.default_rng(seed), genes)

    def crossover(self, a: Genomes, b: Genomes, seed: int | np.random.Generator = 0) -> NDArray[np.int8]:
        """Return one child per pair: every gene from either parent with equal chance."""
        return genome_tools.crossover(self, a, b, np.random.default_rng(seed))

    def enumerate(self, chunk: int = 1 << 16) -> Iterator[NDArray[np.int8]]:
        """Yield all networks in lexicographic order, some at a time."""
        return genome_tools.enumerate_all(self, chunk)

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
        rules = [
            {n: tuple(v for v in values if v in known[n]) for n, values in rule.items()} for rule in self.forbidden
        ]
        twin = {n: v for n, v in (self.twin or {}).items() if v in known[n]} or None
        return replace(self, choices=tuple(choices), forbidden=tuple(r for r in rules if all(r.values())), twin=twin)

    # identity -----------------------------------------------------------------------------

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the space's content."""
        content = {
            "name": self.name, "image_size": self.image_size, "input": self.input,
            "stages": [dict(s) for s in self.stages],
            "choices": [(c.name, c.values, c.changes) for c in self.choices],
            "forbidden": [dict(f) for f in self.forbidden],
        }  # fmt: skip
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
    stages = tuple(stage_table(s) for s in base.stages)
    return Space(
        name=name, title=more.pop("title", name), family=base.family, image_size=base.image_size, input=base.input,
        stages=stages, choices=tuple(choices), **more,
    )  # fmt: skip
