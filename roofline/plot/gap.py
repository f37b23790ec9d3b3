"""Latency over FLOPs, log-log: one panel per device, families joined, lines of equal achieved FLOP/s."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter

from roofline.names import family
from roofline.plot.compare import PANEL_IN
from roofline.plot.labels import Label, place
from roofline.plot.protocol import RunReport
from roofline.plot.style import FAINT, GREY, HALO, INK, MARKERS, SERIES, clean, few_decades, save, subplots
from roofline.text import engineering

#: steps of the lines of equal efficiency within a decade
STEPS = (1.0, 2.0, 5.0)
#: free room around the points, as a factor
MARGIN = 1.6


def plot_gap(panels: Sequence[Sequence[RunReport]], *, path: str | Path | None = None) -> Figure:
    """Draw latency per example over FLOPs per example.

    Parameters
    ----------
    panels : sequence of sequence of Report
        The runs of each device; members of a family are joined in order of their FLOPs.
    path : str or Path, optional
        Also write the picture there (.png, .svg, .pdf).

    Returns
    -------
    Figure
        Along a grey line the achieved FLOP/s are equal: were FLOPs a measure of latency, all points would lie on one.

    Raises
    ------
    InputError
        The suffix of `path` is not that of a picture, or it cannot be written.
    """
    families = list(dict.fromkeys(family(run.model)[0] for runs in panels for run in runs))
    figure, axes = subplots(len(panels), PANEL_IN, below_in=0.4)
    for ax, runs in zip(axes, panels, strict=True):
        _panel(ax, runs, families)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)), fontsize=8.5, frameon=False)
    save(figure, path)
    return figure


def _panel(ax: Axes, runs: Sequence[RunReport], families: Sequence[str]) -> None:
    latency = np.array([run.latency_s / run.batch for run in runs])
    flops = latency * np.array([run.achieved_flops_per_s for run in runs])
    clean(ax)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(flops.min() / MARGIN, flops.max() * MARGIN)
    ax.set_ylim(latency.min() / MARGIN, latency.max() * MARGIN)
    ax.xaxis.set_major_formatter(EngFormatter(unit="FLOP", sep=" "))
    ax.yaxis.set_major_formatter(EngFormatter(unit="s", sep=" "))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())
    few_decades(ax)
    ax.grid(False)
    _equal_efficiency(ax, flops / latency, runs[0].peak_flops_per_s)
    for number, name in enumerate(families):
        chosen = [i for i, run in enumerate(runs) if family(run.model)[0] == name]
        order = sorted(chosen, key=lambda i: flops[i])
        colour, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.2}
        ax.plot(flops[order], latency[order], label=name, zorder=4, **look)
    first = runs[0]
    batches = ", ".join(f"{b:,}" for b in sorted({run.batch for run in runs}))
    ax.set_title(
        f"{first.device}, {first.runtime}, {first.dtype}, batch {batches}", fontsize=9.5, loc="left", color=INK
    )
    ax.set_xlabel("FLOPs per example", fontsize=8.5)
    ax.set_ylabel("Latency per example", fontsize=8.5)
    texts = [Label(x=flops[i], y=latency[i], text=family(run.model)[1], radius_px=4) for i, run in enumerate(runs)]
    place(ax, texts, texts, [])


def _equal_efficiency(ax: Axes, achieved: np.ndarray, peak: float) -> None:
    """Draw lines of equal FLOP/s up to the peak, each with its rate where it enters on the left or below."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    decades = range(math.floor(math.log10(achieved.min())) - 1, math.ceil(math.log10(peak)) + 1)
    rates = [step * 10.0**decade for decade in decades for step in STEPS if step * 10.0**decade < peak / 1.6]
    ends = np.array([left, right])
    for rate in (*rates, peak):
        start = max(left, low * rate)
        if not (start < right / 1.5 and start / rate < high / 2.0):
            continue
        top = rate == peak
        ax.plot(ends, ends / rate, color=GREY if top else FAINT, linewidth=1.2 if top else 0.8, zorder=1)
        text = f"peak {engineering(rate, 'FLOP/s')}" if top else engineering(rate, "FLOP/s", digits=1)
        place: dict[str, Any] = {"xytext": (2, 2), "textcoords": "offset points", "rotation_mode": "anchor"}
        look: dict[str, Any] = {"fontsize": 6.5, "color": GREY, "path_effects": [HALO], "zorder": 2}
        ax.annotate(text, (start, start / rate), rotation=_angle(ax), **place, **look)


def _angle(ax: Axes) -> float:
    """Return the angle of a line of slope 1 in the panel's decades [degrees]."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    return math.degrees(math.atan2(PANEL_IN[1] / math.log(high / low), PANEL_IN[0] / math.log(right / left)))
