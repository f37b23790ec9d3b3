"""What the runner asks of a backend."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from roofline.errors import InputError
from roofline.graph.opgraph import OpGraph
from roofline.measure.facts import Facts
from roofline.measure.plan import Case
from roofline.measure.timing import Sample


@dataclass(frozen=True, kw_only=True)
class Program:
    """A case, built: `run` times it once, `graph` lowers it."""

    run: Callable[[], Sample]
    graph: Callable[[], OpGraph]


@dataclass(frozen=True, kw_only=True)
class State:
    """What a driver says of a device at work; None where it says nothing."""

    clock_mhz: float | None = None
    power_w: float | None = None


class Backend(Protocol):
    """A framework on one device."""

    facts: Facts
    #: what measures: ``wall``, ``cpu`` or ``event``
    clock: str
    #: memory format of images
    layout: str

    def runtime(self, compiled: bool) -> str:
        """Return the name of the runtime under which cases run."""

    def builds(self, case: Case) -> bool:
        """Whether this backend has the case."""

    def check_dtype(self, dtype: str) -> None:
        """Raise InputError unless the device computes in a format; the message names those it can."""

    def program(self, case: Case) -> Program:
        """Build a case on the device."""

    def state(self) -> State:
        """Return clock and power right now."""

    def out_of_memory(self, error: BaseException) -> bool:
        """Whether an error means that the memory is full."""

    def release(self) -> None:
        """Give back the memory of programs that are gone."""


def require_dtype(dtype: str, good: Collection[str], facts: Facts) -> None:
    """Raise InputError unless a format is among the `good` ones, which the message names."""
    if dtype not in good:
        raise InputError(f"{facts.name} does not compute in {dtype!r}; it does in {', '.join(map(repr, good))}")
