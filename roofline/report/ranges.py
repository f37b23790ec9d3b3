"""What the facts that nobody has verified do to a latency, or to anything made of latencies by multiplying.

Each fact is set to either end of its range and the run costed again: the program is lowered already, so that this is
half a millisecond an end. Effects of several facts add up in the logarithm, all at their worst.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np

from roofline.cost import fold
from roofline.engine.evaluate import block_costs, kernel_costs
from roofline.engine.lowering import Lowered
from roofline.engine.machine import Machine, machine_for
from roofline.engine.table import DTYPE_CODES
from roofline.hardware.ranges import OpenFact, open_facts
from roofline.hardware.spec import Device

FactEffects: TypeAlias = Mapping[OpenFact, tuple[float, float]]
#: an effect below this share of the value is not worth a word
WORTH_SAYING = 0.005
#: what formulas read of a machine
NUMBERS = [f.name for f in fields(Machine) if f.name not in ("device", "runtime", "precision", "layout")]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one fact does: the factor on the value with the fact at its low and at its high end."""

    fact: OpenFact
    at_low: float
    at_high: float

    @property
    def size(self) -> float:
        """The larger of the two changes, as |log factor|."""
        return max(abs(math.log(self.at_low)), abs(math.log(self.at_high)))


@dataclass(frozen=True, kw_only=True)
class FactRange:
    """Between which factors on a value its unverified facts leave it; 1 and 1 where there are none.

    Attributes
    ----------
    low, high
        Ends, as factors on the value: every fact at the end that makes it smallest, or largest.
    effects
        Of each fact, the strongest first.
    """

    low: float
    high: float
    effects: tuple[Effect, ...]

    @property
    def decided_by(self) -> str:
        """The fact that decides most, in words; empty where none is worth a word."""
        return str(self.effects[0].fact) if self.effects and self.effects[0].size >= WORTH_SAYING else ""


def effects_of_facts(lowered: Lowered, machine: Machine, *, program_s: float, latency_s: float) -> FactEffects:
    """Return the log of the factor on a latency with each unverified fact of the device at its low and high end.

    Only facts that a core of the machine, or a product of the program, takes notice of are run again.
    """

    def log_factor(device: Device) -> float:
        other = machine_for(device, machine.runtime, machine.precision, machine.layout, machine.cores)
        if _same(other, machine):
            return 0.0
        blocks = block_costs(lowered.table, kernel_costs(lowered.table, other))
        device_s, host_s = (float(column[lowered.order].sum()) for column in (blocks.device_s, blocks.host_s))
        return math.log(float(fold.latency_s(device_s, host_s, program_s=program_s)) / latency_s)

    multiplied = set(np.unique(lowered.table.contractions.dtype).tolist())
    return {
        fact: (log_factor(fact.at_low), log_factor(fact.at_high))
        for fact in open_facts(machine.device)
        if fact.slows and (fact.rate is None or DTYPE_CODES[fact.rate] in multiplied)
    }


def _same(one: Machine, other: Machine) -> bool:
    """Return whether two machines have the same numbers, whatever device they are of."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in NUMBERS]
    return all(a.tobytes() == b.tobytes() if isinstance(a, np.ndarray) else a == b for a, b in pairs)


def fact_range(terms: Iterable[tuple[FactEffects, float]]) -> FactRange:
    """Return what unverified facts do to a product of powers of latencies.

    Parameters
    ----------
    terms
        The effects on each latency, and its power: 1 and -1 for a ratio, 1/n each for a geometric mean. A fact that
        several share is at the same end in all of them.
    """
    moved: dict[OpenFact, list[float]] = {}
    for effects, power in terms:
        for fact, ends in effects.items():
            sums = moved.setdefault(fact, [0.0, 0.0])
            for i, end in enumerate(ends):
                sums[i] += power * end
    found = [Effect(fact=fact, at_low=math.exp(a), at_high=math.exp(b)) for fact, (a, b) in moved.items()]
    return FactRange(
        low=math.exp(sum(min(0.0, *ends) for ends in moved.values())),
        high=math.exp(sum(max(0.0, *ends) for ends in moved.values())),
        effects=tuple(sorted(found, key=lambda e: e.size, reverse=True)),
    )
