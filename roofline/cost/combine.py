"""From the times of three engines to the time of a kernel."""

from __future__ import annotations

import numpy as np

from roofline.numeric import Array, Numeric


def kernel_time_s(
    matrix_s: Numeric, vector_s: Numeric, memory_s: Numeric, *, overlap: float, floor_s: Numeric
) -> Array:
    """Time of a kernel [s]: overlap x longest + (1 - overlap) x sum, and the floor every launch pays.

    Source: the form of XLA's GPU cost model (openxla/xla gpu_performance_model_base.h, memory-compute parallelism),
    here with three engines.
    """
    longest = np.maximum(np.maximum(matrix_s, vector_s), memory_s)
    total = matrix_s + vector_s + memory_s
    return np.asarray(overlap * longest + (1.0 - overlap) * total + floor_s)


def attainable_flops_per_s(intensity: Numeric, *, peak_flops_per_s: float, bandwidth_bytes_per_s: Numeric) -> Array:
    """C_ideal = min(I x b, peak): the classic roof (Williams et al., CACM 2009; arXiv 2102.05610)."""
    return np.asarray(np.minimum(intensity * bandwidth_bytes_per_s, peak_flops_per_s))
