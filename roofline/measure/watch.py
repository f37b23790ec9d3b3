"""Noticing that a device is slower than it was: it throttles, or somebody else works on it."""

from __future__ import annotations

from collections.abc import Callable

from roofline.measure.backend import Backend
from roofline.measure.plan import Case
from roofline.measure.timing import repeat

#: what is run again and again: a product that keeps the arithmetic busy
REFERENCE = {"cpu": (512, 512, 512), "gpu": (4096, 4096, 4096), "tpu": (4096, 4096, 4096)}
#: seconds between two looks, and of samples for each
EVERY_S, LOOK_S = 15.0, 0.05
#: a device this much slower than at its best is said to be slow
SLOW = 1.10
#: how long it is given to recover [s], and how often
PAUSE_S, PAUSES = 2.0, 2
#: more samples while it stays slow
PATIENCE = 2.0


class Watch:
    """Runs the same product every now and then, and compares with the best time so far.

    Parameters
    ----------
    clock, pause
        Seconds of the wall, and how to wait.
    """

    def __init__(self, backend: Backend, *, clock: Callable[[], float], pause: Callable[[float], None]) -> None:
        sizes = REFERENCE[backend.facts.kind]
        self._program = backend.program(Case(build="matmul", sizes=sizes, family="matmul"))
        self._clock, self._pause = clock, pause
        self._best_s = self._time_s()
        self._last_s = clock()
        self._note = ""

    def _time_s(self) -> float:
        return repeat(self._program.run, allowed_s=LOOK_S, clock=self._clock).time_s

    @property
    def patience(self) -> float:
        """By how much longer than usual a case is sampled."""
        return PATIENCE if self._note else 1.0

    def note(self) -> str:
        """Return what is wrong with the device, or nothing; looks again where the last look is a while ago."""
        if self._clock() - self._last_s >= EVERY_S:
            ratio = self._look()
            for _ in range(PAUSES):
                if ratio <= SLOW:
                    break
                self._pause(PAUSE_S)
                ratio = self._look()
            self._note = f"slow device: {ratio:.2f} of the best time of a product" if ratio > SLOW else ""
            self._last_s = self._clock()
        return self._note

    def _look(self) -> float:
        time_s = self._time_s()
        self._best_s = min(self._best_s, time_s)
        return time_s / self._best_s
