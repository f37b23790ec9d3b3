"""What rows are made of: the counts that baselines go by, and which kinds of kernels their time is spent in."""

from __future__ import annotations

import numpy as np

from roofline.analysis.predict import Group
from roofline.cost import fold
from roofline.numeric import Array
from roofline.simulate.evaluate import kernel_costs
from roofline.simulate.table import WRITE


def activations(group: Group) -> Array:
    """Return the elements that the convolutions and matrix products of each row write."""
    a, k = group.table.accesses, group.table.kernels
    counted = a.elements * (a.role == WRITE) * (k.macs[a.kernel] > 0)
    per_kernel = fold.segment_sum(counted, a.kernel, group.table.kernel_count) * k.times
    return group.total(fold.segment_sum(per_kernel, k.block, group.table.block_count))


def macs(group: Group) -> Array:
    """Return the multiply-accumulates of each row, of one core's share of the batch."""
    k = group.table.kernels
    return group.total(fold.segment_sum(k.times * k.macs, k.block, group.table.block_count))


def traffic(group: Group) -> Array:
    """Return the bytes that the kernels with products move; of all kernels where a row has no product."""
    k = group.table.kernels
    moved = k.times * k.traffic_bytes
    with_products = group.total(fold.segment_sum(moved * (k.macs > 0), k.block, group.table.block_count))
    return np.where(with_products > 0, with_products, group.total(_per_block(moved, group)))


def _per_block(per_kernel: Array, group: Group) -> Array:
    return fold.segment_sum(per_kernel, group.table.kernels.block, group.table.block_count)


def kind_shares(group: Group) -> dict[str, Array]:
    """Return, for each kind of kernel, its share of every row's device time under the group's own runtime."""
    table, k = group.table, group.table.kernels
    kinds = np.array([label.kind for label in table.labels])[k.label]
    time_s = k.times * kernel_costs(table, group.machine(group.runtime, group.device)).time_s
    whole = group.total(_per_block(time_s, group))
    return {str(kind): group.total(_per_block(time_s * (kinds == kind), group)) / whole for kind in np.unique(kinds)}
