"""Kernels of dense products, and those that round their activations, by the library of products of a runtime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from roofline.cost import fold
from roofline.cost.combine import ENGINES
from roofline.cost.matrix import Product
from roofline.cost.products import GROUP_TILES, SPLITS, WARP_TILES, ProductKernels, launch_s, product_times
from roofline.dtypes import DTYPES
from roofline.engine.costs import KernelCosts
from roofline.engine.machine import Machine
from roofline.engine.table import DTYPE_CODES, WRITE, ContractionColumns, KernelTable
from roofline.numeric import Array, Numeric
from roofline.software.libraries.products import KernelFacts

MATRIX, VECTOR, MEMORY = (ENGINES.index(engine) for engine in ("matrix", "vector", "memory"))
#: scales that share fewer elements than this along the sum are a part of the format, a byte each (OCP MX v1.0; NVFP4)
SCALE_RUN, SCALE_BYTES = 64.0, 1.0


def apply(table: KernelTable, machine: Machine, costs: KernelCosts) -> KernelCosts:
    """Return the costs with those of kernels of one dense product, or of rounding, put in place.

    What a product's kernel does on the vector unit beside it hides behind it. Convolutions, products in groups,
    attention and experts are not this library's.
    """
    if not machine.libraries.products:
        return costs
    engine_s, time_s = costs.engine_s.copy(), costs.time_s.copy()
    floor_s = costs.floor_s * np.ones(table.kernel_count)
    for facts, rows in _by_kernel(table.contractions, _governed(table, machine), machine):
        c = replace(table.contractions, **{name: x[rows] for name, x in vars(table.contractions).items()})
        row_bytes, weight_bytes = operand_bytes(machine, c.dtype, c.stored, c.scale_run)
        found = product_times(
            Product(m=c.m, n=c.n, k=c.k, batch=c.batch),
            row_bytes=row_bytes,
            weight_bytes=weight_bytes,
            far_bytes=costs.far_bytes[c.kernel],
            chip=machine.chip(c.dtype),
            kernels=product_kernels(machine, facts),
        )
        engine_s[MATRIX, c.kernel] = found.tiles_s
        engine_s[MEMORY, c.kernel] = found.memory_s
        floor_s[c.kernel] = found.launch_s
        time_s[c.kernel] = np.maximum(found.time_s, engine_s[VECTOR, c.kernel] + found.launch_s)
    rounds = np.flatnonzero((table.kernels.quantized_row > 0.0) & (table.kernels.macs == 0.0))
    if len(rounds):
        floor_s[rounds] = _rounding_s(table, machine)[rounds]
        time_s[rounds] = engine_s[:, rounds].max(axis=0) + floor_s[rounds]
    return replace(costs, engine_s=engine_s, floor_s=floor_s, time_s=time_s)


def _governed(table: KernelTable, machine: Machine) -> NDArray[np.bool_]:
    """Return which products are the library's: dense ones on matrix units, alone in their kernel."""
    c, count = table.contractions, table.kernel_count
    products = np.bincount(c.kernel, minlength=count)
    for part in (table.attentions, table.experts):
        products[part.kernel] += 1
    plain = (c.taps <= 1.0) & (c.windowed == 0.0) & (c.grouped == 0.0) & (machine.on_lanes[c.dtype] == 0.0)
    return np.asarray(plain & (products[c.kernel] == 1))


def _by_kernel(
    c: ContractionColumns, ours: NDArray[np.bool_], machine: Machine
) -> Iterator[tuple[KernelFacts, NDArray[np.int64]]]:
    """Yield the library's kernels that products are given to, and which products."""
    names = list(DTYPES)
    asked = (c.dtype * len(names) + c.stored) * 2 + np.isfinite(c.scale_run)
    for code in np.unique(asked[ours]).tolist():
        pair, runs = divmod(code, 2)
        compute, stored = divmod(pair, len(names))
        yield kernel(machine, names[compute], names[stored], blocks=bool(runs)), np.flatnonzero(ours & (asked == code))


def kernel(machine: Machine, compute: str, stored: str, *, blocks: bool) -> KernelFacts:
    """Return the kernel that the first library takes for rows and weights of two formats.

    `blocks` says that scales change along the sum; where that is a part of the format it tells nothing.
    """
    library = machine.libraries.products[0]
    return library.kernel(compute, stored, blocks, capability=machine.device.capability)


def operand_bytes(machine: Machine, compute: NDArray[np.int64], stored: NDArray[np.int64], run: Array) -> list[Array]:
    """Return the bytes of an element of rows and of weights, with scales that are a part of their format."""
    scale_bytes = np.where(run < SCALE_RUN, SCALE_BYTES / run, 0.0)
    return [
        machine.element_bytes[compute] + scale_bytes * (compute == stored),
        machine.element_bytes[stored] + scale_bytes,
    ]


def _rounding_s(table: KernelTable, machine: Machine) -> Array:
    """Return what kernels that round activations take beside moving them [s].

    The format is that of what they write; how many scales are found on the way tells whether blocks have their own.
    """
    v, a, count = table.vectors, table.accesses, table.kernel_count
    scales = fold.segment_sum(v.transcendental_ops, v.kernel, count)
    rows = fold.segment_sum(v.results, v.kernel, count) / np.maximum(table.kernels.quantized_row, 1.0)
    written = fold.segment_max(1.0 * (a.role == WRITE) * a.dtype, a.kernel, count)
    names = list(DTYPES)
    found = np.empty(count)
    for i in np.flatnonzero(table.kernels.quantized_row > 0.0):
        name = names[int(written[i])]
        facts = kernel(machine, name, name, blocks=bool(scales[i] > rows[i]))
        found[i] = rounding_s(machine, facts, row=table.kernels.quantized_row[i], dynamic=scales[i] > 0.0)
    return found


def rounding_s(machine: Machine, facts: KernelFacts, *, row: Numeric, dynamic: Numeric) -> Array:
    """Return what rounding activations takes beside moving them [s]: a launch, finding scales, walking along rows."""
    chip = machine.chip(np.array([DTYPE_CODES["bf16"]]))
    walked_s = facts.rounding_cycles * row / chip.clock_hz
    return np.asarray(launch_s(chip, product_kernels(machine, facts)) + dynamic * facts.rounding_us * 1e-6 + walked_s)


def product_kernels(machine: Machine, facts: KernelFacts) -> ProductKernels:
    """Return what formulas take of one of the kernels of the first library of products."""
    library = machine.libraries.products[0]
    clusters = machine.chip(np.zeros(1, dtype=np.int64)).multicast
    tiles = facts.tiles or (GROUP_TILES if clusters else WARP_TILES)
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
        fraction=facts.fraction,
        bandwidth_fraction=library.memory_fraction * facts.bandwidth_fraction,
        mac_w=library.drawn_w(machine.device.capability),
        processor_w=library.processor_w,
        tiles=tuple(tile for tile in tiles if min(tile) >= facts.narrowest),
        splits=tuple(parts for parts in SPLITS if parts <= facts.splits),
    )
