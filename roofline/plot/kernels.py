"""Kernel time by stage, as stacked bars: which part of the network is slow, and what holds it up."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from roofline.errors import InputError
from roofline.plot.bars import bars, finish, stack
from roofline.plot.protocol import RunReport
from roofline.plot.style import BOUND_COLOURS, KIND_COLOURS

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
    figure, ax = bars(ax, list(times_ms.index))
    stack(ax, times_ms[parts], COLOURS[by])
    ax.legend(title=f"By {by}", fontsize=8, title_fontsize=8, frameon=False, alignment="left")
    finish(figure, ax, report, "Kernel time (ms)", path, room=0.08)
    return figure
