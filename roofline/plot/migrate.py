"""Migration as bars: what the peak promises, and what each family gets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from roofline.plot.style import FAINT, GREY, INK, SERIES, canvas, clean, save

if TYPE_CHECKING:
    import pandas as pd

#: share of a group's place on the axis that its bars take
FILLED = 0.84
#: inches per bar, and of everything around them
BAR_IN, FRAME_IN, HEIGHT_IN = 0.34, 1.6, 3.9


def plot_migration(families: pd.DataFrame, *, title: str = "", path: str | Path | None = None) -> Figure:
    """Draw the peak ratio and the geometric mean of each family's speed-up, a group of bars per batch.

    Parameters
    ----------
    families : DataFrame
        Columns batch, family, speedup, slowest, fastest, peak_ratio.
    title : str
        What is compared.
    path : str or Path, optional
        Also write the picture there (.png, .svg, .pdf).

    Returns
    -------
    Figure
        Whiskers go from the slowest to the fastest member of a family.

    Raises
    ------
    InputError
        The suffix of `path` is not that of a picture, or it cannot be written.
    """
    batches, names = (list(dict.fromkeys(families[column])) for column in ("batch", "family"))
    series = 1 + len(names)
    width = FILLED / series
    figure, ax = canvas(None, max(5.4, FRAME_IN + BAR_IN * series * len(batches)), HEIGHT_IN)
    clean(ax, grid="y")
    places = np.arange(len(batches)) + (0.5 - series / 2) * width
    peak = float(families["peak_ratio"].iloc[0])
    bars = [("peak ratio", FAINT, np.full(len(batches), peak), None)]
    for number, name in enumerate(names):
        rows = families[families["family"] == name].set_index("batch").loc[batches]
        reach = np.abs(rows[["slowest", "fastest"]].to_numpy().T - rows["speedup"].to_numpy())
        bars.append((str(name), SERIES[number % len(SERIES)], rows["speedup"].to_numpy(), reach))
    top = max(peak, float(families["fastest"].max()))
    for number, (label, colour, heights, reach) in enumerate(bars):
        x = places + number * width
        spread: dict[str, Any] = {"yerr": reach, "ecolor": INK, "capsize": 2, "error_kw": {"linewidth": 0.8}}
        ax.bar(x, heights, width=0.92 * width, color=colour, label=label, **spread)
        ends = heights if reach is None else heights + reach[1]
        for place, height, end in zip(x, heights, ends, strict=True):
            above: dict[str, Any] = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
            ax.annotate(f"{height:.2f}", (place, end), fontsize=7.5, color=INK, **above)
    ax.axhline(1.0, color=GREY, linewidth=0.8)
    ax.set_ylim(0, 1.12 * top)
    ax.set_xticks(np.arange(len(batches)), [f"batch {batch:,}" for batch in batches])
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel("Speed-up", fontsize=8.5)
    ax.set_title(title, fontsize=9, loc="left", color=INK, wrap=True)
    figure.legend(loc="outside lower center", ncols=min(4, series), fontsize=8.5, frameon=False)
    save(figure, path)
    return figure
