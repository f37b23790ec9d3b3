"""The kernels of a report as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from roofline.cost import combine
from roofline.cost.combine import BOUNDS, ENGINES

if TYPE_CHECKING:
    from roofline.simulate.report import Report


def kernel_frame(report: Report) -> pd.DataFrame:
    """Return one row per kernel of the fullest core, in execution order.

    Counts and times are those of one core, of all `count` runs of the kernel; share is of the latency.
    """
    lowered, costs, rows = report.lowered, report.costs, report.kernel_rows
    table, labels = lowered.table.kernels, lowered.table.labels
    per_block = np.bincount(table.block, minlength=lowered.table.block_count)
    steps = np.repeat(np.arange(len(lowered.order)), per_block[lowered.order])
    found = [labels[i] for i in table.label[rows]]
    blocks = [lowered.names[i] for i in steps]
    times = table.times[rows]
    macs, traffic, time_s = times * table.macs[rows], times * table.traffic_bytes[rows], times * costs.time_s[rows]
    share_of_chip = 1.0 / report.device_spec.cores
    intensity = np.divide(2.0 * macs, traffic, out=np.zeros_like(macs), where=traffic > 0)
    ideal_s = times * costs.ideal_memory_s[rows]
    attainable = combine.attainable_flops_per_s(
        intensity,
        peak_flops_per_s=report.peak_flops_per_s * share_of_chip,
        bandwidth_bytes_per_s=np.divide(traffic, ideal_s, out=np.zeros_like(traffic), where=ideal_s > 0),
    )
    achieved = 2.0 * macs / time_s
    return pd.DataFrame(
        {
            "kernel": [f"{b}/{label.name}" if b else label.name for b, label in zip(blocks, found, strict=True)],
            "stage": [lowered.stages[i] for i in steps],
            "block": blocks,
            "ops": [" + ".join(label.ops) for label in found],
            "kind": [label.kind for label in found],
            "count": times.astype(np.int64),
            "time_s": time_s,
            "share": time_s / report.latency_s,
            "bound": [BOUNDS[i] for i in costs.bound[rows]],
            **{
                f"{engine}_time_s": times * busy_s[rows] for engine, busy_s in zip(ENGINES, costs.engine_s, strict=True)
            },
            "floor_s": times * costs.floor_s[rows],
            "conversion_time_s": times * costs.conversion_s[rows],
            "host_s": times * costs.host_s[rows],
            "macs": macs,
            "flops": 2.0 * macs,
            "vector_ops": times * table.vector_ops[rows],
            "traffic_bytes": traffic,
            "padded_bytes": times * costs.padded_bytes[rows],
            "intensity_flops_per_byte": intensity,
            "attainable_flops_per_s": attainable,
            "efficiency": np.divide(achieved, attainable, out=np.zeros_like(achieved), where=attainable > 0),
        }
    )
