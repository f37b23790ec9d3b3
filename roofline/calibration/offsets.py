"""What a measuring program adds to every time of a group of rows: found from the rows themselves.

Timing a single op around an eager call, or from the host, includes the call. The clock starts before the call has
reached the device, and stops no sooner than the host has issued the stop: measured = max(host, offset + device). Both
numbers are properties of the program that measured, and no part of a simulated time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roofline.calibration.measured.types import Measurement
from roofline.numeric import Array

#: no measuring program adds more [s]: an eager call that plans its convolution and synchronises, a program's dispatch
#: from a remote host
LARGEST_EAGER_S, LARGEST_DISPATCH_S = 400e-6, 200e-6
#: smallest number tried beside 0 [s], and numbers tried: on a coarse grid, then in finer ones around the best
SMALLEST_S, COARSE, FINE = 1e-7, 25, (9, 9, 9)
#: error (log ratio) beyond which a row counts by its size, not its square
SOFT = 0.1


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a measuring program adds.

    Attributes
    ----------
    offset_s
        Time that passes before the device begins, and after it has ended [s].
    host_s
        Time that the host takes by itself: no row is shorter [s].
    """

    offset_s: float
    host_s: float

    def whole_s(self, device_s: Array) -> Array:
        """Return the times that the program measures [s]."""
        return np.maximum(self.host_s, self.offset_s + device_s)

    def __str__(self) -> str:
        return f"{1e6 * self.offset_s:.1f} us, {1e6 * self.host_s:.1f} us at least"


def calls_us(calls: Mapping[str, Call]) -> dict[str, dict[str, float]]:
    """Return both numbers of each group [us], for JSON."""
    return {name: {"offset": 1e6 * call.offset_s, "host": 1e6 * call.host_s} for name, call in calls.items()}


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
    """Return the bound on both numbers of a row's group [s]."""
    return LARGEST_EAGER_S if measurement.runtime.startswith("pytorch") else LARGEST_DISPATCH_S


def best_call(device_s: Array, measured_s: Array, largest_s: float = LARGEST_DISPATCH_S) -> Call:
    """Return the numbers under which predictions of the device fit best, in soft-L1 of the log error."""
    coarse = np.concatenate([[0.0], np.geomspace(SMALLEST_S, largest_s, COARSE)])
    offsets, hosts = coarse, coarse
    step = coarse[-1] / coarse[-2]
    for count in (*FINE, 0):
        whole_s = np.maximum(hosts[:, None, None], offsets[None, :, None] + device_s)
        cost = robust_cost(np.log(whole_s / measured_s)).sum(axis=2)
        row, column = np.unravel_index(int(np.argmin(cost)), cost.shape)
        host_s, offset_s = float(hosts[row]), float(offsets[column])
        if count:
            near = np.geomspace(1.0 / step, step, count)
            hosts, offsets = (np.minimum(best_s * near, largest_s) for best_s in (host_s, offset_s))
            step = step ** (2.0 / (count - 1))
    return Call(offset_s=offset_s, host_s=host_s)


def with_offsets(
    measurements: Sequence[Measurement], predicted_s: Array, measured_s: Array
) -> tuple[Array, dict[str, Call]]:
    """Return the times that each row's measuring program would find, and what it adds, by group."""
    names, codes = group_codes(measurements)
    found = predicted_s.copy()
    calls: dict[str, Call] = {}
    for code, name in enumerate(names):
        rows = codes == code
        largest_s = largest_offset_s(measurements[int(rows.argmax())])
        calls[name] = best_call(predicted_s[rows], measured_s[rows], largest_s)
        found[rows] = calls[name].whole_s(predicted_s[rows])
    return found, calls
