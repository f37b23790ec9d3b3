"""Kernels of dense products by the library of products that a runtime calls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from roofline.cost import fold
from roofline.cost.combine import ENGINES
from roofline.cost.matrix import Product
from roofline.cost.products import GROUP_TILES, WARP_TILES, ProductKernels, product_times
from roofline.engine.costs import KernelCosts
from roofline.engine.machine import Machine
from roofline.engine.table import KernelTable
from roofline.numeric import Array

MATRIX, VECTOR, MEMORY = (ENGINES.index(engine) for engine in ("matrix", "vector", "memory"))


def apply(table: KernelTable, machine: Machine, costs: KernelCosts) -> KernelCosts:
    """Return the costs with those of kernels of one dense product put in place.

    What such a kernel does on the vector unit beside its product hides behind it. Convolutions, products in groups,
    attention and experts are not this library's.
    """
    ours = _governed(table, machine)
    if not machine.libraries.products or not ours.any():
        return costs
    c = table.contractions
    c = replace(c, **{name: column[ours] for name, column in vars(c).items()})
    found = product_times(
        Product(m=c.m, n=c.n, k=c.k, batch=c.batch),
        row_bytes=machine.element_bytes[c.dtype],
        weight_bytes=machine.element_bytes[c.stored],
        far_bytes=costs.far_bytes[c.kernel],
        chip=machine.chip(c.dtype),
        kernels=product_kernels(machine),
    )
    engine_s, floor_s, time_s = costs.engine_s.copy(), costs.floor_s.copy(), costs.time_s.copy()
    engine_s[MATRIX, c.kernel] = found.tiles_s
    engine_s[MEMORY, c.kernel] = found.memory_s
    floor_s[c.kernel] = found.launch_s
    time_s[c.kernel] = np.maximum(found.time_s, engine_s[VECTOR, c.kernel] + found.launch_s)
    return replace(costs, engine_s=engine_s, floor_s=floor_s, time_s=time_s)


def _governed(table: KernelTable, machine: Machine) -> Array:
    """Return which products are the library's: dense ones on matrix units, alone in their kernel."""
    c, count = table.contractions, table.kernel_count
    alone = fold.segment_sum(np.ones(len(c)), c.kernel, count)
    others = np.zeros(count)
    for part in (table.attentions, table.experts):
        others[part.kernel] = 1.0
    plain = (c.taps <= 1.0) * (c.windowed == 0.0) * (c.grouped == 0.0) * (machine.on_lanes[c.dtype] == 0.0)
    return np.asarray((plain * (alone[c.kernel] == 1.0) * (others[c.kernel] == 0.0)) > 0.0)


def product_kernels(machine: Machine) -> ProductKernels:
    """Return what formulas take of the first library of products that has kernels for the device."""
    library = machine.libraries.products[0]
    clusters = machine.chip(np.zeros(1, dtype=np.int64)).multicast
    return ProductKernels(
        launch_s=library.launch_s,
        launch_cycles=library.launch_cycles,
        latency_s=library.latency_s,
        feed_bytes_per_s=library.feed_bytes_per_s,
        port_bytes_per_clock=library.port_bytes_per_clock,
        epilogue_bytes_per_clock=library.epilogue_bytes_per_clock,
        bulk_stores=library.bulk_stores,
        sharpness=library.sharpness,
        split_launches=library.split_launches,
        fraction=1.0,
        bandwidth_fraction=library.memory_fraction,
        mac_w=library.mac_w,
        processor_w=library.processor_w,
        tiles=GROUP_TILES if clusters else WARP_TILES,
    )
