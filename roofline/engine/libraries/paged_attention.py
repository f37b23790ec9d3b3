"""Kernels of attention by the library for paged caches that a runtime calls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from roofline.cost import fold
from roofline.cost.attention_tpu import PagedAttention, PagedKernel, PagedTimes, paged_attention
from roofline.cost.combine import ENGINES
from roofline.cost.matrix import SystolicArray
from roofline.engine.costs import KernelCosts
from roofline.engine.machine import Machine
from roofline.engine.table import AttentionColumns, KernelTable
from roofline.numeric import Numeric
from roofline.software.libraries.paged_attention import PagedAttentionLibrary


def apply(table: KernelTable, machine: Machine, costs: KernelCosts) -> KernelCosts:
    """Return the costs with those of fused attention by the first library that has kernels for the device."""
    a, count = table.attentions, table.kernel_count
    if not machine.libraries.paged_attention or not len(a):
        return costs
    library = machine.libraries.paged_attention[0]
    found = times(a, machine, library)
    inside = fold.segment_max(np.ones(len(a)), a.kernel, count) > 0
    busy_s = {"matrix": found.matrix_s, "vector": found.vector_s, "memory": found.memory_s}
    engine_s = np.stack([fold.segment_sum(busy_s[engine], a.kernel, count) for engine in ENGINES])
    floor_s = library.floor_s + fold.segment_sum(found.visits_s, a.kernel, count)
    return replace(
        costs,
        engine_s=np.where(inside, engine_s, costs.engine_s),
        floor_s=np.where(inside, floor_s, costs.floor_s),
        time_s=np.where(inside, library.floor_s + fold.segment_sum(found.time_s, a.kernel, count), costs.time_s),
    )


def times(
    a: AttentionColumns, machine: Machine, library: PagedAttentionLibrary, *, cache_factor: Numeric = 1.0
) -> PagedTimes:
    """Return what each of some attentions spends on one core.

    Parameters
    ----------
    cache_factor
        How much longer pages of the cache take than from the main memory: a matter of measurements, see their readers.
    """
    runtime = machine.runtime
    kernel = PagedKernel(
        block_queries=float(library.facts.block_queries),
        page_tokens=float(library.facts.page_tokens),
        visit_s=library.visit_s,
        page_s=library.page_s,
        query_passes=library.query_passes,
        softmax_ops=library.softmax_ops,
        lane_ops_per_s=machine.simple_ops_per_s,
        convert_ops=(a.kept != a.dtype) * runtime.conversion_ops,
        lanes=machine.lanes,
        bytes_per_s=machine.bandwidths_bytes_per_s[0] * machine.bandwidth_fraction,
        cache_factor=cache_factor,
        matrix_fraction=machine.matrix_fraction,
        overlap=library.overlap,
    )
    array = SystolicArray(
        rows=machine.rows,
        columns=machine.columns,
        units=machine.units,
        row_time_s=machine.row_time_s[a.dtype],
        weight_load_rows=runtime.weight_load_rows,
        fill_rows=machine.fill_rows,
        tap_folding=runtime.tap_folding,
    )
    asked = PagedAttention(
        batch=a.batch,
        queries=a.queries,
        keys=a.keys,
        heads=a.heads,
        kv_heads=a.kv_heads,
        head=a.head,
        value=a.value,
        kept_width=a.kept_width,
        causal=a.causal,
        window=a.window,
    )
    return paged_attention(asked, kernel, array, query_bytes=machine.element_bytes[a.dtype], kept_bytes=a.kept_bytes)
