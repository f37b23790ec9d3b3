"""The roofs of a device: slopes of the memory levels, ceilings of the units, and how they are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from roofline.plot.protocol import RunReport
from roofline.plot.style import GREY, HALO, INK, few_decades
from roofline.text import engineering

#: Ceilings nearer to each other than this share one line and one label.
SAME_CEILING = 0.02


@dataclass(frozen=True, kw_only=True)
class Slope:
    """A memory level: performance = intensity x bandwidth."""

    name: str
    bandwidth_bytes_per_s: float
    main: bool


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The peak rate of a unit at a dtype, or at several with the same peak."""

    name: str
    flops_per_s: float
    used: bool
    vector: bool = False


def slopes(report: RunReport) -> list[Slope]:
    """Return the memory levels of the chip that keep tensors between kernels, main memory first."""
    main, *others = report.device_spec.main_memory, *report.device_spec.shared_memory
    return [
        Slope(name=main.name, bandwidth_bytes_per_s=main.bandwidth_bytes_per_s, main=True),
        *(Slope(name=o.name, bandwidth_bytes_per_s=o.bandwidth_bytes_per_s, main=False) for o in others),
    ]


def ceilings(report: RunReport) -> list[Ceiling]:
    """Return the chip's matrix peak at every dtype and its vector peak, highest first; `used` marks that of the run."""
    device = report.device_spec
    groups: list[tuple[float, list[str]]] = []
    for dtype in device.matrix.rates:
        peak = device.peak_flops_per_s(dtype)
        near = [names for other, names in groups if abs(other - peak) <= SAME_CEILING * peak]
        if near:
            near[0].append(dtype)
        else:
            groups.append((peak, [dtype]))
    result = [
        Ceiling(name=", ".join(names), flops_per_s=peak, used=abs(peak / report.peak_flops_per_s - 1) <= SAME_CEILING)
        for peak, names in groups
    ]
    vector = device.vector.peak_flops_per_s
    if all(abs(vector / ceiling.flops_per_s - 1) > SAME_CEILING for ceiling in result):
        result.append(Ceiling(name="vector", flops_per_s=vector, used=False, vector=True))
    return sorted(result, key=lambda ceiling: -ceiling.flops_per_s)


def draw_roofs(ax: Axes, report: RunReport, lowest: np.ndarray, every: bool = True) -> list[np.ndarray]:
    """Draw the roofs on log-log axes whose x limits are set, and set the y limits.

    Parameters
    ----------
    ax : Axes
        Log-log axes with final x limits.
    report : Report
        The run whose device and precision say where the roofs are.
    lowest : array
        Rates that must lie inside the limits.
    every : bool
        Every memory level and dtype, or only the roof of the run.

    Returns
    -------
    list of array (n, 2)
        Points along the lines, for whoever must not write over them.
    """
    left, right = ax.get_xlim()
    peak, ridge = report.peak_flops_per_s, report.ridge_flops_per_byte
    levels, tops = slopes(report), ceilings(report)
    if not every:
        levels, tops = levels[:1], [top for top in tops if top.used]
    highest = max(top.flops_per_s for top in tops)
    bottom = min(float(lowest.min(initial=peak)), levels[0].bandwidth_bytes_per_s * left) / 2
    ax.set_ylim(max(bottom, peak * 1e-6), highest * 3)
    few_decades(ax)
    points = []
    for level in levels:
        bend = peak / level.bandwidth_bytes_per_s
        x = np.geomspace(left, max(bend, left * 1.001), 60)
        ax.plot(
            x,
            x * level.bandwidth_bytes_per_s,
            color=INK if level.main else GREY,
            linewidth=1.8 if level.main else 1.0,
            linestyle="-" if level.main else (0, (5, 2)),
            zorder=3,
        )
        points.append(np.column_stack([x, x * level.bandwidth_bytes_per_s]))
    for top in tops:
        start = top.flops_per_s / levels[0].bandwidth_bytes_per_s
        x = np.geomspace(min(start, right), right, 60)
        ax.plot(
            x,
            np.full_like(x, top.flops_per_s),
            color=INK if top.used else GREY,
            linewidth=1.8 if top.used else 1.0,
            linestyle="-" if top.used else (0, (1, 1.5)) if top.vector else (0, (5, 2)),
            zorder=3,
        )
        points.append(np.column_stack([x, np.full_like(x, top.flops_per_s)]))
    ax.plot([ridge], [peak], marker="o", markersize=5, color=INK, zorder=5)
    ax.plot([ridge, ridge], [ax.get_ylim()[0], peak], color=INK, linewidth=0.7, linestyle=":", zorder=1)
    _label_roofs(ax, levels, tops, ridge, peak)
    return points


def _label_roofs(ax: Axes, levels: list[Slope], tops: list[Ceiling], ridge: float, peak: float) -> None:
    """Write name and value on every roof and on the ridge."""
    right = ax.get_xlim()[1]
    figure = ax.get_figure(root=True)
    if figure is not None:
        figure.draw_without_rendering()

    def write(text: str, place: tuple[float, float], strong: bool, **how: Any) -> None:
        how |= {"textcoords": "offset points", "va": "bottom", "color": INK if strong else GREY}
        ax.annotate(text, place, fontsize=7.5, path_effects=[HALO], zorder=5, **how)

    for top in tops:
        text = f"{top.name} {engineering(top.flops_per_s, 'FLOP/s')}"
        write(text, (right, top.flops_per_s), top.used, xytext=(-2, 2), ha="right")
    left = ax.get_xlim()[0]
    for level in levels:
        slope = level.bandwidth_bytes_per_s
        start, end = ax.transData.transform([(left, left * slope), (left * 2, left * 2 * slope)])
        angle = math.degrees(math.atan2(end[1] - start[1], end[0] - start[0]))
        text = f"{level.name} {engineering(slope, 'B/s')}"
        write(text, (left, left * slope), level.main, xytext=(8, 8), ha="left", rotation=angle, rotation_mode="anchor")
    ax.annotate(
        f"ridge {ridge:.3g} FLOP/B",
        (ridge, peak),
        xytext=(-4, 12),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=8,
        color=INK,
    )
