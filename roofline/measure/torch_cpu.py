"""PyTorch on the processor it runs on."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from math import ceil

import torch

from roofline.errors import InputError
from roofline.measure.facts import cpu_facts, usable_cores
from roofline.measure.timing import Sample
from roofline.measure.torch_backend import TorchBackend

#: a sample lasts this long at least: clocks have a grain
SHORTEST_S = 2e-4
#: glibc's mallopt: never map blocks singly, never give the end of the heap back
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, MOST_BYTES = -3, -1, 2**31 - 1


def keep_memory() -> bool:
    """Keep what the process frees, as servers with jemalloc or tcmalloc do; return whether that worked.

    Otherwise glibc gives large blocks back and receives them page by page at every run, or not, depending on the sizes
    that a process used before: the same network may take twice as long. Source: GNU C library manual, mallopt.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MOST_BYTES) and mallopt(M_TRIM_THRESHOLD, MOST_BYTES))


class CpuBackend(TorchBackend):
    """PyTorch with a number of threads.

    One thread is timed by the processor time it used, so that others on the machine disturb it through its caches only;
    several threads by the clock on the wall.
    """

    def __init__(self, threads: int = 1) -> None:
        cores = usable_cores()
        if not 1 <= threads <= cores:
            raise InputError(f"threads must be 1 to {cores} on this machine, got {threads}")
        torch.set_num_threads(threads)
        keep_memory()
        self.device = torch.device("cpu")
        self.threads = threads
        self.clock = "cpu" if threads == 1 else "wall"
        self.facts = cpu_facts(threads, f"torch {torch.__version__}", "torch")
        last = max((size for _, size, _ in self.facts.caches), default=32 * 2.0**20)
        super().__init__(flush_bytes=2.0 * last)

    def _timed(self, call: Callable[[], None], loops: int) -> Sample:
        others_s = _others_s()
        cpu_ns, wall_ns = time.thread_time_ns(), time.perf_counter_ns()
        for _ in range(loops):
            call()
        wall_ns, cpu_ns = time.perf_counter_ns() - wall_ns, time.thread_time_ns() - cpu_ns
        if self.threads == 1:
            return Sample(time_s=cpu_ns * 1e-9 / loops, stolen=max(0.0, 1.0 - cpu_ns / wall_ns))
        stolen = max(0.0, _others_s() - others_s) / (usable_cores() * wall_ns * 1e-9)
        return Sample(time_s=wall_ns * 1e-9 / loops, stolen=stolen if wall_ns > 1e8 else 0.0)

    def _whole(self, call: Callable[[], None]) -> Callable[[], Sample]:
        loops = self._loops(call)
        return lambda: self._timed(call, loops)

    def _single(self, call: Callable[[], None], inputs: list[torch.Tensor]) -> Callable[[], Sample]:
        loops = self._loops(call)

        def run() -> Sample:
            if loops == 1:
                self.renew(inputs)
            return self._timed(call, loops)

        return run

    def _loops(self, call: Callable[[], None]) -> int:
        return ceil(SHORTEST_S / max(min(self._timed(call, 1).time_s for _ in range(2)), 1e-7))


def _others_s() -> float:
    """Return the processor time that other processes have used so far [s]; 0 where the system does not tell."""
    try:
        with open("/proc/stat", encoding="ascii") as stat:
            user, nice, system = (int(word) for word in stat.readline().split()[1:4])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system) / 100.0 - time.process_time()
