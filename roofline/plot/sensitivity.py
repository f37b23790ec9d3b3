"""Elasticities as bars: which number of a device the latency hangs on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from roofline.errors import InputError
from roofline.plot.style import BLUE, GREY, INK, VERMILION, canvas, clean, save

if TYPE_CHECKING:
    import pandas as pd

#: what moves the latency less is left out of the picture
VISIBLE = 5e-4
BAR_IN, FRAME_IN = 0.26, 1.1


def plot_sensitivity(table: pd.DataFrame, *, title: str = "", path: str | Path | None = None) -> Figure:
    """Draw the elasticities of `sensitivity`, the strongest on top.

    Parameters
    ----------
    table : DataFrame
        Columns field and elasticity.
    title : str
        What was run.
    path : str or Path, optional
        Also write the picture there (.png, .svg, .pdf).

    Returns
    -------
    Figure
        Bars to the left: more of the field makes the network faster.

    Raises
    ------
    InputError
        Nothing moves the latency, the suffix of `path` is not that of a picture, or it cannot be written.
    """
    rows = table[table["elasticity"].abs() >= VISIBLE]
    if rows.empty:
        raise InputError("no field of the device moves the latency: nothing to draw")
    figure, ax = canvas(None, 7.0, FRAME_IN + BAR_IN * len(rows))
    clean(ax, grid="x")
    values = rows["elasticity"].to_numpy(float)
    places = np.arange(len(rows))
    ax.barh(places, values, height=0.7, color=[BLUE if value < 0 else VERMILION for value in values])
    for place, value in zip(places, values, strict=True):
        beside, side = (-3, "right") if value < 0 else (3, "left")
        offset: dict[str, Any] = {"xytext": (beside, 0), "textcoords": "offset points", "ha": side, "va": "center"}
        ax.annotate(f"{value:+.3f}", (value, place), fontsize=7.5, color=INK, **offset)
    ax.axvline(0.0, color=GREY, linewidth=0.8)
    ax.set_yticks(places, list(rows["field"]))
    ax.invert_yaxis()
    ax.margins(x=0.14)
    ax.set_xlabel("d log latency / d log field", fontsize=8.5)
    ax.set_title(title, fontsize=9.5, loc="left", color=INK)
    save(figure, path)
    return figure
