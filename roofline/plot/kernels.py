"""Kernel time by stage, as stacked bars: which part of the network is slow, and what holds it up."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from roofline.errors import InputError
from roofline.plot.protocol import RunReport, title
from roofline.plot.style import BOUND_COLOURS, INK, KIND_COLOURS, canvas, clean, save
from roofline.text import percent, shorten, significant

#: Inches of height per bar, and of everything around the bars.
BAR_IN, FRAME_IN = 0.28, 1.5
COLOURS = {"bound": BOUND_COLOURS, "kind": KIND_COLOURS}


def plot_kernels(
    report: RunReport,
    *,
    by: Literal["bound", "kind"] = "bound",
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw the kernel time of every stage as one bar, in execution order, split by bound or by kind.

    Parameters
    ----------
    report : Report
        The run.
    by : {"bound", "kind"}
        What the colours mean: what limits a kernel, or what kind of operation it is.
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
        `by` is neither of the two, the suffix of `path` is not that of a picture, or it cannot be written.
    """
    if by not in COLOURS:
        raise InputError(f"cannot split kernel time by {by!r}; allowed: 'bound', 'kind'")
    table = report.kernels.assign(time_ms=report.kernels["time_s"] * 1e3)
    times_ms = table.pivot_table(index="stage", columns=by, values="time_ms", aggfunc="sum", fill_value=0.0, sort=False)
    parts = [name for name in COLOURS[by] if name in times_ms]
    parts += [str(name) for name in times_ms if name not in parts]
    figure, ax = canvas(ax, 8.0, FRAME_IN + BAR_IN * len(times_ms))
    clean(ax, grid="x")
    rows = np.arange(len(times_ms))
    start = np.zeros(len(times_ms))
    for part in parts:
        width = times_ms[part].to_numpy(float)
        total = width.sum() / times_ms.to_numpy(float).sum()
        ax.barh(
            rows, width, left=start, height=0.72, color=COLOURS[by].get(part, INK), label=f"{part}  {percent(total)}"
        )
        start = start + width
    for row, total_ms in zip(rows, start, strict=True):
        ax.annotate(
            significant(total_ms),
            (total_ms, row),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=INK,
        )
    ax.set_yticks(rows, [shorten(str(stage), 28) for stage in times_ms.index])
    ax.invert_yaxis()
    ax.margins(x=0.08, y=0.01)
    ax.set_xlabel("Kernel time (ms)")
    ax.set_title(title(report), fontsize=10, loc="left", color=INK)
    ax.legend(title=f"By {by}", fontsize=8, title_fontsize=8, frameon=False, alignment="left")
    save(figure, path)
    return figure
