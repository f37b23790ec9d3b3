"""A chip of round numbers, for formulas of kernel libraries that are worked out by hand."""

from __future__ import annotations

import numpy as np

from roofline.cost.chip import Chip

#: 100 processors of 1e12 multiply-accumulates a second at 1 GHz, 1 TB/s far and 4 TB/s near
CHIP = Chip(
    processors=100.0,
    clock_hz=1e9,
    macs_per_s=1e12,
    lane_ops_per_s=1.0,
    transcendental_ops_per_s=1.0,
    local_bytes_per_s=1.0,
    near_bytes_per_s=4e12,
    far_bytes_per_s=1e12,
    near_bytes=50e6,
    multicast=0.0,
    budget_w=np.inf,
)
