"""How far a prediction may be off, from rows that the fit of its runtime had not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from pydantic import Field

from roofline.quantity import SpecFile
from roofline.report.kernel_interval import COVERAGE, KernelInterval, bounded, library_shares
from roofline.report.numbers import Run
from roofline.specfile import load_spec
from roofline.text import counted

#: a kind of kernel without calibration data may be off by up to this factor, either way: a fit that never saw a
#: depthwise kernel was 62 % off on networks full of them
UNSEEN_FACTOR = 2.0
#: share of the time from which kinds without data are worth a word
WORTH_SAYING = 0.05
#: a runtime that too few networks were measured under
UNKNOWN_HALF_WIDTH = math.log(UNSEEN_FACTOR)


class RatioWidth(SpecFile):
    """What left-out networks say of the ratio of two latencies. Widths are of |log(measured / predicted)| of the ratio.

    Attributes
    ----------
    half_width
        Bound of pairs, at the coverage of the runtime.
    covered
        Share of pairs inside, those of each family (or device) judged by pairs without it; None for a single one.
    pairs
        How many there were.
    """

    half_width: float
    covered: float | None = None
    pairs: int


class SetScore(SpecFile):
    """One set of networks among few that have little in common.

    Attributes
    ----------
    rows
        Networks of the set.
    half_width
        Bound of its own |log(measured / predicted)|, at the coverage of the runtime.
    covered
        Share of its rows inside the widest bound of the other sets; None for a single set.
    """

    rows: int
    half_width: float
    covered: float | None = None


class RuntimeInterval(SpecFile):
    """What left-out networks say of one runtime. Widths are of log(measured / predicted).

    Attributes
    ----------
    half_width
        Split-conformal bound on families that the fit had not seen, at `coverage`; with `sets` that of the worst set.
    new_device
        The same on devices that the fit had not seen; None where it saw a single one.
    covered
        Share of rows inside the interval, each family judged by the others.
    training
        Whether training steps are among them.
    sets
        File -> what it says when it is left out, where families are too few to bound the error of a new one.
    ratios, ratios_new_device
        Of pairs of networks, by what the two have in common: see `roofline.report.ratios.KINDS`.
    """

    coverage: float
    half_width: float
    new_device: float | None = None
    covered: float | None = None
    rows: int
    families: tuple[str, ...]
    devices: tuple[str, ...]
    dtypes: tuple[str, ...]
    kinds: tuple[str, ...]
    source: str
    training: bool = False
    sets: dict[str, SetScore] = Field(default_factory=dict)
    ratios: dict[str, RatioWidth] = Field(default_factory=dict)
    ratios_new_device: dict[str, RatioWidth] = Field(default_factory=dict)


class IntervalFile(SpecFile):
    """``intervals.toml``: one table per runtime, and one per kind of library whose kernels were measured."""

    runtimes: dict[str, RuntimeInterval]
    kernels: dict[str, KernelInterval] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where the measured latency is expected.

    Attributes
    ----------
    low_s, high_s
        Ends of the interval.
    coverage
        Share of measurements that should lie inside.
    extrapolating
        Whether the run is unlike what the runtime was calibrated with; `reasons` says how.
    """

    low_s: float
    high_s: float
    coverage: float
    extrapolating: bool
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.low_s * 1e3:.3g} to {self.high_s * 1e3:.3g} ms ({self.coverage:.0%})"
        return f"{text}, extrapolating: {'; '.join(self.reasons)}" if self.extrapolating else text


@dataclass(frozen=True, kw_only=True)
class Width:
    """How wide an interval is, and what makes it so.

    Attributes
    ----------
    shared
        Half-width that the runtime, the device and the format give every run like this one, in the log.
    unseen
        Share of the time in each kind of kernel without data.
    reasons
        In what the run is unlike the calibration.
    """

    shared: float
    unseen: Mapping[str, float]
    coverage: float
    reasons: tuple[str, ...]

    @property
    def half_width(self) -> float:
        """The whole of it: kinds without data add their share of a factor of two."""
        return self.shared + math.log(1.0 + sum(self.unseen.values()) * (UNSEEN_FACTOR - 1.0))


@lru_cache(maxsize=1)
def known_intervals() -> dict[str, RuntimeInterval]:
    """Return what is known of each runtime, by name."""
    return _file().runtimes


@lru_cache(maxsize=1)
def _file() -> IntervalFile:
    return load_spec(Path(__file__).with_name("intervals.toml"), IntervalFile)


def interval(run: Run, known: Mapping[str, RuntimeInterval] | None = None) -> Interval:
    """Return the interval of a simulated run.

    The half-width is the conformal bound of left-out families; on a device without calibration data that of left-out
    devices, if wider; the part of the time that goes into kinds of kernels without data adds its share of a factor of
    two.

    Parameters
    ----------
    known
        In place of the shipped widths.
    """
    width = width_of(run, known)
    factor = math.exp(width.half_width)
    return Interval(
        low_s=run.latency_s / factor,
        high_s=run.latency_s * factor,
        coverage=width.coverage,
        extrapolating=bool(width.reasons),
        reasons=width.reasons,
    )


def width_of(run: Run, known: Mapping[str, RuntimeInterval] | None = None) -> Width:
    """Return how wide the interval of a run is; arguments as `interval`."""
    table = known_intervals() if known is None else known
    found = table.get(run.runtime)
    if found is None and library_shares(run):
        half_width, unseen, reasons = bounded(run, _file().kernels, UNKNOWN_HALF_WIDTH)
        return Width(shared=half_width, unseen=unseen, coverage=COVERAGE, reasons=tuple(reasons))
    if found is None:
        reason = f"too few networks were measured under {run.runtime} to bound the error"
        return Width(shared=UNKNOWN_HALF_WIDTH, unseen={}, coverage=COVERAGE, reasons=(reason,))
    reasons = [_of_sets(found.sets)] if found.sets else []
    half_width = found.half_width
    if run.device not in found.devices:
        spreads = [r.new_device for r in table.values() if r.new_device is not None]
        spread = found.new_device if found.new_device is not None else max(spreads, default=UNKNOWN_HALF_WIDTH)
        half_width = max(half_width, spread)
        reasons.append(f"no network on {run.device} was in the calibration")
    if run.dtype not in found.dtypes:
        half_width = max(half_width, UNKNOWN_HALF_WIDTH)
        reasons.append(f"no {run.dtype} run was in the calibration")
    if run.optimizer and not found.training:
        half_width = max(half_width, UNKNOWN_HALF_WIDTH)
        reasons.append("no training step was in the calibration")
    unseen = {kind: share for kind, share in kind_shares(run).items() if kind not in found.kinds}
    share = sum(unseen.values())
    if share >= WORTH_SAYING:
        reasons.append(f"{share:.0%} of the time is in kinds without data: {', '.join(sorted(unseen))}")
    return Width(shared=half_width, unseen=unseen, coverage=found.coverage, reasons=tuple(reasons))


def _of_sets(sets: Mapping[str, SetScore]) -> str:
    """Return why an interval from few sets promises nothing, and what it would have covered of each."""
    inside = ", ".join(
        f"{name.split('.')[0]} {score.covered:.0%}" for name, score in sets.items() if score.covered is not None
    )
    told = f", each judged by the others: {inside} inside" if inside else ""
    return f"{counted(len(sets), 'set')} of networks promise nothing of a new one{told}"


def kind_shares(run: Run) -> dict[str, float]:
    """Return the share of the device time that goes into each kind of kernel."""
    table, rows = run.lowered.table, run.kernel_rows
    kinds = np.array([label.kind for label in table.labels])[table.kernels.label[rows]]
    time_s = (table.kernels.times * run.costs.time_s)[rows]
    return {str(kind): float(time_s[kinds == kind].sum() / time_s.sum()) for kind in np.unique(kinds)}
