"""How fast scaling is, on one core: ``OPENBLAS_NUM_THREADS=1 python benchmarks/bench_scaling.py``.

Seconds are those of the process: what other programs take does not count.
"""

from __future__ import annotations

import time

from timer import least

from roofline.arch.load import model
from roofline.search.scaling.compound import compound_scale
from roofline.search.scaling.forms import Limits
from roofline.search.scaling.grid import scaling_grid

#: points a second, table and all, and seconds of a family B1 to B7
WANTED_PER_S, WANTED_S = 50_000, 10.0
CASES = {"efficientnet-b0": "efficientnet-b1..b7", "efficientnet-x-b0": "efficientnet-x-b1..b7"}


def measure(base: str, like: str, device: str) -> None:
    """Print what was measured of one base on one device beside what is wanted."""
    cold_s = least(lambda: scaling_grid(model(base), device, Limits(), batch=128), clock=time.process_time)
    grid = scaling_grid(model(base), device, Limits(), batch=128)
    warm_s = least(lambda: grid.oracle.latency_s(grid.genomes), clock=time.process_time)
    family_s = least(lambda: compound_scale(base, device, like=like, batch=128), clock=time.process_time)
    cold, warm = len(grid) / cold_s, len(grid) / warm_s
    print(f"{base} on {device}: {len(grid):,} networks")
    print(f"  nothing built: latency, MACs, parameters   {cold:>12,.0f}/s", _said(WANTED_PER_S, cold >= WANTED_PER_S))
    print(f"  tables built: latency                      {warm:>12,.0f}/s")
    print(f"  B1 to B7, both calibrations                {family_s:>12.2f} s", _said(WANTED_S, family_s <= WANTED_S))


def _said(wanted: float, met: bool) -> str:
    return f"  wanted {wanted:,.0f}  {'met' if met else 'MISSED'}"


if __name__ == "__main__":
    for network, members in CASES.items():
        for name in ("tpu-v3", "v100"):
            measure(network, members, name)
