"""Where candidates stand in tables: genes x strides, for rows of bytes that lie the wrong way round.

Arithmetic wants a gene of many candidates side by side, a population has the genes of one candidate so. Turning bytes
round one by one is what takes longest; so four genes are turned as one word, and taken apart where they lie together.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: genes turned round as one, and the formats in which they are seen: a byte each, the first one lowest
TOGETHER, WORD, HALF = 4, np.dtype("<u4"), np.dtype("<u2")


#: the genes that each table hears, and the number of options of each
Axes: TypeAlias = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
#: of so few candidates a matrix product takes less time than the calls that turning words round needs
FEW = 1 << 12
#: whole numbers up to here are exact in float32
EXACT_IN_SINGLE = 1 << 24


class Entries(Protocol):
    """The entries of candidates in tables, some candidates at a time."""

    def load(self, genomes: NDArray[np.integer[Any]]) -> None:
        """Take the candidates that are asked about next."""

    def of(self, table: int) -> NDArray[np.intp]:
        """Return the entry of each candidate in a table; the next call may write over it."""


def entries_in(axes: Axes, length: int, most: int) -> Entries:
    """Return what finds entries of genomes of a length, at most so many at a time."""
    return Product(axes, length) if most <= FEW else Words(axes, length, most)


@lru_cache(maxsize=256)
def strides_of(axes: Axes) -> tuple[tuple[int, ...], ...]:
    """Return how many entries of each table lie between neighbours along each of its genes."""
    return tuple(tuple(prod(shape[i + 1 :]) for i in range(len(shape))) for _, shape in axes)


@lru_cache(maxsize=256)
def _matrix(axes: Axes, length: int) -> NDArray[np.floating[Any]]:
    """Return what each gene (row) adds to the entry of each table (column), in a format that holds every entry."""
    exact = max(prod(shape) for _, shape in axes) <= EXACT_IN_SINGLE
    found = np.zeros((length, len(axes)), dtype=np.float32 if exact else np.float64)
    for column, ((genes, _), strides) in enumerate(zip(axes, strides_of(axes), strict=True)):
        found[list(genes), column] = strides
    return found


class Product:
    """All entries as one matrix product."""

    def __init__(self, axes: Axes, length: int) -> None:
        self._matrix = _matrix(axes, length)

    def load(self, genomes: NDArray[np.integer[Any]]) -> None:
        """See `Entries.load`."""
        self._at = (genomes.astype(self._matrix.dtype) @ self._matrix).T.astype(np.intp)

    def of(self, table: int) -> NDArray[np.intp]:
        """See `Entries.of`."""
        found: NDArray[np.intp] = self._at[table]
        return found


class Words:
    """Entries gene by gene."""

    def __init__(self, axes: Axes, length: int, most: int) -> None:
        largest = max(prod(shape) for _, shape in axes)
        kind = np.uint16 if largest <= 1 << 16 else np.uint32
        words = -(-length // TOGETHER)
        self._strides = strides_of(axes)
        self._genes = [genes for genes, _ in axes]
        self._rows = np.zeros((most, words * TOGETHER), dtype=np.int8)
        self._word, self._half = np.empty(most, dtype=WORD), np.empty((2, most), dtype=HALF)
        self._apart = np.empty((words, 2, 2, most), dtype=kind)
        self._sum, self._part = np.empty(most, dtype=kind), np.empty(most, dtype=kind)
        self._at = np.empty(most, dtype=np.intp)

    def load(self, genomes: NDArray[np.integer[Any]]) -> None:
        """See `Entries.load`."""
        n, length = genomes.shape
        if genomes.dtype != np.int8 or length % TOGETHER or not genomes.flags.c_contiguous:
            self._rows[:n, :length] = genomes
            genomes = self._rows[:n]
        word, half, apart = self._word[:n], self._half[:, :n], self._apart[..., :n]
        for number, column in enumerate(genomes.view(WORD).T):
            np.copyto(word, column)
            np.copyto(half[0], word, casting="unsafe")
            np.right_shift(word, 16, out=word)
            np.copyto(half[1], word, casting="unsafe")
            np.bitwise_and(half, 255, out=apart[number, :, 0])
            np.right_shift(half, 8, out=apart[number, :, 1])
        self._loaded = self._apart.reshape(-1, self._apart.shape[-1])[:, :n]

    def of(self, table: int) -> NDArray[np.intp]:
        """See `Entries.of`."""
        genes = self._loaded
        n = genes.shape[1]
        total, part, at = self._sum[:n], self._part[:n], self._at[:n]
        if not self._genes[table]:
            at.fill(0)
            return at
        for number, (gene, stride) in enumerate(zip(self._genes[table], self._strides[table], strict=True)):
            if number == 0:
                np.multiply(genes[gene], stride, out=total)
                continue
            if stride > 1:
                np.multiply(genes[gene], stride, out=part)
            np.add(total, part if stride > 1 else genes[gene], out=total)
        np.copyto(at, total)
        return at
