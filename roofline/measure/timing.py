"""From repeated runs to one time: which samples were disturbed, how they spread, and when there are enough of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from roofline.errors import InputError
from roofline.stats import median_deviation

#: a sample further from the median than this many times the usual deviation is an outlier
OUTLIER = 5.0
#: ... and this share of the median at least: clocks have a grain
GRAIN = 0.02
#: a run of which the processor was busy with something else for more than this share was disturbed
DISTURBED = 0.05
#: samples of a case: as many as fit the time, within these bounds
FEWEST, MOST = 5, 200
#: spread (quartile range over median) that is good enough; beyond it the time allowed is doubled
GOOD_SPREAD = 0.05
#: quantile that is reported where the machine was busy: disturbances only ever add
LOW = 0.25


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One timed run.

    Attributes
    ----------
    time_s
        How long it took, per repetition.
    stolen
        Share of that time in which something else ran; 0 where nobody can tell.
    """

    time_s: float
    stolen: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What the samples of a case say.

    Attributes
    ----------
    time_s
        Median of the samples that nobody disturbed and that are no outliers; on a busy machine their lower quartile.
    spread
        Range of the middle half over the median.
    samples, outliers
        All samples, and those left out.
    busy
        Whether most samples were disturbed.
    """

    time_s: float
    spread: float
    samples: int
    outliers: int
    busy: bool


def summary(samples: Sequence[Sample]) -> Timing:
    """Return the time that samples tell.

    Raises
    ------
    InputError
        There is none.

    Examples
    --------
    >>> found = summary([Sample(time_s=t) for t in (1.0, 1.01, 0.99, 1.0, 9.0)])
    >>> found.time_s, found.outliers
    (1.0, 1)
    """
    if not samples:
        raise InputError("no samples to sum up")
    clean = [s.time_s for s in samples if s.stolen <= DISTURBED]
    busy = 2 * len(clean) < len(samples)
    times_s = np.array([s.time_s for s in samples] if busy else clean)
    middle = float(np.median(times_s))
    limit = max(OUTLIER * median_deviation(times_s), GRAIN * middle)
    kept = times_s[np.abs(times_s - middle) <= limit]
    low, half, high = (float(q) for q in np.quantile(kept, (0.25, 0.5, 0.75)))
    time_s, outliers = float(np.quantile(kept, LOW)) if busy else half, len(samples) - len(kept)
    return Timing(time_s=time_s, spread=(high - low) / half, samples=len(samples), outliers=outliers, busy=busy)


def repeat(run: Callable[[], Sample], *, allowed_s: float, clock: Callable[[], float]) -> Timing:
    """Run until there are samples enough: for `allowed_s`, or twice that where they spread or were disturbed.

    Parameters
    ----------
    run
        Times one run.
    clock
        Seconds of the wall; decides when time is up.
    """
    samples: list[Sample] = []
    start_s = clock()
    found = None
    for limit_s in (allowed_s, 2.0 * allowed_s):
        while len(samples) < MOST and (len(samples) < FEWEST or clock() - start_s < limit_s):
            samples.append(run())
        found = summary(samples)
        if not found.busy and found.spread <= GOOD_SPREAD:
            break
    return found or summary(samples)
