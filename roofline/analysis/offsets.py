"""What a measuring program adds to every time of a group of rows: one number per group, found from the rows themselves.

Timing a single op around an eager call, or from the host, includes the call: tens of microseconds that say nothing
about the device. They are a property of the program that measured, and no part of a simulated time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from roofline.analysis.measured.types import Measurement
from roofline.numeric import Array

#: no measuring program adds more [s]: an eager call with its synchronisation, a program's dispatch from a remote host
LARGEST_EAGER_S, LARGEST_DISPATCH_S = 80e-6, 200e-6
#: offsets tried: each further one moves the sum by less than a per cent
STEPS = 400
#: error (log ratio) beyond which a row counts by its size, not its square
SOFT = 0.1


def robust_cost(log_ratio: Array, soft: float = SOFT) -> Array:
    """Return the soft-L1 cost of log errors: quadratic when small, linear when large."""
    return np.asarray(2.0 * soft**2 * (np.sqrt(1.0 + (log_ratio / soft) ** 2) - 1.0))


def group_codes(measurements: Sequence[Measurement]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the offset groups by name, and the group of each row (-1: its time is clean)."""
    names = tuple(dict.fromkeys(m.offset_group for m in measurements if m.offset_group is not None))
    place = {name: i for i, name in enumerate(names)}
    codes = [-1 if m.offset_group is None else place[m.offset_group] for m in measurements]
    return names, np.array(codes, dtype=np.int64)


def largest_offset_s(measurement: Measurement) -> float:
    """Return the bound on the offset of a row's group [s]."""
    return LARGEST_EAGER_S if measurement.runtime.startswith("pytorch") else LARGEST_DISPATCH_S


def best_offset_s(predicted_s: Array, measured_s: Array, largest_s: float = LARGEST_DISPATCH_S) -> float:
    """Return the constant that makes predictions fit best, in soft-L1 of the log error."""
    tried = np.concatenate([[0.0], np.geomspace(1e-7, largest_s, STEPS)])
    with_offset = predicted_s[None, :] + tried[:, None]
    cost = robust_cost(np.log(with_offset / measured_s[None, :])).sum(axis=1)
    return float(tried[int(np.argmin(cost))])


def with_offsets(
    measurements: Sequence[Measurement], predicted_s: Array, measured_s: Array
) -> tuple[Array, dict[str, float]]:
    """Return predictions with the offset of each row's group added, and the offsets [s]."""
    names, codes = group_codes(measurements)
    found = predicted_s.copy()
    offsets: dict[str, float] = {}
    for code, name in enumerate(names):
        rows = codes == code
        largest_s = largest_offset_s(measurements[int(rows.argmax())])
        offsets[name] = best_offset_s(predicted_s[rows], measured_s[rows], largest_s)
        found[rows] += offsets[name]
    return found, offsets
