"""Kernel tables: parts that are taken and joined, and kernels that stay apart by any column somebody adds."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest

from roofline.arch.block import Port
from roofline.arch.build import op_graph
from roofline.arch.load import model
from roofline.calibration.measured import blocks
from roofline.dtypes import DTYPES, precision
from roofline.engine.columns import Columns
from roofline.engine.evaluate import block_costs, kernel_costs
from roofline.engine.lowering import lower_arch, lower_blocks, lower_graph
from roofline.engine.machine import machine_for
from roofline.engine.table import (
    AccessColumns,
    KernelColumns,
    KernelTable,
    concat_tables,
    merge_equal_kernels,
    take_blocks,
)
from roofline.hardware.load import device
from roofline.numeric import Array
from roofline.passes.policy import policy
from roofline.software.load import runtime

EAGER = policy(runtime("pytorch_eager", "gpu"), precision("fp16"))
MACHINE = machine_for(device("v100"), runtime("pytorch_eager", "gpu"), precision("fp16"), "nhwc", 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class PaintedKernels(KernelColumns):
    """Kernels with one more column."""

    paint: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class PaintedAccesses(AccessColumns):
    """Accesses with one more column."""

    paint: Array


def whole_network() -> KernelTable:
    return lower_graph(op_graph("resnet-50", batch=4), EAGER).table


def painted(cls: type[Any], columns: Columns, paint: Array) -> Any:
    return cls(paint=paint, **{f.name: getattr(columns, f.name) for f in fields(columns)})


def test_equal_kernels_are_merged_and_cost_the_same() -> None:
    whole = whole_network()
    merged = merge_equal_kernels(whole)
    assert merged.kernel_count < 0.6 * whole.kernel_count
    assert merged.kernels.times.sum() == whole.kernel_count
    costs = [block_costs(table, kernel_costs(table, MACHINE)) for table in (whole, merged)]
    for name in ("device_s", "host_s", "macs", "vector_ops", "traffic_bytes", "weight_traffic_bytes", "ideal_memory_s"):
        assert getattr(costs[1], name) == pytest.approx(getattr(costs[0], name), rel=1e-12)
    assert merge_equal_kernels(merged).kernel_count == merged.kernel_count


def test_a_new_column_of_kernels_keeps_them_apart() -> None:
    whole = whole_network()
    merged, count = merge_equal_kernels(whole).kernel_count, whole.kernel_count
    alike = replace(whole, kernels=painted(PaintedKernels, whole.kernels, np.ones(count)))
    assert merge_equal_kernels(alike).kernel_count == merged
    apart = replace(whole, kernels=painted(PaintedKernels, whole.kernels, np.arange(1.0 * count)))
    found = merge_equal_kernels(apart)
    assert found.kernel_count == count
    assert isinstance(found.kernels, PaintedKernels) and found.kernels.paint.tolist() == list(range(count))


def test_a_new_column_of_a_part_keeps_kernels_apart() -> None:
    whole = whole_network()
    owner = whole.accesses.kernel
    alike = replace(whole, accesses=painted(PaintedAccesses, whole.accesses, np.ones(len(owner))))
    assert merge_equal_kernels(alike).kernel_count == merge_equal_kernels(whole).kernel_count
    apart = replace(whole, accesses=painted(PaintedAccesses, whole.accesses, owner.astype(np.float64)))
    assert merge_equal_kernels(apart).kernel_count == whole.kernel_count


@pytest.mark.parametrize("column", [n for n in KernelColumns.dtypes() if n not in ("block", "label")])
def test_every_column_of_kernels_tells_them_apart_or_is_merged(column: str) -> None:
    """The counts of one run of an equal kernel are changed: it must not be taken for the others any more."""
    whole = merge_equal_kernels(whole_network())
    twice = concat_tables([whole, whole])  # every kernel stands in it twice, in two blocks
    one_block = replace(twice, kernels=replace(twice.kernels, block=np.zeros(twice.kernel_count, dtype=np.int64)))
    assert merge_equal_kernels(one_block).kernel_count == whole.kernel_count
    assert merge_equal_kernels(twice).kernel_count == twice.kernel_count, "blocks stay apart"
    values = getattr(one_block.kernels, column).copy()
    values[0] = -1.0
    changed = merge_equal_kernels(replace(one_block, kernels=replace(one_block.kernels, **{column: values})))
    merged = column in KernelColumns.merges()
    assert changed.kernel_count == whole.kernel_count + (not merged)
    assert merged == (column in ("times", "live_bytes"))


def test_blocks_cost_the_same_alone_and_in_company() -> None:
    table = lower_arch(model("resnet-50"), 4, EAGER).table
    wanted = np.arange(table.block_count)[::-2]
    whole = block_costs(table, kernel_costs(table, MACHINE))
    some = take_blocks(table, wanted)
    both = concat_tables([some, table])
    alone = block_costs(some, kernel_costs(some, MACHINE))
    joined = block_costs(both, kernel_costs(both, MACHINE))
    for f in fields(whole):
        expected = getattr(whole, f.name)
        assert getattr(alone, f.name).tolist() == expected[wanted].tolist()
        assert getattr(joined, f.name).tolist() == [*expected[wanted], *expected]
    assert [label.name for label in both.labels] == [label.name for label in (*some.labels, *table.labels)]
    assert both.kernels.label.max() == len(both.labels) - 1


def test_templates_are_told_apart_by_all_but_sizes() -> None:
    port = Port(shape=(4, 8, 8, 3))
    assert port.structure == Port(shape=(1, 2, 2, 16)).structure
    others = [Port(shape=(4, 3)), Port(shape=(4, 8, 8, 3), dtype=DTYPES["fp16"]), Port(shape=(4, 8, 8, 3), data=True)]
    assert len({port.structure, *(other.structure for other in others)}) == 4


def test_fused_attention_has_a_row_with_its_own_sizes() -> None:
    """Queries and keys of different length, grouped heads and a window are columns; decomposed attention has none."""
    op = blocks.attention(3, 5, 700, heads=8, kv_heads=2, head=64, value=32, causal=True, window=96)
    steps = [(op.block, op.ports)]
    fused, _ = lower_blocks(steps, EAGER)
    found = {f.name: getattr(fused.attentions, f.name)[0] for f in fields(fused.attentions)}
    sizes = {"batch": 3, "queries": 5, "keys": 700, "heads": 8, "kv_heads": 2, "head": 64, "value": 32, "window": 96}
    assert {name: found[name] for name in sizes} == sizes
    assert found["causal"] == 1.0
    assert found["kept_bytes"] == 2.0
    apart, _ = lower_blocks(steps, policy(runtime("xla", "tpu"), precision("bf16")))
    assert len(apart.attentions) == 0
