"""Rules of the ops in `roofline.graph.statistics` and `roofline.graph.windows`."""

from __future__ import annotations

from roofline.errors import UnknownOpError, nearest
from roofline.graph import statistics, windows
from roofline.work.registry import Tensors, rule
from roofline.work.types import Work

#: (simple, transcendental) operations per element read
PER_ELEMENT: dict[str, tuple[float, float]] = {
    "var": (6.0, 0.0),  # Welford: difference, mean 2, difference to the new mean, product, sum
    "prod": (1.0, 0.0),
    "sum": (1.0, 0.0),
    "norm": (2.0, 0.0),  # square, sum
    "max": (1.0, 0.0),
    "logsumexp": (3.0, 1.0),  # maximum, subtract, sum; exponential
}


@rule(statistics.Statistic)
def statistic(op: statistics.Statistic, inputs: Tensors, outputs: Tensors) -> Work:
    """The function's operations for every element read."""
    if op.function not in PER_ELEMENT:
        raise UnknownOpError(f"no work rule for statistic {op.function!r}{nearest(op.function, PER_ELEMENT)}")
    simple, transcendental = PER_ELEMENT[op.function]
    return Work(simple_ops=inputs[0].elements * simple, transcendental_ops=inputs[0].elements * transcendental)


@rule(windows.Window)
def window(op: windows.Window, inputs: Tensors, outputs: Tensors) -> Work:
    """A view is free."""
    return Work()
