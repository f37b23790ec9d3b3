"""Widths of the intervals of ratios, and whether they cover what they say.

Errors that two runs share cancel in their ratio. How many do is read off pairs of networks that a fit had not seen: two
on one device, and one on two devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement

import numpy as np

from roofline.calibration.calibrate import Calibration
from roofline.calibration.measured import Measurement
from roofline.numeric import Array
from roofline.report.interval import RatioWidth
from roofline.stats import conformal_quantile

#: decimals of a width in a file
DIGITS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftOut:
    """A network that was left out of a fit: log(predicted / measured), and what it was left out with."""

    measurement: Measurement
    error: float
    group: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """|log error| of the ratios of some pairs, and the groups that either network was left out with."""

    kind: str
    groups: frozenset[str]
    errors: Array


def left_out_networks(calibration: Calibration, ways: Iterable[str]) -> list[LeftOut]:
    """Return the networks that were left out in some ways, each as the fit without it predicts it."""
    rows = calibration.prepared.measurements
    return [
        LeftOut(measurement=rows[i], error=float(np.log(time_s / rows[i].latency_s)), group=held_out.name)
        for held_out in calibration.held_out
        if held_out.by in ways
        for i, time_s in zip(held_out.rows, held_out.predicted_s, strict=True)
        if rows[i].network
    ]


def pairs_of(networks: Sequence[LeftOut]) -> Iterator[Pairs]:
    """Yield the pairs of `roofline.report.ratios.KINDS`: within each data set, and across devices."""
    sets: dict[str, dict[tuple[str, str], list[float]]] = {}
    places: dict[tuple[str, str], list[LeftOut]] = {}
    for n in networks:
        m = n.measurement
        sets.setdefault(m.condition, {}).setdefault((m.family, n.group), []).append(n.error)
        places.setdefault((m.label, m.dtype), []).append(n)
    for members in sets.values():
        for (one, a), (other, b) in combinations_with_replacement(members.items(), 2):
            kind = "same_family" if one[0] == other[0] else "other_family"
            difference = np.abs(np.subtract.outer(np.array(a), np.array(b)))
            errors = difference[np.triu_indices(len(a), 1)] if one == other else difference.ravel()
            yield Pairs(kind=kind, groups=frozenset({one[1], other[1]}), errors=errors)
    across: dict[frozenset[str], list[float]] = {}
    for same in places.values():
        for x, y in combinations(same, 2):
            if x.measurement.device != y.measurement.device:
                across.setdefault(frozenset({x.group, y.group}), []).append(abs(x.error - y.error))
    for groups, differences in across.items():
        yield Pairs(kind="devices", groups=groups, errors=np.array(differences))


def ratio_widths(networks: Sequence[LeftOut], coverage: float) -> dict[str, RatioWidth]:
    """Return the width of each kind of ratio, and the share of pairs that pairs without their group cover.

    The width is the widest of the groups' own: a group that is easy to predict does not make another one so.
    """
    found = {}
    for kind, pairs in by_kind(networks).items():
        widths = group_widths(pairs, coverage)
        if widths:
            scored = coverages(pairs, coverage).values()
            inside, count = sum(share * n for share, n in scored), sum(n for _, n in scored)
            found[kind] = RatioWidth(
                half_width=round(max(widths.values()), DIGITS),
                covered=round(inside / count, DIGITS) if count else None,
                pairs=sum(len(p.errors) for p in pairs),
            )
    return found


def by_kind(networks: Sequence[LeftOut]) -> dict[str, list[Pairs]]:
    """Return the pairs of each kind, those with any."""
    found: dict[str, list[Pairs]] = {}
    for pairs in pairs_of(networks):
        if len(pairs.errors):
            found.setdefault(pairs.kind, []).append(pairs)
    return found


def group_widths(pairs: Sequence[Pairs], coverage: float) -> dict[frozenset[str], float]:
    """Return the bound of the pairs of each set of groups, where there are enough of them."""
    errors: dict[frozenset[str], list[Array]] = {}
    for p in pairs:
        errors.setdefault(p.groups, []).append(p.errors)
    widths = {groups: conformal_quantile(np.concatenate(found), coverage) for groups, found in errors.items()}
    return {groups: width for groups, width in widths.items() if np.isfinite(width)}


def coverages(pairs: Sequence[Pairs], coverage: float) -> dict[str, tuple[float, int]]:
    """Return, for each group, the share of its pairs inside the width that pairs without it give, and their number.

    Groups that leave no others are left out.
    """
    found = {}
    widths = group_widths(pairs, coverage)
    for group in sorted({group for p in pairs for group in p.groups}):
        without = [width for groups, width in widths.items() if group not in groups]
        inside = np.concatenate([p.errors for p in pairs if group in p.groups])
        if without:
            found[group] = (float(np.mean(inside <= max(without))), len(inside))
    return found
