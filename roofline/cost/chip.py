"""A GPU as the formulas of kernel libraries see it: processors, their rates, and two levels of memory."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.numeric import Numeric


@dataclass(frozen=True, kw_only=True, eq=False)
class Chip:
    """What kernels run on. Rates are nominal: which part of them is reached is a matter of the library.

    Attributes
    ----------
    processors
        Streaming multiprocessors, or compute units.
    clock_hz
        Of the matrix units, at the boost that peaks are quoted for.
    macs_per_s
        Multiply-accumulates of one processor in the format of the operands; a number, or a column.
    lane_ops_per_s, transcendental_ops_per_s
        Lane operations, and exponentials and the like, of one processor.
    local_bytes_per_s
        Of one processor's shared memory.
    near_bytes_per_s, far_bytes_per_s
        Of the last cache (L2) and of the main memory, of the whole chip; near is far where there is no such cache.
    near_bytes
        Capacity of the last cache; 0 where there is none.
    multicast
        1 where processors of a cluster share what they load, else 0.
    operand_sharing
        Processors that multiply one tile together: each fetches its own rows, and a part of the columns.
    budget_w
        Power limit of the card; infinite where nobody says one.
    """

    processors: float
    clock_hz: float
    macs_per_s: Numeric
    lane_ops_per_s: float
    transcendental_ops_per_s: float
    local_bytes_per_s: float
    near_bytes_per_s: float
    far_bytes_per_s: float
    near_bytes: float
    multicast: float
    budget_w: float
    operand_sharing: float = 1.0
