"""Pictures of a scaled family: accuracy over latency, and the path of depth, width and resolution."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from roofline.numeric import Array
from roofline.plot.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    SERIES,
    SKY,
    VERMILION,
    Picture,
    canvas,
    clean,
    save,
)
from roofline.search.scaling.series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"depth": BLUE, "width": VERMILION, "resolution": GREEN}


def plot_curves(
    members: Series,
    half_width: Array,
    fronts: Mapping[str, tuple[Array, Array]],
    others: Mapping[str, Series],
    *,
    by: str,
    latency: str,
    accuracy: str,
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw predicted accuracy over latency on one device.

    Lines: the networks that nobody beats by latency, and those that nobody beats by FLOPs, at their latency. Points:
    the family's members, with the half-width of their accuracy, and published networks, their accuracy by the same law.
    """
    figure, ax = canvas(ax, 6.6, 4.4)
    most = 1.6 * max(float(s.latency_ms.max()) for s in (members, *others.values()))
    lines = {"latency": ("fastest at each accuracy", SKY, "-"), "flops": ("fewest FLOPs at each accuracy", ORANGE, "-")}
    for name, (x, y) in fronts.items():
        label, colour, style = lines[name]
        ax.plot(x[x <= most], y[x <= most], style, color=colour, linewidth=1.4, label=label, zorder=2)
    title = "scaled by latency" if by == "latency" else "scaled by FLOPs"
    bars: dict[str, Any] = {"yerr": np.where(np.isfinite(half_width), half_width, 0.0), "ecolor": "#BBBBBB"}
    bars |= {"elinewidth": 1, "fmt": "o", "markersize": 5, "color": BLACK}
    ax.errorbar(members.latency_ms, members.accuracy, label=f"{title} (bar: 90 %)", zorder=4, **bars)
    colours = (VERMILION, GREEN, *SERIES[4:])
    for (name, series), colour, marker in zip(others.items(), colours, MARKERS[1:], strict=False):
        ax.plot(series.latency_ms, series.accuracy, marker, color=colour, markersize=5, label=name, zorder=5)
    ax.set_xscale("log")
    _plain_log(ax.xaxis)
    ax.set_xlabel(latency)
    ax.set_ylabel(accuracy, fontsize=8)
    clean(ax)
    ax.legend(fontsize=7.5, frameon=False, loc="lower right")
    save(figure, path)
    return figure


def plot_path(panels: Mapping[str, Series], *, by: str, path: str | Path | None = None) -> Figure:
    """Draw the multiples of depth, width and resolution over the cost, all logarithmic; a panel per family.

    Members are joined; on these axes common coefficients are straight lines, and their slopes are the ratio of
    ln depth : ln width : ln resolution.
    """
    unit = "latency" if by == "latency" else "FLOPs"
    figure = Picture(figsize=(3.3 * len(panels) + 0.6, 3.3))
    axes: Any = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (name, series) in zip(axes, panels.items(), strict=True):
        for (dimension, colour), values in zip(COLOURS.items(), series.scale.T, strict=True):
            ax.plot(series.cost, values, "o-", color=colour, markersize=4, linewidth=1.2, label=dimension)
        ax.set_xscale("log")
        ax.set_yscale("log")
        _plain_log(ax.xaxis)
        _plain_log(ax.yaxis, fine=True)
        ax.set_title(name, fontsize=9, loc="left")
        ax.set_xlabel(f"{unit} over the base's", fontsize=8.5)
        clean(ax)
        ax.axhline(1.0, color=GREY, linewidth=0.8)
    axes[0].set_ylabel("multiple of the base", fontsize=8.5)
    axes[0].legend(fontsize=8, frameon=False, loc="upper left")
    save(figure, path)
    return figure


def _plain_log(axis: Any, *, fine: bool = False) -> None:
    axis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0) if fine else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
