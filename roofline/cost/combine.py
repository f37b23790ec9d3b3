"""From the times of the engines to the time of a kernel."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np

from roofline.numeric import Array, Numeric

#: what kernels keep busy, in the order of every array that has an axis of engines
ENGINES = ("matrix", "vector", "memory")
#: what a kernel may spend most of its time on
BOUNDS = (*ENGINES, "overhead")


def kernel_time_s(engine_s: Array, *, overlap: float, floor_s: Numeric) -> Array:
    """Time of a kernel [s]: overlap x longest + (1 - overlap) x sum over the engines, and what every launch pays.

    `engine_s` has the engines as its first axis.

    Source: the form of XLA's GPU cost model (openxla/xla gpu_performance_model_base.h, memory-compute parallelism),
    here with any number of engines.
    """
    total = reduce(add, engine_s)  # engine by engine: numpy adds up a column of one in another order
    return np.asarray(overlap * engine_s.max(axis=0) + (1.0 - overlap) * total + floor_s)


def attainable_flops_per_s(intensity: Numeric, *, peak_flops_per_s: float, bandwidth_bytes_per_s: Numeric) -> Array:
    """C_ideal = min(I x b, peak): the classic roof (Williams et al., CACM 2009; arXiv 2102.05610)."""
    return np.asarray(np.minimum(intensity * bandwidth_bytes_per_s, peak_flops_per_s))
