"""What a gene may be, and what a population of genomes can do, without a loop over candidates."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError

Genomes: TypeAlias = NDArray[np.integer[Any]]
Value: TypeAlias = int | float | str | bool
#: (stage or "" for the network, field, value) ...
Changes: TypeAlias = tuple[tuple[str, str, Value], ...]
#: per gene that a combination touches: which of its options are in it
Combination: TypeAlias = tuple[tuple[int, NDArray[np.bool_]], ...]
#: draws for a place that a forbidden combination keeps refusing; the parent stays where all fail
TRIES = 1000
#: rows compared as one
RUN = 256


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

    @cached_property
    def stages(self) -> frozenset[str]:
        """Names of the stages that it changes, "" for the network."""
        return frozenset(stage for changes in self.changes for stage, _, _ in changes)

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
class Genes:
    """The genes of a space: how many options each has, and the combinations that are no networks."""

    space: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    forbidden: tuple[Combination, ...]

    @property
    def length(self) -> int:
        """Number of genes."""
        return len(self.sizes)

    def check(self, genomes: Any) -> Genomes:
        """See `Space.check`."""
        array = np.asarray(genomes)
        if array.dtype.kind not in "iu":
            raise InputError(f"genomes must be integers, got dtype {array.dtype.name!r}")
        if array.ndim != 2:
            raise InputError(f"genomes must be an array (N, {self.length}), got shape {array.shape!r}")
        if array.shape[1] != self.length:
            raise InputError(f"genomes of space {self.space!r} have {self.length} genes, got {array.shape[1]}")
        if len(array) and not _within(array, np.array(self.sizes)):
            gene = int(np.flatnonzero(((array < 0) | (array >= np.array(self.sizes))).any(axis=0))[0])
            row = int(np.flatnonzero((array[:, gene] < 0) | (array[:, gene] >= self.sizes[gene]))[0])
            raise InputError(
                f"genome {row}: gene {gene} ({self.names[gene]!r}) must be in 0..{self.sizes[gene] - 1},"
                f" got {int(array[row, gene])}"
            )
        return array

    def valid(self, genomes: Genomes) -> NDArray[np.bool_]:
        """See `Space.valid`."""
        fine = np.ones(len(genomes), dtype=bool)
        for combination in self.forbidden:
            meets = np.ones(len(genomes), dtype=bool)
            for gene, mask in combination:
                meets &= mask[genomes[:, gene]]
            fine &= ~meets
        return fine

    def count(self) -> int:
        """Return the number of networks: forbidden combinations touch few genes, the others multiply."""
        touched = sorted({gene for combination in self.forbidden for gene, _ in combination})
        free = prod(self.sizes[g] for g in range(self.length) if g not in touched)
        if not touched:
            return free
        grid = np.zeros((prod(self.sizes[g] for g in touched), self.length), dtype=np.int8)
        grid[:, touched] = np.array(list(itertools.product(*(range(self.sizes[g]) for g in touched))))
        return free * int(self.valid(grid).sum())

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.int8]:
        """See `Space.sample`."""
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
            raise InputError(f"the number of genomes must be a whole number, not negative, got {n!r}")
        genomes = np.empty((n, self.length), dtype=np.int8)
        todo = np.arange(n)
        while len(todo):
            genomes[todo] = rng.integers(0, np.array(self.sizes), size=(len(todo), self.length), dtype=np.int8)
            todo = todo[~self.valid(genomes[todo])] if self.forbidden else todo[:0]
        return genomes

    def mutate(self, genomes: Genomes, rng: np.random.Generator, genes: int) -> NDArray[np.int8]:
        """See `Space.mutate`; with forbidden combinations, a child that would be one is drawn again."""
        parents = genomes.astype(np.int8, copy=False)
        movable = np.flatnonzero(np.array(self.sizes) > 1)
        if not len(movable):
            return parents.copy()
        if not 1 <= genes <= len(movable):
            raise InputError(f"genes to mutate must be in 1..{len(movable)}, got {genes!r}")
        children = self._mutated(parents, rng, movable, genes)
        if self.forbidden:
            todo = np.flatnonzero(~self.valid(children))
            for _ in range(TRIES):
                if not len(todo):
                    break
                children[todo] = self._mutated(parents[todo], rng, movable, genes)
                todo = todo[~self.valid(children[todo])]
            children[todo] = parents[todo]
        return children

    def _mutated(
        self, parents: NDArray[np.int8], rng: np.random.Generator, movable: NDArray[np.int64], genes: int
    ) -> NDArray[np.int8]:
        children = parents.copy()
        rows = np.arange(len(parents))
        sizes = np.array(self.sizes)
        if genes == 1:
            picks = [movable[rng.integers(0, len(movable), size=len(parents))]]
        else:
            order = np.argsort(rng.random((len(parents), len(movable))), axis=1)[:, :genes]
            picks = [movable[order[:, i]] for i in range(genes)]
        for gene in picks:
            step = 1 + (rng.random(len(parents)) * (sizes[gene] - 1)).astype(np.int64)  # 1 .. size - 1: never the same
            children[rows, gene] = (children[rows, gene] + step) % sizes[gene]
        return children

    def crossover(self, a: Genomes, b: Genomes, rng: np.random.Generator) -> NDArray[np.int8]:
        """See `Space.crossover`; a child that is no network becomes its first parent."""
        if a.shape != b.shape:
            raise InputError(f"parents must have one shape, got {a.shape!r} and {b.shape!r}")
        first = a.astype(np.int8, copy=False)
        child = np.where(rng.random(a.shape) < 0.5, first, b.astype(np.int8, copy=False))
        if self.forbidden:
            child = np.where(self.valid(child)[:, None], child, first)
        return np.asarray(child, dtype=np.int8)

    def enumerate(self, chunk: int) -> Iterator[NDArray[np.int8]]:
        """See `Space.enumerate`."""
        sizes = self.sizes
        inner = self.length
        while inner > 0 and prod(sizes[inner - 1 :]) <= max(chunk, 1):
            inner -= 1
        tail = np.array(list(itertools.product(*(range(s) for s in sizes[inner:]))), dtype=np.int8)
        tail = tail.reshape(-1, self.length - inner)
        for head in itertools.product(*(range(s) for s in sizes[:inner])):
            block = np.empty((len(tail), self.length), dtype=np.int8)
            block[:, :inner] = head
            block[:, inner:] = tail
            yield block[self.valid(block)] if self.forbidden else block

    @cached_property
    def _digits(self) -> int:
        return 1 if max(self.sizes) <= 36 else 2

    def text(self, genome: Any) -> str:
        """See `Space.text`."""
        width = self._digits
        return "".join(_word(int(g), width) for g in np.asarray(genome))

    def from_text(self, text: str) -> NDArray[np.int8]:
        """See `Space.from_text`."""
        width = self._digits
        if len(text) != self.length * width or not text.isalnum() or not text.isascii():
            raise InputError(f"a genome of {self.space!r} is a word of {self.length * width} digits, got {text!r}")
        row = np.array([[int(text[i : i + width], 36) for i in range(0, len(text), width)]], dtype=np.int64)
        return np.asarray(self.check(row)[0], dtype=np.int8)


@lru_cache(maxsize=1024)
def _word(option: int, width: int) -> str:
    return np.base_repr(option, 36).lower().zfill(width)


def _within(array: Genomes, sizes: NDArray[np.int64]) -> bool:
    """Return whether no gene is below 0 or too large; rows are compared in long runs, which is fast.

    Read without a sign, what is below 0 is larger than any option.
    """
    width, whole = array.shape[1], len(array) // RUN * RUN
    if array.dtype.kind == "i":
        array = array.view(array.dtype.str.replace("i", "u"))
    runs = array[:whole].reshape(-1, RUN * width) if whole and array.flags.c_contiguous else array[:0]
    if not len(runs):
        return bool(np.all(array.max(axis=0) < sizes))
    high = np.concatenate([runs.max(axis=0).reshape(RUN, width), array[whole:]]).max(axis=0)
    return bool(np.all(high < sizes))
