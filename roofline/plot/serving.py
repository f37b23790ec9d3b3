"""The trade of serving: tokens per second of all requests over the time per token of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from roofline.errors import InputError
from roofline.numeric import Array
from roofline.plot.labels import Label, place
from roofline.plot.style import INK, MARKERS, SERIES, canvas, clean, few_decades, save

if TYPE_CHECKING:
    import pandas as pd

#: points of a line that differ by less are one to the eye
COINCIDE = 0.01


def plot_serving(table: pd.DataFrame, *, title: str = "", path: str | Path | None = None) -> Figure:
    """Draw the points of `serving_curve`, a line for each device and prompt, each point with its batch.

    Parameters
    ----------
    table : DataFrame
        Columns device, prompt, batch, steady_tpot_ms, steady_tokens_per_s and fits.
    title : str
        What is served.
    path : str or Path, optional
        Also write the picture there (.png, .svg, .pdf).

    Returns
    -------
    Figure
        Hollow points do not fit into the memory.

    Raises
    ------
    InputError
        Answers are single tokens, the suffix of `path` is not that of a picture, or it cannot be written.
    """
    rows = table.dropna(subset=["steady_tpot_ms"])
    if rows.empty:
        raise InputError("answers of a single token have no time per token: nothing to draw")
    figure, ax = canvas(None, 7.2, 4.6)
    clean(ax)
    ax.set_xscale("log")
    ax.set_yscale("log")
    several = rows["prompt"].nunique() > 1
    notes: list[Label] = []
    for number, ((device, prompt), line) in enumerate(rows.groupby(["device", "prompt"], sort=False)):
        colour, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
        x, y = line["steady_tpot_ms"].to_numpy(float), line["steady_tokens_per_s"].to_numpy(float)
        name = f"{device}, prompts of {prompt:,}" if several else str(device)
        ax.plot(x, y, color=colour, linewidth=1.4, label=name)
        fits = line["fits"].to_numpy(bool)
        for chosen, face in ((fits, colour), (~fits, "white")):
            ax.plot(x[chosen], y[chosen], marker, color=colour, markerfacecolor=face, markersize=5, linestyle="none")
        notes += batches(x, y, line["batch"].to_numpy(int))
    ax.margins(0.08)
    few_decades(ax)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("time per output token of each request [ms]", fontsize=8.5)
    ax.set_ylabel("tokens per second of all requests", fontsize=8.5)
    ax.set_title(f"{title}\nnumbers: requests in flight; hollow: does not fit", fontsize=9, loc="left", color=INK)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    points = np.array([(note.x, note.y) for note in notes])
    place(ax, notes, notes, [points])
    save(figure, path)
    return figure


def batches(x: Array, y: Array, batch: NDArray[np.int64]) -> list[Label]:
    """Return the batches of a line as labels; batches whose points coincide, where requests only wait, share one."""
    apart = [0, *(1 + np.flatnonzero((abs(np.diff(np.log(x))) > COINCIDE) | (abs(np.diff(np.log(y))) > COINCIDE)))]
    ends = [*(start - 1 for start in apart[1:]), len(x) - 1]
    return [
        Label(x=x[i], y=y[i], text=f"{batch[i]:,}" if i == j else f"{batch[i]:,} to {batch[j]:,}")
        for i, j in zip(apart, ends, strict=True)
    ]
