"""Where the latency goes: a step for every term between ideal compute and what the run takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from roofline.plot.bars import bars, finish, note, stack
from roofline.plot.protocol import By, WaterfallReport
from roofline.plot.style import (
    BLUE,
    CHARCOAL,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
)
from roofline.text import percent, significant

if TYPE_CHECKING:
    import pandas as pd

TERM_COLOURS = {
    "ideal compute": BLUE,
    "tile padding": SKY,
    "weight load and fill": YELLOW,
    "vector contention": ORANGE,
    "exposed memory": GREEN,
    "layout padding": PURPLE,
    "achieved rates": VERMILION,
    "imperfect overlap": GREY,
    "kernel floor": INK,
    "host": CHARCOAL,
}
TOTAL = "latency"


def plot_waterfall(
    report: WaterfallReport,
    *,
    by: By | None = None,
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw how the terms add up to the latency; with `by`, as one stacked bar per stage, block, kind or kernel.

    Parameters
    ----------
    report : Report
        The run.
    by : {"stage", "block", "kind", "kernel"}, optional
        What a bar stands for; the whole run, step by step, otherwise.
    ax : Axes, optional
        Where to draw; a new figure otherwise.
    path : str or Path, optional
        Also write the picture there (.png, .svg, .pdf).

    Returns
    -------
    Figure
        The figure that was drawn on.

    Raises
    ------
    InputError
        `by` is none of these, the suffix of `path` is not that of a picture, or it cannot be written.
    """
    terms = report.waterfall(by)
    terms = terms.assign(time_ms=terms["time_s"] * 1e3)
    figure, ax = _steps(terms, ax) if by is None else _bars(terms, by, ax)
    finish(figure, ax, report, "Time (ms)", path, room=0.18 if by is None else 0.08)
    return figure


def _steps(terms: pd.DataFrame, ax: Axes | None) -> tuple[Figure, Axes]:
    """Draw every term from where the one before ends, and the latency below them."""
    names = [*terms["term"], TOTAL]
    widths = np.array([*terms["time_ms"], terms["time_ms"].sum()])
    starts = np.array([0.0, *np.cumsum(widths[:-2]), 0.0])
    rows = np.arange(len(names))
    figure, ax = bars(ax, names)
    ax.barh(rows, widths, left=starts, height=0.66, color=[TERM_COLOURS.get(str(name), FAINT) for name in names])
    ends = starts + widths
    ax.vlines(ends[:-1], rows[:-1] + 0.33, rows[:-1] + 0.67, color=GREY, linewidth=0.8)
    for row, (end, width) in enumerate(zip(ends, widths, strict=True)):
        share = f"   {percent(width / widths[-1])}" if row < len(names) - 1 else ""
        note(ax, end, row, f"{significant(width)}{share}")
    return figure, ax


def _bars(terms: pd.DataFrame, by: str, ax: Axes | None) -> tuple[Figure, Axes]:
    """Draw a stacked bar for every group, in execution order."""
    group = terms.groupby("term", sort=False).cumcount()  # kernels of one name stay apart
    times_ms = terms.assign(group=group).pivot(index="group", columns="term", values="time_ms")
    labels = terms[by].iloc[:: len(times_ms.columns)].tolist()
    figure, ax = bars(ax, labels)
    stack(ax, times_ms[list(terms["term"].unique())], TERM_COLOURS)
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure, ax
