"""Vector time: everything that is not a dense product shares one unit, with a slower path for transcendentals.

Processors that issue one instruction after the other add up what each class of them takes. Those that issue a bundle of
slots per clock (VLIW) work on arithmetic, transcendentals, loads and stores side by side: the fullest slot decides.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from roofline.numeric import Array, Numeric

#: additions that one special function takes as long as, from its operand to its result: some 30 clocks against 4
#: (microbenchmarks of Volta and Turing, Jia et al., recalled)
TRANSCENDENTAL_WAIT = 8.0


def vector_time_s(
    *,
    simple_ops: Numeric,
    transcendental_ops: Numeric,
    load_ops: Numeric,
    simple_ops_per_s: float,
    transcendental_ops_per_s: float,
    load_ops_per_s: float,
    fraction: float,
) -> Array:
    """Time of vector work [s]; all classes issue from one instruction stream, so their times add.

    Loads count where windows fetch operands again and again, and where elements cross the kernel's boundary: on a GPU
    a processor moves 32 words per clock to and from its first-level memory, whatever its arithmetic.

    Sources: CUDA C++ Programming Guide, arithmetic throughput (SFU 16 per clock against 64 or 128 lanes); jax Pallas
    TPU details (element-wise classes).
    """
    slots = simple_ops / simple_ops_per_s + transcendental_ops / transcendental_ops_per_s + load_ops / load_ops_per_s
    return np.asarray(slots / fraction)


def slot_time_s(
    *,
    simple_ops: Numeric,
    transcendental_ops: Numeric,
    loads: Numeric,
    stores: Numeric,
    transposes: Numeric,
    simple_ops_per_s: float,
    transcendental_ops_per_s: float,
    loads_per_s: float,
    stores_per_s: float,
    transposes_per_s: float,
    fraction: float,
) -> Array:
    """Time of vector work [s] where the slots of a bundle run side by side: that of the fullest slot.

    Loads, stores and transposes (changes of the lane) count words: a lane and sublane of a register; all rates are of
    lanes and sublanes together.

    Source: programs compiled ahead of time with libtpu 0.0.42.1 for TPU v2 to v6e: bundles with slots of their own for
    arithmetic, transcendentals, loads and stores.
    """
    slots = (
        simple_ops / simple_ops_per_s,
        transcendental_ops / transcendental_ops_per_s,
        loads / loads_per_s,
        stores / stores_per_s,
        transposes / transposes_per_s,
    )
    return np.asarray(reduce(np.maximum, slots) / fraction)


def refills(elements: Numeric, results: Numeric, *, kept_weights: float) -> Array:
    """Return the words loaded again for `elements` of sliding windows: weights beyond `kept_weights` of each result.

    Registers hold the weights of a small window; those of a larger one are fetched for every result.
    """
    return np.asarray(np.maximum(elements - kept_weights * results, 0.0))


def waiting_ops(simple_ops: Numeric, transcendental_ops: Numeric) -> Array:
    """Return how many additions the operations take as long as where each result is waited for."""
    return np.asarray(simple_ops + TRANSCENDENTAL_WAIT * transcendental_ops)


def partial_sum_ops(*, m: Numeric, n: Numeric, batch: Numeric, passes: Numeric, ops_per_sum: float) -> Numeric:
    """Vector operations that add up the passes of a deep contraction outside the array."""
    return batch * m * n * (passes - 1.0) * ops_per_sum
