"""Intervals from sets of networks that have little in common: what each says when it is left out.

Where many families ran under one runtime, left-out families bound the error of a new one. Where there are three sets,
each from another place, no guarantee over a fourth is possible. The width is that of the worst set, and how many rows
of each set lie inside the width of the others is said beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from roofline.calibration.measured import Measurement, Options, load
from roofline.calibration.measured.graphs import GraphSource
from roofline.calibration.predict import Prepared, prepare
from roofline.calibration.ratios import DIGITS, LeftOut
from roofline.hardware.load import device as load_device
from roofline.report.interval import SetScore
from roofline.software.spec import Runtime
from roofline.stats import conformal_quantile


def witnesses(
    paths: Iterable[str | Path], runtime: Runtime, options: Options | None = None, graphs: GraphSource | None = None
) -> tuple[Prepared, list[LeftOut]]:
    """Return networks of files that no fit of a runtime saw, each under the shipped constants of its own runtime.

    A file is a set: networks on the kinds of devices that the runtime is for, whatever front end compiled them.
    """
    rows: list[Measurement] = []
    for path in paths:
        found = load(path, replace(options or Options(), device=None, runtime=None)).measurements
        rows += [m for m in found if m.network and load_device(m.device).kind in runtime.device_kinds]
    prepared = prepare(rows, graphs=graphs)
    return prepared, [
        LeftOut(measurement=m, error=float(np.log(time_s / m.latency_s)), group=m.dataset)
        for m, time_s in zip(prepared.measurements, prepared.predict(), strict=True)
    ]


def by_set(networks: Iterable[LeftOut]) -> list[LeftOut]:
    """Return networks grouped by the file that they are from, whatever they were left out with."""
    return [replace(network, group=network.measurement.dataset) for network in networks]


def set_scores(networks: Sequence[LeftOut], coverage: float) -> dict[str, SetScore]:
    """Return what each set says: its own bound, and the share of it inside the widest bound of the others.

    The bound of a set that is too small for one is its largest error.
    """
    errors = {group: np.array([abs(n.error) for n in networks if n.group == group]) for group in _groups(networks)}
    bounds = {
        name: bound if np.isfinite(bound := conformal_quantile(found, coverage)) else float(found.max())
        for name, found in errors.items()
    }
    scores = {}
    for name, found in errors.items():
        others = [bound for other, bound in bounds.items() if other != name]
        scores[name] = SetScore(
            rows=len(found),
            half_width=round(bounds[name], DIGITS),
            covered=round(float(np.mean(found <= max(others))), DIGITS) if others else None,
        )
    return scores


def _groups(networks: Iterable[LeftOut]) -> list[str]:
    return sorted({network.group for network in networks})
