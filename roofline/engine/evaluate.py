"""The cost formulas applied to a kernel table: columns in, columns out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from roofline.cost import combine, fold, matrix, memory, vector
from roofline.cost.combine import ENGINES
from roofline.engine.costs import BlockCosts, KernelCosts
from roofline.engine.libraries import with_libraries
from roofline.engine.machine import WORD_BITS, Machine
from roofline.engine.table import READ, WEIGHT, WRITE, AccessColumns, KernelTable, VectorColumns
from roofline.numeric import Array

#: bytes of an element in a register of a vector unit
WORD_BYTES = WORD_BITS / 8


def kernel_costs(table: KernelTable, machine: Machine) -> KernelCosts:
    """Return the cost of every kernel.

    Raises
    ------
    InputError
        A kernel multiplies matrices of a dtype the device lacks.
    """
    count, runtime = table.kernel_count, machine.runtime
    machine.check_dtype(table.contractions.dtype)
    contraction_s, partial_ops = _contractions(table, machine)
    memory_s, padded_bytes, far_bytes, ideal_memory_s = _memory(table, machine)
    busy_s = {
        "matrix": fold.segment_sum(contraction_s, table.contractions.kernel, count),
        "vector": _vector(table, machine, fold.segment_sum(partial_ops, table.contractions.kernel, count)),
        "memory": memory_s,
    }
    engine_s = np.stack([busy_s[engine] for engine in ENGINES])
    floor_s = runtime.floor_s + runtime.trace_s * table.kernels.ops
    conversion_s = _conversions(table, machine) * memory_s
    costs = KernelCosts(
        engine_s=engine_s,
        floor_s=floor_s,
        conversion_s=conversion_s,
        host_s=np.full(count, runtime.host_s),
        time_s=combine.kernel_time_s(engine_s, overlap=runtime.overlap, floor_s=floor_s + conversion_s),
        padded_bytes=padded_bytes,
        far_bytes=far_bytes,
        ideal_memory_s=ideal_memory_s,
    )
    return with_libraries(table, machine, costs)


def _contractions(table: KernelTable, machine: Machine) -> tuple[Array, Array]:
    """Return matrix time [s] and partial-sum vector operations of every product."""
    c, runtime = table.contractions, machine.runtime
    product = matrix.Product(m=c.m, n=c.n, k=c.k, taps=c.taps, batch=c.batch)
    on_lanes, one_tap = machine.on_lanes[c.dtype], 1.0 * (c.taps <= 1.0)
    fraction = machine.matrix_fraction + c.windowed * (machine.convolution_fraction - machine.matrix_fraction)
    fraction = fraction + on_lanes * (machine.lane_fraction - fraction)
    fraction = fraction * (1.0 - one_tap * (1.0 - runtime.product_fraction))
    narrow = c.grouped * (c.batch > 1.0) * (1.0 - on_lanes)
    fraction = fraction * (1.0 - narrow * (1.0 - runtime.grouped_fraction))
    if machine.systolic:
        array = matrix.SystolicArray(
            rows=machine.rows,
            columns=machine.columns,
            units=machine.units,
            row_time_s=machine.row_time_s[c.dtype],
            weight_load_rows=runtime.weight_load_rows,
            fill_rows=machine.fill_rows,
            tap_folding=runtime.tap_folding,
        )
        in_sublanes = memory.sublane_padding(batch=c.images, inner=1.0, width=c.width, tile=machine.register)
        product = replace(product, m=c.m * np.where(c.width > 1.0, in_sublanes, 1.0))
        apart_s, grouped_s = matrix.systolic_time_s(product, array), matrix.grouped_systolic_time_s(product, array)
        turned_s = matrix.stationary_images_time_s(product, array, positions=c.m / c.images, images=c.images)
        apart_s = np.where(c.images > 1.0, np.minimum(apart_s, turned_s), apart_s)
        passes = matrix.systolic_passes(product, array)
        sums = vector.partial_sum_ops(m=c.m, n=c.n, batch=c.batch, passes=passes, ops_per_sum=runtime.partial_sum_ops)
        return np.where(c.grouped > 0, grouped_s, apart_s) / fraction, np.asarray(sums)
    processors = matrix.Processors(
        units=machine.units,
        unit_macs_per_s=machine.unit_macs_per_s[c.dtype] * fraction,
        alignment=machine.alignment[c.dtype],
        k_loop=runtime.k_loop_elements,
        tile_reuse=machine.tile_reuse[c.dtype],
        operand_macs=machine.operand_macs[c.dtype],
        partial_sum_bytes_per_s=machine.bandwidths_bytes_per_s[-1] * machine.bandwidth_fraction,
        batched_tile=machine.batched_tile * on_lanes,
        tiles=machine.tiles,
        splits=machine.splits,
    )
    shared, divisible = matrix.share_tiles(product, shared=narrow), (1.0 - c.windowed) * (c.batch <= 1.0)
    time_s = matrix.tensorcore_time_s(shared, processors, divisible=divisible)
    if runtime.winograd and on_lanes.any() and (patches := on_lanes * winograd_patches(table)).any():
        fast_s = matrix.winograd_time_s(
            product,
            processors,
            patches=patches,
            element_bytes=machine.element_bytes[c.dtype],
            bytes_per_s=machine.bandwidths_bytes_per_s[0] * machine.bandwidth_fraction,
            floor_s=runtime.floor_s,
        )
        time_s = np.where(patches > 0, np.minimum(time_s, fast_s), time_s)
    return time_s, np.zeros_like(time_s)


def winograd_patches(table: KernelTable) -> Array:
    """Return how many patches each product has that Winograd's algorithm can take: dense convolutions of images."""
    c, w, count = table.contractions, table.windows, table.kernel_count
    along = matrix.patches_along(results=w.results, taps=w.taps, stride=w.stride)
    sides = fold.segment_sum(np.ones_like(along), w.kernel, count)
    of_image, positions = (fold.segment_product(x, w.kernel, count)[c.kernel] for x in (along, w.results))
    takes = c.windowed * (1.0 - c.grouped) * (sides[c.kernel] == 2.0)
    return np.asarray(takes * c.m / positions * of_image)


def _conversions(table: KernelTable, machine: Machine) -> Array:
    """Return how often the traffic of each kernel passes memory once more, because convolutions are channels first.

    What they cannot take as it is, they read and write again, as channels last. Products on vector lanes take any
    order, and depthwise convolutions have kernels for either.
    """
    c, count = table.contractions, table.kernel_count
    dense = fold.segment_max(c.channels_first * (1.0 - machine.on_lanes[c.dtype]), c.kernel, count)
    return np.asarray(2.0 * (1.0 - machine.runtime.nchw_fraction) * dense)


def _vector(table: KernelTable, machine: Machine, partial_ops: Array) -> Array:
    """Return vector time [s] of every kernel: its ops on padded registers, partial sums, conversions, loads."""
    v, a, count, runtime = table.vectors, table.accesses, table.kernel_count, machine.runtime
    padding = _padding(v, machine, machine.register)
    window_padding = _padding(v, machine, machine.register, in_lanes=memory.WINDOWS_IN_LANES)
    pool_ops = runtime.window_ops if runtime.pool_ops is None else runtime.pool_ops
    gradient_ops = runtime.window_ops if runtime.gradient_window_ops is None else runtime.gradient_window_ops
    ops_per_load = runtime.window_ops + v.pools * (pool_ops - runtime.window_ops)
    windows = (v.window_loads * ops_per_load + v.gradient_loads * gradient_ops) * window_padding
    by_software = machine.stored_only[a.dtype] * (1.0 - table.kernels.copies_only[a.kernel])  # a copy converts nothing
    ops_per_element = (1.0 - by_software) * a.by_vector_unit * machine.narrow[a.dtype] * runtime.conversion_ops
    converted = a.elements * (ops_per_element + by_software * runtime.emulated_conversion_ops)
    simple_ops = (
        fold.segment_sum(v.simple_ops * padding, v.kernel, count)
        + partial_ops
        + fold.segment_sum(converted, a.kernel, count)
    )
    transcendental_ops = fold.segment_sum(v.transcendental_ops * padding, v.kernel, count)
    windows = fold.segment_sum(windows, v.kernel, count)
    if machine.slots:
        simple_ops = simple_ops + windows + transcendental_ops * runtime.refinement_ops
        return _slots(table, machine, simple_ops, transcendental_ops, window_padding)
    accesses = a.by_vector_unit * a.elements * (runtime.access_ops + a.by_index * runtime.broadcast_ops)
    load_ops = windows + fold.segment_sum(accesses, a.kernel, count)
    return vector.vector_time_s(
        simple_ops=simple_ops,
        load_ops=load_ops,
        transcendental_ops=transcendental_ops,
        simple_ops_per_s=machine.simple_ops_per_s,
        load_ops_per_s=machine.load_ops_per_s,
        transcendental_ops_per_s=machine.transcendental_ops_per_s,
        fraction=runtime.vector_fraction,
    )


def _slots(
    table: KernelTable, machine: Machine, simple_ops: Array, transcendental_ops: Array, window_padding: Array
) -> Array:
    """Return the same where bundles issue: what is counted in words goes through slots of its own."""
    v, a, count = table.vectors, table.accesses, table.kernel_count
    elements = v.window_loads + v.gradient_loads
    weighted = (1.0 - v.pools) * elements  # a pool has no weights
    fetched = elements + vector.refills(weighted, v.results, kept_weights=machine.runtime.kept_weights)
    words = a.elements * a.element_bytes / WORD_BYTES * _padding(a, machine, machine.register)
    crossing = words * a.by_vector_unit * (1.0 - a.slides)  # what a window slides over is loaded for its elements
    return vector.slot_time_s(
        simple_ops=simple_ops,
        transcendental_ops=transcendental_ops,
        loads=fold.segment_sum(fetched * window_padding, v.kernel, count)
        + fold.segment_sum(crossing * (a.role != WRITE), a.kernel, count),
        stores=fold.segment_sum(crossing * (a.role == WRITE), a.kernel, count),
        transposes=fold.segment_sum(words * a.relaid * (a.role == WRITE), a.kernel, count),
        simple_ops_per_s=machine.simple_ops_per_s,
        transcendental_ops_per_s=machine.transcendental_ops_per_s,
        loads_per_s=machine.loads_per_s,
        stores_per_s=machine.stores_per_s,
        transposes_per_s=machine.transposes_per_s,
        fraction=machine.runtime.vector_fraction,
    )


def _memory(table: KernelTable, machine: Machine) -> tuple[Array, Array, Array, Array]:
    """Return memory time [s], padded traffic, that of the main memory [bytes] and ideal time [s] of every kernel."""
    a, count = table.accesses, table.kernel_count
    useful = a.elements * a.element_bytes
    stored = useful * _padding(a, machine, machine.tile)
    if machine.fetches_again:
        stored = stored * (1.0 + machine.fetches_again * (_fetches(table) - 1.0))
    padded_bytes = fold.segment_sum(stored, a.kernel, count)
    working_set = padded_bytes[a.kernel]
    # reuse distances are counted in useful bytes: take the kernel's own padding for that of its neighbours
    distance = a.distance_bytes * working_set / table.kernels.traffic_bytes[a.kernel]
    reach = np.where(a.role == READ, distance + working_set, np.where(a.role == WRITE, stored, np.inf))
    served = memory.split_by_level(stored, reach, capacities_bytes=machine.capacities_bytes)
    per_kernel = [fold.segment_sum(s, a.kernel, count) for s in served]
    time_s = memory.transfer_time_s(
        per_kernel,
        machine.bandwidths_bytes_per_s,
        fraction=machine.bandwidth_fraction,
        latency_s=machine.runtime.memory_latency_s,
    )
    time_s = time_s * memory.move_slowdown(table.kernels.run_bytes, fraction=machine.runtime.movement_fraction)
    if machine.runtime.sum_wait:
        time_s = time_s * (1.0 + machine.runtime.sum_wait * _waits(table))
    if machine.runtime.result_padding:
        copied = _result_copies(a, stored, useful, machine)
        time_s = time_s + fold.segment_sum(copied, a.kernel, count) / (
            machine.bandwidths_bytes_per_s[0] * machine.bandwidth_fraction * machine.runtime.movement_fraction
        )
    padding = stored / np.maximum(useful, 1.0)
    ideal_s = memory.transfer_time_s(
        [fold.segment_sum(s / np.maximum(padding, 1.0), a.kernel, count) for s in served],
        machine.bandwidths_bytes_per_s,
        fraction=1.0,
        latency_s=0.0,
    )
    return time_s, padded_bytes, per_kernel[0], ideal_s


def _padding(
    shapes: VectorColumns | AccessColumns, machine: Machine, tile: memory.Tile, *, in_lanes: float = 1.0
) -> Array:
    """Return stored over useful elements of what a tiled layout is chosen for; linear memory has nothing to pad."""
    if machine.lanes * machine.sublanes == 1.0:
        return np.ones(1)
    return memory.padding_ratio(
        batch=shapes.batch,
        inner=shapes.inner,
        width=shapes.width,
        channels=shapes.channels,
        tile=tile,
        in_lanes=in_lanes,
    )


def _fetches(table: KernelTable) -> Array:
    """Return how often each access fetches its elements where nothing moves whole maps."""
    a, w = table.accesses, table.windows
    along = memory.border_fetches(elements=w.elements, results=w.results, taps=w.taps, stride=w.stride)
    under_window = fold.segment_product(along, w.kernel, table.kernel_count)[a.kernel]
    return memory.row_fetches(a.norm_row_bytes, a.softmax_row) * np.where(a.slides > 0, under_window, 1.0)


def _waits(table: KernelTable) -> Array:
    """Return how many additions each element of a map waits for, in kernels that add up what they also write."""
    v = table.vectors
    lasting = vector.waiting_ops(v.simple_ops, v.transcendental_ops)
    return fold.segment_sum(lasting, v.kernel, table.kernel_count) * table.kernels.sums_own


def _result_copies(a: AccessColumns, stored: Array, useful: Array, machine: Machine) -> Array:
    """Return the bytes that each result moves to get into the order of the source program."""
    limit = machine.runtime.result_padding
    padding = memory.row_major_padding(
        width=np.maximum(a.inner, a.width), height=a.height, lanes=machine.lanes, sublanes=machine.sublanes, limit=limit
    )
    return np.asarray(a.result * np.where(padding > 0, stored + useful * padding, 0.0))


def block_costs(table: KernelTable, costs: KernelCosts) -> BlockCosts:
    """Return the sums over each block's kernels, in kernel order, and its maximum of live bytes."""
    k, a, count = table.kernels, table.accesses, table.block_count
    weight_bytes = (a.role == WEIGHT) * a.elements * a.element_bytes
    weight_traffic = fold.segment_sum(weight_bytes, a.kernel, table.kernel_count)
    return BlockCosts(
        device_s=fold.segment_sum(k.times * costs.time_s, k.block, count),
        host_s=fold.segment_sum(k.times * costs.host_s, k.block, count),
        macs=fold.segment_sum(k.times * k.macs, k.block, count),
        vector_ops=fold.segment_sum(k.times * k.vector_ops, k.block, count),
        traffic_bytes=fold.segment_sum(k.times * k.traffic_bytes, k.block, count),
        weight_traffic_bytes=fold.segment_sum(k.times * weight_traffic, k.block, count),
        ideal_memory_s=fold.segment_sum(k.times * costs.ideal_memory_s, k.block, count),
        live_bytes=fold.segment_max(k.live_bytes, k.block, count),
        weight_bytes=table.blocks.weight_bytes,
        cache_bytes=table.blocks.cache_bytes,
        resident_bytes=table.blocks.resident_bytes,
        saved_bytes=table.blocks.saved_bytes,
        state_bytes=table.blocks.state_bytes,
        params=table.blocks.params,
    )
