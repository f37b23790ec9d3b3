"""What belongs to a whole network, as folds of per-block columns: used for one network and for a million."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roofline.numeric import Array, Numeric


def segment_sum(values: Array, segments: NDArray[np.int64], count: int) -> Array:
    """Return the sum of the values of each segment, added in order (so one network and many agree to the last bit)."""
    return np.asarray(np.bincount(segments, weights=values, minlength=count), dtype=np.float64)


def segment_max(values: Array, segments: NDArray[np.int64], count: int) -> Array:
    """Return the largest value of each segment; 0 where it has none."""
    found = np.zeros(count)
    np.maximum.at(found, segments, values)
    return found


def segment_product(values: Array, segments: NDArray[np.int64], count: int) -> Array:
    """Return the product of the values of each segment, multiplied in order; 1 where it has none."""
    found = np.ones(count)
    np.multiply.at(found, segments, values)
    return found


def latency_s(device_s: Numeric, host_s: Numeric, *, program_s: Numeric, out: Array | None = None) -> Array:
    """Program + max(device queue, host queue): a runtime that dispatches kernel by kernel cannot outrun its host.

    `out` takes the result, where one is given.
    """
    return np.asarray(np.add(program_s, np.maximum(device_s, host_s, out=out), out=out))


def peak_memory_bytes(
    weight_bytes: Numeric,
    live_bytes: Numeric,
    resident_bytes: Numeric = 0.0,
    saved_bytes: Numeric = 0.0,
    state_bytes: Numeric = 0.0,
) -> Numeric:
    """Weights of the whole network, the activations alive at its widest point, and what stays from run to run.

    In training also the activations saved for the backward pass, and the gradients and optimizer states of the weights.
    """
    return weight_bytes + live_bytes + resident_bytes + saved_bytes + state_bytes
