"""Kernels of grouped products by the library of experts that a runtime calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from roofline.cost import fold
from roofline.cost.combine import ENGINES
from roofline.cost.experts import GroupedKernels, memory_time_s, tiles_time_s
from roofline.cost.products import joined, launch_s
from roofline.dtypes import DTYPES
from roofline.engine.costs import KernelCosts
from roofline.engine.libraries.products import product_kernels
from roofline.engine.machine import Machine
from roofline.engine.table import WEIGHT, ExpertColumns, KernelTable
from roofline.routing import Load, even, routed
from roofline.software.libraries.experts import KernelFacts

#: launches of a library's for each product that networks have kernels of their own for: of the four around both
#: products that sort rows by expert, count them, send them and add them up
AROUND = 2.0
MATRIX, VECTOR, MEMORY = (ENGINES.index(engine) for engine in ("matrix", "vector", "memory"))


def apply(table: KernelTable, machine: Machine, costs: KernelCosts) -> KernelCosts:
    """Return the costs with those of grouped products put in place: tiles of experts that have rows.

    What a kernel does on the vector unit beside its product hides behind it.
    """
    e, count = table.experts, table.kernel_count
    if not len(e) or not machine.libraries.experts or not machine.libraries.products:
        return costs
    asked = zip(e.dtype.tolist(), e.stored.tolist(), np.isfinite(e.scale_run).tolist(), strict=True)
    facts = [_kernel(machine, *formats) for formats in asked]
    kernels, chip = grouped_kernels(machine, facts), machine.chip(e.dtype)
    tiles_s = tiles_time_s(
        load_of(e),
        n=e.n,
        k=e.k,
        row_bytes=machine.element_bytes[e.dtype],
        weight_bytes=e.stored_bytes,
        chip=chip,
        kernels=kernels,
    )
    a = table.accesses
    moved = a.elements * a.element_bytes
    weights = fold.segment_sum(moved * (a.role == WEIGHT), a.kernel, count)[e.kernel]
    others = fold.segment_sum(moved * (a.role != WEIGHT), a.kernel, count)[e.kernel]
    memory_s = memory_time_s(weight_bytes=weights, other_bytes=others, chip=chip, kernels=kernels)
    launches = np.array([max(1.0, k.launches - AROUND) for k in facts])
    ours = np.zeros(count)
    ours[e.kernel] = 1.0
    at = {
        "tiles": fold.segment_sum(tiles_s, e.kernel, count),
        "memory": fold.segment_sum(memory_s, e.kernel, count),
        "joined": fold.segment_sum(joined(tiles_s, memory_s, kernels.sharpness), e.kernel, count),
        "floor": fold.segment_sum(launches * launch_s(chip, kernels.products), e.kernel, count),
    }
    engine_s = costs.engine_s.copy()
    engine_s[MATRIX] = np.where(ours, at["tiles"], engine_s[MATRIX])
    engine_s[MEMORY] = np.where(ours, at["memory"], engine_s[MEMORY])
    floor_s = np.where(ours, at["floor"], costs.floor_s)
    time_s = np.maximum(at["joined"], engine_s[VECTOR]) + floor_s
    return replace(costs, engine_s=engine_s, floor_s=floor_s, time_s=np.where(ours, time_s, costs.time_s))


def load_of(e: ExpertColumns) -> Load:
    """Return the rows of the experts of each grouped product."""
    known = e.top_k > 0
    top_k = np.where(known, e.top_k, 1.0)
    drawn, spread = routed(e.rows / top_k, top_k, e.experts, e.skew), even(e.rows, e.experts)
    apart = known[:, None]
    return Load(
        experts=np.where(apart, drawn.experts, spread.experts),
        rows=np.where(apart, drawn.rows, spread.rows),
        scatter=1.0 * known,
    )


def _kernel(machine: Machine, compute: int, stored: int, blocks: bool) -> KernelFacts:
    """Return the kernel that the library takes for rows and weights of two formats, told by their codes."""
    names = list(DTYPES)
    library = machine.libraries.experts[0]
    return library.kernel(names[compute], names[stored], blocks, capability=machine.device.capability)


def grouped_kernels(machine: Machine, kernels: Sequence[KernelFacts], *, warm: bool = False) -> GroupedKernels:
    """Return what formulas take of the first library of experts, with a column of its kernels.

    `warm` where the last cache still holds weights of the run before: in benchmarks that repeat one product.
    """
    library = machine.libraries.experts[0]
    return GroupedKernels(
        fraction=np.array([k.fraction for k in kernels]),
        bandwidth_fraction=np.array([k.bandwidth_fraction for k in kernels]),
        products=product_kernels(machine, machine.libraries.products[0].facts.kernels[0]),  # what tiles are made of
        tail=library.tail,
        sharpness=library.sharpness,
        near_fraction=library.near_fraction,
        resident_share=library.resident_share if warm else 0.0,
        heights=library.facts.heights,
    )
