"""Vector time: everything that is not a dense product shares one unit, with a slower path for transcendentals."""

from __future__ import annotations

import numpy as np

from roofline.numeric import Array, Numeric


def vector_time_s(
    *,
    simple_ops: Numeric,
    transcendental_ops: Numeric,
    simple_ops_per_s: float,
    transcendental_ops_per_s: float,
    fraction: float,
) -> Array:
    """Time of vector work [s]; both classes issue from one instruction stream, so their times add.

    Sources: CUDA C++ Programming Guide, arithmetic throughput (SFU 16 per clock against 64 or 128 lanes); jax Pallas
    TPU details (element-wise classes).
    """
    slots = simple_ops / simple_ops_per_s + transcendental_ops / transcendental_ops_per_s
    return np.asarray(slots / fraction)


def depthwise_ops(macs: Numeric, ops_per_mac: float) -> Numeric:
    """Vector operations of a depthwise convolution: it has no reuse to offer a matrix unit."""
    return macs * ops_per_mac


def partial_sum_ops(*, m: Numeric, n: Numeric, batch: Numeric, passes: Numeric, ops_per_sum: float) -> Numeric:
    """Vector operations that add up the passes of a deep contraction outside the array."""
    return batch * m * n * (passes - 1.0) * ops_per_sum
