"""What a population of genomes can do, without a loop over candidates."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError

if TYPE_CHECKING:
    from roofline.search.space import Genomes, Space

#: draws for a place that a forbidden combination keeps refusing; the parent stays where all fail
TRIES = 1000
#: rows compared as one
RUN = 256


def check(space: Space, genomes: Any) -> Genomes:
    """See `Space.check`."""
    array = np.asarray(genomes)
    if array.dtype.kind not in "iu":
        raise InputError(f"genomes must be integers, got dtype {array.dtype.name!r}")
    if array.ndim != 2:
        raise InputError(f"genomes must be an array (N, {space.length}), got shape {array.shape!r}")
    if array.shape[1] != space.length:
        raise InputError(f"genomes of space {space.name!r} have {space.length} genes, got {array.shape[1]}")
    if len(array):
        low, high = _extremes(array)
        bad = np.flatnonzero((low < 0) | (high >= np.array(space.sizes)))
        if len(bad):
            gene = int(bad[0])
            row = int(np.flatnonzero((array[:, gene] < 0) | (array[:, gene] >= space.sizes[gene]))[0])
            raise InputError(
                f"genome {row}: gene {gene} ({space.names[gene]!r}) must be in 0..{space.sizes[gene] - 1},"
                f" got {int(array[row, gene])}"
            )
    return array


def _extremes(array: Genomes) -> tuple[Genomes, Genomes]:
    """Return the least and the largest value of each column; rows are compared in long runs, which is fast."""
    width = array.shape[1]
    whole = len(array) // RUN * RUN
    runs = array[:whole].reshape(-1, RUN * width) if whole and array.flags.c_contiguous else array[:0]
    if not len(runs):
        return array.min(axis=0), array.max(axis=0)
    rest = array[whole:]
    low = np.concatenate([runs.min(axis=0).reshape(RUN, width), rest]).min(axis=0)
    high = np.concatenate([runs.max(axis=0).reshape(RUN, width), rest]).max(axis=0)
    return low, high


def valid(space: Space, genomes: Genomes) -> NDArray[np.bool_]:
    """See `Space.valid`."""
    fine = np.ones(len(genomes), dtype=bool)
    for rule in space.forbidden:
        meets = np.ones(len(genomes), dtype=bool)
        for gene, mask in _rule(space, rule):
            meets &= mask[genomes[:, gene]]
        fine &= ~meets
    return fine


def _rule(space: Space, rule: Mapping[str, Any]) -> list[tuple[int, NDArray[np.bool_]]]:
    found = []
    for name, values in rule.items():
        gene = space.gene(name)
        mask = np.zeros(space.sizes[gene], dtype=bool)
        mask[[space.choices[gene].position(v) for v in values]] = True
        found.append((gene, mask))
    return found


def count_valid(space: Space) -> int:
    """Return the number of genomes that no rule forbids: rules touch few genes, the others multiply."""
    touched = sorted({gene for rule in space.forbidden for gene, _ in _rule(space, rule)})
    free = prod(space.sizes[g] for g in range(space.length) if g not in touched)
    if not touched:
        return free
    grid = np.zeros((prod(space.sizes[g] for g in touched), space.length), dtype=np.int8)
    grid[:, touched] = np.array(list(itertools.product(*(range(space.sizes[g]) for g in touched))))
    return free * int(valid(space, grid).sum())


def sample(space: Space, n: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """See `Space.sample`."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
        raise InputError(f"the number of genomes must be a whole number, not negative, got {n!r}")
    found = np.empty((n, space.length), dtype=np.int8)
    todo = np.arange(n)
    while len(todo):
        found[todo] = rng.integers(0, np.array(space.sizes), size=(len(todo), space.length), dtype=np.int8)
        todo = todo[~valid(space, found[todo])] if space.forbidden else todo[:0]
    return found


def mutate(space: Space, genomes: Genomes, rng: np.random.Generator, genes: int) -> NDArray[np.int8]:
    """See `Space.mutate`; with forbidden combinations, a child that would be one is drawn again."""
    parents = genomes.astype(np.int8, copy=False)
    movable = np.flatnonzero(np.array(space.sizes) > 1)
    if not len(movable):
        return parents.copy()
    if not 1 <= genes <= len(movable):
        raise InputError(f"genes to mutate must be in 1..{len(movable)}, got {genes!r}")
    children = _mutated(space, parents, rng, movable, genes)
    if space.forbidden:
        todo = np.flatnonzero(~valid(space, children))
        for _ in range(TRIES):
            if not len(todo):
                break
            children[todo] = _mutated(space, parents[todo], rng, movable, genes)
            todo = todo[~valid(space, children[todo])]
        children[todo] = parents[todo]
    return children


def _mutated(
    space: Space, parents: NDArray[np.int8], rng: np.random.Generator, movable: NDArray[np.int64], genes: int
) -> NDArray[np.int8]:
    children = parents.copy()
    rows = np.arange(len(parents))
    sizes = np.array(space.sizes)
    if genes == 1:
        picks = [movable[rng.integers(0, len(movable), size=len(parents))]]
    else:
        order = np.argsort(rng.random((len(parents), len(movable))), axis=1)[:, :genes]
        picks = [movable[order[:, i]] for i in range(genes)]
    for gene in picks:
        step = 1 + (rng.random(len(parents)) * (sizes[gene] - 1)).astype(np.int64)  # 1 .. size - 1: never the same
        children[rows, gene] = (children[rows, gene] + step) % sizes[gene]
    return children


def crossover(space: Space, a: Genomes, b: Genomes, rng: np.random.Generator) -> NDArray[np.int8]:
    """See `Space.crossover`; a child that is no network becomes its first parent."""
    if a.shape != b.shape:
        raise InputError(f"parents must have one shape, got {a.shape!r} and {b.shape!r}")
    first = a.astype(np.int8, copy=False)
    child = np.where(rng.random(a.shape) < 0.5, first, b.astype(np.int8, copy=False))
    if space.forbidden:
        child = np.where(valid(space, child)[:, None], child, first)
    return np.asarray(child, dtype=np.int8)


def enumerate_all(space: Space, chunk: int) -> Iterator[NDArray[np.int8]]:
    """See `Space.enumerate`."""
    sizes = space.sizes
    inner = space.length
    while inner > 0 and prod(sizes[inner - 1 :]) <= max(chunk, 1):
        inner -= 1
    tail = np.array(list(itertools.product(*(range(s) for s in sizes[inner:]))), dtype=np.int8)
    tail = tail.reshape(-1, space.length - inner)
    for head in itertools.product(*(range(s) for s in sizes[:inner])):
        block = np.empty((len(tail), space.length), dtype=np.int8)
        block[:, :inner] = head
        block[:, inner:] = tail
        yield block[valid(space, block)] if space.forbidden else block
