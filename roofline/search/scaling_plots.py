"""Pictures of a scaled family: accuracy over latency, and the path of depth, width and resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

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
from roofline.search.scaling import ScaledFamily
from roofline.search.scaling_report import fronts
from roofline.search.scaling_series import Series, own, published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"depth": BLUE, "width": VERMILION, "resolution": GREEN}


def plot_curves(
    family: ScaledFamily,
    *,
    device: int = 0,
    beside: Sequence[str] | Mapping[str, Sequence[str]] = (),
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw predicted accuracy over latency on one device.

    Lines: the networks that nobody beats by latency, and those that nobody beats by FLOPs, at their latency. Points:
    the family's members, with the half-width of their accuracy, and published networks, their accuracy by the same law.
    """
    figure, ax = canvas(ax, 6.6, 4.4)
    grid, answer = family.grid, family.answer
    latency_ms, accuracy = grid.latency_s[:, device] * 1e3, answer.prediction.mean
    shown = np.array([p.row for p in answer.picks])
    others = {name: published(family, members, device) for name, members in named(beside).items()}
    most = 1.6 * max([float(latency_ms[shown].max()), *(float(o.latency_ms.max()) for o in others.values())])
    lines = {"latency": ("fastest at each accuracy", SKY, "-"), "flops": ("fewest FLOPs at each accuracy", ORANGE, "-")}
    for name, rows in fronts(family, device).items():
        label, colour, style = lines[name]
        rows = rows[latency_ms[rows] <= most]
        ax.plot(latency_ms[rows], accuracy[rows], style, color=colour, linewidth=1.4, label=label, zorder=2)
    title = "scaled by latency" if family.objective == "latency" else "scaled by FLOPs"
    width = answer.prediction.half_width[shown]
    ax.errorbar(
        latency_ms[shown], accuracy[shown], yerr=np.where(np.isfinite(width), width, 0.0), fmt="o", color=BLACK,
        ecolor="#BBBBBB", elinewidth=1, markersize=5, label=f"{title} (bar: 90 %)", zorder=4,
    )  # fmt: skip
    colours = (VERMILION, GREEN, *SERIES[4:])
    for (name, found), colour, marker in zip(others.items(), colours, MARKERS[1:], strict=False):
        ax.plot(found.latency_ms, found.accuracy, marker, color=colour, markersize=5, label=name, zorder=5)
    ax.set_xscale("log")
    _plain_log(ax.xaxis)
    ax.set_xlabel(f"latency on {family.devices[device]}, batch {grid.oracle.targets[device].batch} [ms]")
    ax.set_ylabel(f"predicted top-1 [%]\n{answer.accuracy.name}, {answer.accuracy.recipe}", fontsize=8)
    clean(ax)
    ax.legend(fontsize=7.5, frameon=False, loc="lower right")
    save(figure, path)
    return figure


def plot_path(
    family: ScaledFamily,
    *,
    beside: Sequence[str] | Mapping[str, Sequence[str]] = (),
    path: str | Path | None = None,
) -> Figure:
    """Draw the multiples of depth, width and resolution over the cost, all logarithmic; a panel per family.

    Members are joined; on these axes common coefficients are straight lines, and their slopes are the ratio of
    ln depth : ln width : ln resolution.
    """
    panels: dict[str, Series] = {_title(family): own(family)}
    panels |= {name: published(family, members) for name, members in named(beside).items()}
    unit = "latency" if family.objective == "latency" else "FLOPs"
    figure = Picture(figsize=(3.3 * len(panels) + 0.6, 3.3))
    axes: Any = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (name, found) in zip(axes, panels.items(), strict=True):
        for (dimension, colour), values in zip(COLOURS.items(), found.scale.T, strict=True):
            ax.plot(found.cost, values, "o-", color=colour, markersize=4, linewidth=1.2, label=dimension)
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


def _title(family: ScaledFamily) -> str:
    return f"by {'latency on ' + ' and '.join(family.devices) if family.objective == 'latency' else 'FLOPs'}"


def named(beside: Sequence[str] | Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return networks by the family that their names begin with, unless families are named."""
    if isinstance(beside, Mapping):
        return {name: list(members) for name, members in beside.items()}
    found: dict[str, list[str]] = {}
    for name in beside:
        found.setdefault(name.rpartition("-")[0] or name, []).append(name)
    return found


def _plain_log(axis: Any, *, fine: bool = False) -> None:
    axis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0) if fine else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
