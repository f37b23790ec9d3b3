"""How far the ratio of two predictions may be off: what both get wrong in the same way cancels.

How much is left is measured, not assumed: networks that a fit had not seen are paired, and the error of each pair's
ratio counted. What the two runs have in common decides which pairs speak for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from roofline.names import family
from roofline.report.interval import UNSEEN_FACTOR, RuntimeInterval, Width, known_intervals, width_of
from roofline.report.numbers import Run
from roofline.report.ranges import fact_range
from roofline.stats import geometric_mean

#: what two runs under one runtime in one precision can have in common
KINDS = {
    "same_family": "two networks of one family on one device",
    "other_family": "networks of two families on one device",
    "devices": "one network on two devices",
}


@dataclass(frozen=True, kw_only=True)
class RatioInterval:
    """Where the measured ratio of two latencies is expected.

    Attributes
    ----------
    low, high
        Ends of the interval.
    coverage
        Share of measured ratios that should lie inside.
    shared
        What the two runs have in common, one of `KINDS`; None where that is too little for anything to cancel.
    reasons
        In what the runs are unlike what their runtimes were calibrated with.
    """

    low: float
    high: float
    coverage: float
    shared: str | None
    reasons: tuple[str, ...]


def ratio_interval(over: Run, under: Run, known: Mapping[str, RuntimeInterval] | None = None) -> RatioInterval:
    """Return the interval of the latency of one run over that of another.

    Runs under one runtime in one precision that share the device or the network have the width of left-out pairs of
    that kind, on a device without calibration data also that of pairs on left-out devices. Where the runtime has no
    such pairs they have the widest of all runtimes that do: what is not known of the runtime both have in common. Kinds
    of kernels without data count by the difference of their shares. Runs that share nothing have independent errors:
    squares of the half-widths add up.

    Parameters
    ----------
    known
        In place of the shipped widths.
    """
    table = known_intervals() if known is None else known
    widths = [width_of(run, table) for run in (over, under)]
    kind = in_common(over, under)
    paired = None if kind is None else pair_width(kind, over.runtime, {over.device, under.device}, table)
    alone = math.hypot(*(width.half_width for width in widths))
    half_width = alone if paired is None else paired + _unseen(*widths)
    ratio, factor = over.latency_s / under.latency_s, math.exp(half_width)
    return RatioInterval(
        low=ratio / factor,
        high=ratio * factor,
        coverage=min(width.coverage for width in widths),
        shared=kind,
        reasons=tuple(dict.fromkeys(reason for width in widths for reason in width.reasons)),
    )


def in_common(one: Run, other: Run) -> str | None:
    """Return which of `KINDS` two runs are; None where the runtime, the precision or the mode is another."""
    if (one.runtime, one.dtype, one.mode) != (other.runtime, other.dtype, other.mode):
        return None
    if one.device == other.device:
        return "same_family" if family(one.model)[0] == family(other.model)[0] else "other_family"
    return "devices" if one.model == other.model else None


def pair_width(kind: str, runtime: str, devices: set[str], table: Mapping[str, RuntimeInterval]) -> float | None:
    """Return the half-width of a kind of ratio: of the runtime, else the widest of all that have one; None without any.

    Parameters
    ----------
    devices
        Of the runs: where the calibration lacks one, pairs on left-out devices have a say too.
    """
    found = table.get(runtime)
    own = [] if found is None else _pair_widths(kind, found, unseen=not devices <= set(found.devices))
    return max(own or [width for other in table.values() for width in _pair_widths(kind, other)], default=None)


def _pair_widths(kind: str, found: RuntimeInterval, *, unseen: bool = True) -> list[float]:
    tables = (found.ratios, found.ratios_new_device) if unseen else (found.ratios,)
    return [widths[kind].half_width for widths in tables if kind in widths]


def _unseen(over: Width, under: Width) -> float:
    """Return what kinds without data add: each of them off by the same factor in both runs."""

    def log_share(width: Width, kind: str) -> float:
        return math.log1p((UNSEEN_FACTOR - 1.0) * width.unseen.get(kind, 0.0))

    return sum(abs(log_share(over, k) - log_share(under, k)) for k in over.unseen.keys() | under.unseen.keys())


@dataclass(frozen=True, kw_only=True)
class MeanRatio:
    """The geometric mean of ratios of latencies, and how sure it is.

    Attributes
    ----------
    ratio
        The mean itself.
    low, high
        Where a measurement is expected: the means of the ends of each `ratio_interval`, as if all erred the same way.
    facts_low, facts_high
        Between what the unverified facts of the devices leave it; `decided_by` names the one that decides.
    """

    ratio: float
    low: float
    high: float
    facts_low: float
    facts_high: float
    decided_by: str


def mean_ratio(pairs: Sequence[tuple[Run, Run]]) -> MeanRatio:
    """Return the geometric mean of latency over latency of some pairs of runs; of one pair its ratio."""
    found = [ratio_interval(over, under) for over, under in pairs]
    ratios = [over.latency_s / under.latency_s for over, under in pairs]
    ratio = geometric_mean(ratios) if len(ratios) > 1 else ratios[0]
    power = 1.0 / len(pairs)
    facts = fact_range(
        [(run.fact_effects, sign) for pair in pairs for run, sign in zip(pair, (power, -power), strict=True)]
    )
    return MeanRatio(
        ratio=ratio,
        low=geometric_mean([interval.low for interval in found]),
        high=geometric_mean([interval.high for interval in found]),
        facts_low=ratio * facts.low,
        facts_high=ratio * facts.high,
        decided_by=facts.decided_by,
    )
