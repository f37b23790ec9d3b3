"""All scaled forms of a network as one table: the points of a space of three genes, and what each costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from roofline.arch.spec import Arch
from roofline.engine.options import SpaceOptions
from roofline.errors import InputError
from roofline.numeric import Array
from roofline.search.oracle.latency import Oracle
from roofline.search.scaling.forms import Limits, scaling_space
from roofline.search.space.genomes import Genomes
from roofline.search.space.spec import Space

#: a step between multiples that is none
ALMOST = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """N distinct networks: multiples, counts of one example, and latency on each device.

    Attributes
    ----------
    depth, width
        Multiples of the base, (N,).
    resolution
        Pixels, (N,).
    macs, params
        Of one example, (N,).
    latency_s
        (N, D).
    depth_tops
        Largest multiple that rounds to each depth of the grid, sorted.
    notes
        What was left out, and why.
    """

    base: Arch
    oracle: Oracle
    genomes: Genomes
    depth: Array
    width: Array
    resolution: Array
    macs: Array
    params: Array
    latency_s: Array
    depth_tops: Array
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of networks."""
        return len(self.genomes)

    @property
    def scale(self) -> Array:
        """Multiples of the base's depth, width and resolution, (N, 3)."""
        return np.stack([self.depth, self.width, self.resolution / self.base.image_size], axis=1)

    def arch(self, row: int, name: str) -> Arch:
        """Return one network as an architecture."""
        made: Arch = self.oracle.space.decode(self.genomes[row], name=name)
        title = f"{self.base.title}, depth {self.depth[row]:g}, width {self.width[row]:g}, {made.image_size} px"
        return replace(made, title=title)

    @cached_property
    def axes(self) -> tuple[Array, Array, Array]:
        """Multiples of depth, width and resolution that the grid has, each sorted."""
        depth, width, size = (np.array(c.values, dtype=np.float64) for c in self.oracle.space.choices)
        return depth, width, size / self.base.image_size

    def named(self, depth: Array) -> Array:
        """Return the depths of the grid to which multiples of the depth round."""
        place = np.searchsorted(self.depth_tops, depth - ALMOST)
        return self.axes[0][np.minimum(place, len(self.depth_tops) - 1)]

    @cached_property
    def base_row(self) -> int:
        """Row of what is nearest to the base."""
        return int(np.abs(np.log(self.scale)).sum(axis=1).argmin())

    @cached_property
    def row_of(self) -> NDArray[np.int64]:
        """Row of each combination of options of depth, width and resolution; -1 where there is no network."""
        rows = np.full(self.oracle.space.sizes, -1, dtype=np.int64)
        rows[tuple(self.genomes.T)] = np.arange(len(self))
        return rows


def scaling_grid(base: Arch, devices: Any, limits: Limits, **options: Unpack[SpaceOptions]) -> Grid:
    """Return the grid of a base network; `options` are those of `Oracle`.

    Raises
    ------
    InputError
        The base reads no images, or cannot be scaled as the limits ask.
    """
    space, tops, notes = scaling_space(base, limits)
    oracle = Oracle(space, devices, **options)
    genomes = np.stack(np.meshgrid(*(np.arange(n, dtype=np.int8) for n in space.sizes), indexing="ij"), axis=-1)
    genomes = genomes.reshape(-1, space.length)
    there = oracle.exists(genomes)
    if not there.any():
        raise InputError(f"no network in the range fits together; {base.name!r} cannot be scaled so")
    notes += _lost(base, space, genomes, there)
    genomes = np.ascontiguousarray(genomes[there])
    depth, width, size = (
        np.array(choice.values, dtype=np.float64)[genomes[:, gene]] for gene, choice in enumerate(space.choices)
    )
    counts = oracle.counts(genomes, ("macs", "params"))
    return Grid(
        base=base,
        oracle=oracle,
        genomes=genomes,
        depth=depth,
        width=width,
        resolution=size,
        macs=counts["macs"],
        params=counts["params"],
        latency_s=oracle.latency_s(genomes),
        depth_tops=tops,
        notes=tuple(notes),
    )


def _lost(base: Arch, space: Space, genomes: Genomes, there: NDArray[np.bool_]) -> list[str]:
    """Return a note for each dimension whose options are partly no networks."""
    notes = []
    for gene, choice in enumerate(space.choices):
        kept = [v for i, v in enumerate(choice.values) if there[genomes[:, gene] == i].any()]
        if len(kept) == 1 < len(choice.values):
            notes.append(f"{base.name} cannot scale in {choice.name}: nothing fits together but {kept[0]:g}")
        elif len(kept) < len(choice.values):
            what = f"{len(choice.values) - len(kept)} of {len(choice.values)} multiples"
            notes.append(f"{base.name} keeps its structure at some multiples of {choice.name} only: {what} left out")
    return notes
