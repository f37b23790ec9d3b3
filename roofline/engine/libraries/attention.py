"""Kernels of fused attention by the libraries that a runtime calls on GPUs."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from roofline.cost import attention as cost
from roofline.cost import fold, power
from roofline.cost.chip import Chip
from roofline.cost.combine import ENGINES
from roofline.dtypes import DTYPES
from roofline.engine.costs import KernelCosts
from roofline.engine.machine import Machine
from roofline.engine.table import AttentionColumns, KernelTable
from roofline.numeric import Array
from roofline.software.libraries.attention import AttentionKernel, AttentionLibrary, PromptFacts, StepFacts

Mask: TypeAlias = NDArray[np.bool_]
#: bits of every format, by code
BITS = np.array([dtype.bits for dtype in DTYPES.values()], dtype=np.float64)
#: heads that are wider than any a library has kernels for are padded to a multiple of it
WIDTH_STEP = 64.0


def apply(table: KernelTable, machine: Machine, costs: KernelCosts) -> KernelCosts:
    """Return the costs with those of the attentions that some library has a kernel for: the first one's, in order."""
    a, count = table.attentions, table.kernel_count
    if not machine.libraries.attention or not len(a):
        return costs
    decided, busy_s, floor_s, time_s = attention_times(a, machine)
    inside = fold.segment_max(decided.astype(np.float64), a.kernel, count) > 0
    floor_s, time_s = fold.segment_sum(floor_s, a.kernel, count), fold.segment_sum(time_s, a.kernel, count)
    return replace(
        costs,
        engine_s=np.where(inside, np.stack([fold.segment_sum(row, a.kernel, count) for row in busy_s]), costs.engine_s),
        floor_s=np.where(inside, floor_s, costs.floor_s),
        conversion_s=np.where(inside, 0.0, costs.conversion_s),
        time_s=np.where(inside, time_s + floor_s, costs.time_s),
    )


def attention_times(a: AttentionColumns, machine: Machine, *, warm: float = 0.0) -> tuple[Mask, Array, Array, Array]:
    """Return which attentions some library decides, their time by engine, their floor, and their time beside it [s].

    Parameters
    ----------
    warm
        Share of the last cache in which a kernel finds what an earlier run of it read: a matter of measurements.
    """
    count = len(a)
    busy_s, floor_s, time_s = np.zeros((len(ENGINES), count)), np.zeros(count), np.zeros(count)
    left = np.ones(count, dtype=bool)
    single = a.queries == 1.0
    for library in machine.libraries.attention:
        kernels: tuple[PromptFacts | StepFacts, ...] = (*library.facts.prompt, *library.facts.step)
        for facts in kernels:
            wanted = left & (single == isinstance(facts, StepFacts))
            rows = np.flatnonzero(wanted & _has_kernel(facts, a, machine))
            if not len(rows):
                continue
            left[rows] = False
            part = a if len(rows) == count else a.take(rows, {})
            if isinstance(facts, PromptFacts):
                found, floor_s[rows] = _prompt(part, facts, library, machine, warm)
            else:
                found, floor_s[rows] = _step(part, facts, library, machine, warm)
            busy_s[:, rows] = np.stack([found.matrix_s, found.vector_s, found.memory_s])
            narrow = part.kept_bytes if facts.narrow else machine.element_bytes[part.dtype]
            load = power.full_load(machine.chip(part.dtype), operand_bytes=narrow)
            time_s[rows] = power.throttled_s(found.time_s, found.matrix_s, load=load)
    return ~left, busy_s, floor_s, time_s


def _has_kernel(facts: AttentionKernel, a: AttentionColumns, machine: Machine) -> Mask:
    """Return for which attentions a kernel was written."""
    low, high = facts.capabilities
    fits = np.full(len(a), low <= (machine.device.capability or 0.0) <= high)
    for (low, high), values in (
        (facts.query_bits, BITS[a.dtype]),
        (facts.kept_bits, BITS[a.kept]),
        (facts.heads, a.head),
        (facts.groups, a.heads / a.kv_heads),
    ):
        fits &= (low <= values) & (values <= high)
    for wanted, flags in ((facts.windowed, np.isfinite(a.window)), (facts.causal, a.causal > 0)):
        fits &= True if wanted is None else flags == wanted
    return fits


def _shape(a: AttentionColumns, machine: Machine) -> cost.Shape:
    return cost.Shape(
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
        query_bytes=machine.element_bytes[a.dtype],
        kept_bytes=a.kept_bytes,
    )


def _scores(a: AttentionColumns, facts: AttentionKernel, library: AttentionLibrary) -> cost.Scores:
    return cost.Scores(
        fraction=facts.fraction,
        softmax_ops=library.softmax_ops,
        serial=facts.serial,
    )


def _chip(a: AttentionColumns, facts: AttentionKernel, machine: Machine) -> Chip:
    """Return the chip at the rate of the format that products are computed in."""
    chip = machine.chip(a.dtype)
    if facts.narrow:
        kept = machine.unit_macs_per_s[a.kept]
        chip = replace(chip, macs_per_s=np.where(np.isnan(kept), chip.macs_per_s, kept))
    return chip


def _padded(widths: Array, offered: tuple[int, ...]) -> Array:
    """Return the width of the kernel that heads run in: the least that is offered, or a multiple of `WIDTH_STEP`."""
    sizes = np.array(sorted(offered), dtype=np.float64)
    beyond = WIDTH_STEP * np.ceil(widths / WIDTH_STEP)
    return np.append(sizes, np.inf)[np.searchsorted(sizes, widths)].clip(max=beyond) if len(sizes) else beyond


def _prompt(
    a: AttentionColumns, facts: PromptFacts, library: AttentionLibrary, machine: Machine, warm: float
) -> tuple[cost.Times, Array]:
    shape, chip = _shape(a, machine), _chip(a, facts, machine)
    kernel = cost.PromptKernel(
        scores=_scores(a, facts, library),
        rows=float(facts.tile[0]),
        columns=float(facts.tile[1]),
        width=(_padded(a.head, facts.widths) + _padded(a.value, facts.widths)) / 2.0,
        block_cycles=library.block_cycles,
        step_cycles=library.step_cycles * facts.waits,
        key_cycles=library.key_cycles * facts.pages,
        end_bytes_per_clock=library.end_bytes_per_clock,
        packs=float(facts.packs),
        splits=float(facts.splits),
        mixing=library.mixing,
    )
    memory_s = moving_s(cost.moved_bytes(shape), library, chip, warm=warm)
    found = cost.prompt_times(shape, kernel, chip, memory_s=memory_s)
    return found, np.full(len(a), facts.floor_us * 1e-6)


def _step(
    a: AttentionColumns, facts: StepFacts, library: AttentionLibrary, machine: Machine, warm: float
) -> tuple[cost.Times, Array]:
    shape, chip = _shape(a, machine), _chip(a, facts, machine)
    kernel = cost.StepKernel(
        scores=_scores(a, facts, library),
        shares=float(facts.shares),
        rows=float(facts.rows),
        most_rows=float(facts.most_rows),
        width=_padded(a.head, facts.widths) + _padded(a.value, facts.widths),
        splits=float(facts.splits),
        windows=float(facts.windows),
        block_cycles=facts.block_cycles,
        row_cycles=library.row_cycles,
        load_bytes_per_clock=library.load_bytes_per_clock * facts.depth,
        convert_ops=library.convert_ops * facts.converts * (a.kept != a.dtype),
        resident=library.resident,
        combine_cycles=facts.combine_cycles,
        combine_each_cycles=facts.combine_each_cycles,
        combine_bytes_per_s=chip.far_bytes_per_s * library.near_speedup,
        mixing=library.step_mixing,
        memory_mixing=library.memory_mixing,
    )
    cache_s = moving_s(cost.cache_bytes(shape, windows=kernel.windows), library, chip, warm=warm) / facts.reach
    found = cost.step_times(shape, kernel, chip, cache_s=cache_s)
    regroups = (a.batch > 1.0) * (a.kv_heads > 1.0) * (a.heads > a.kv_heads)
    return found, np.asarray(facts.floor_us * 1e-6 + regroups * facts.regroup_cycles / chip.clock_hz)


def moving_s(moved_bytes: Array, library: AttentionLibrary, chip: Chip, *, warm: float) -> Array:
    """Time to move bytes [s]: from the main memory, but for what is in the last cache.

    That is all where it fits into the `warm` share of it, and none of twice as much.
    """
    kept_bytes = np.maximum(warm * chip.near_bytes, 1.0)
    near = moved_bytes * np.clip(2.0 - moved_bytes / kept_bytes, 0.0, 1.0) * (warm > 0.0)
    far_s = (moved_bytes - near) / (chip.far_bytes_per_s * library.far_fraction)
    return np.asarray(far_s + near / (chip.far_bytes_per_s * library.near_speedup))
