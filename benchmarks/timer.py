"""How benchmarks take time."""

from __future__ import annotations

import time
from collections.abc import Callable


def least(run: Callable[[], object], rounds: int = 3, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the least seconds of some rounds; with `time.process_time`, without those of other programs."""
    times = []
    for _ in range(rounds):
        began = clock()
        run()
        times.append(clock() - began)
    return min(times)
