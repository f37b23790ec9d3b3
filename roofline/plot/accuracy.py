"""Predicted against measured times, log-log, one colour per family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter

from roofline.errors import InputError
from roofline.numeric import Array
from roofline.plot.style import GREY, INK, MARKERS, SERIES, clean, few_decades, save, subplots

PANEL_IN = (4.6, 4.6)
#: families drawn by name; the others share one mark
NAMED = 7
BAND = 0.20


def plot_accuracy(
    panels: Sequence[tuple[str, Array, Array, Sequence[str]]], *, path: str | Path | None = None
) -> Figure:
    """Draw predicted over measured time.

    Parameters
    ----------
    panels : sequence of (title, measured_s, predicted_s, families)
        One panel each: times in seconds, and the family of each row.
    path : str or Path, optional
        Also write the picture there (.png, .svg, .pdf).

    Returns
    -------
    Figure
        Points on the line are predicted exactly; the band is 20 % either side.

    Raises
    ------
    InputError
        There is no panel, the suffix is not that of a picture, or it cannot be written.
    """
    if not panels:
        raise InputError("nothing to draw")
    colours = {name: i for i, name in enumerate(dict.fromkeys(n for *_, of in panels for n in _by_size(of)))}
    figure, axes = subplots(len(panels), PANEL_IN, most=3)
    for ax, (title, measured_s, predicted_s, families) in zip(axes, panels, strict=True):
        names = _by_size(families)
        low = 0.8 * float(min(measured_s.min(), predicted_s.min()))
        high = 1.25 * float(max(measured_s.max(), predicted_s.max()))
        ends = np.array([low, high])
        ax.fill_between(ends, ends * (1 - BAND), ends * (1 + BAND), color=GREY, alpha=0.15, linewidth=0)
        ax.plot(ends, ends, color=INK, linewidth=0.9)
        for edge in (1 - BAND, 1 + BAND):
            ax.plot(ends, ends * edge, color=GREY, linewidth=0.7, linestyle="--")
        size = 14.0 if len(measured_s) < 1000 else 6.0
        for number, name in enumerate(names):
            chosen = np.array([f == name or (name == "others" and f not in names) for f in families])
            colour, marker = SERIES[colours[name] % len(SERIES)], MARKERS[number % len(MARKERS)]
            look: dict[str, Any] = {"s": size, "color": colour, "marker": marker, "alpha": 0.65, "linewidths": 0}
            ax.scatter(
                measured_s[chosen], predicted_s[chosen], label=f"{name} ({int(chosen.sum()):,})", zorder=3, **look
            )
        clean(ax)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(low, high)
        ax.set_ylim(low, high)
        ax.set_aspect("equal")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(EngFormatter(unit="s", sep=" "))
            axis.set_minor_formatter(NullFormatter())
        few_decades(ax)
        ax.set_xlabel("Measured time", fontsize=8.5)
        ax.set_ylabel("Predicted time", fontsize=8.5)
        ax.set_title(title, fontsize=8.5, loc="left", color=INK, wrap=True)
        ax.legend(fontsize=7.5, frameon=False, loc="upper left")
    save(figure, path)
    return figure


def _by_size(families: Sequence[str]) -> list[str]:
    """Return the families to name, largest first, and ``others`` where some are left."""
    counts = {name: list(families).count(name) for name in dict.fromkeys(families)}
    order = sorted(counts, key=lambda name: -counts[name])
    return order if len(order) <= NAMED + 1 else [*order[:NAMED], "others"]
