"""The mean speed-up of hardware designs as tables in colour: array size over bandwidth, a panel per on-chip memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from roofline.plot.style import INK, Picture, save
from roofline.text import gibibytes

if TYPE_CHECKING:
    import pandas as pd

PANEL_IN = (3.4, 3.0)


def plot_codesign(designs: pd.DataFrame, *, title: str = "", path: str | Path | None = None) -> Figure:
    """Draw the geometric mean of the speed-ups of every design.

    Parameters
    ----------
    designs : DataFrame
        Columns array, bandwidth_factor, on_chip_bytes, speedup.
    title : str
        What the speed-up is relative to.
    path : str or Path, optional
        Also write the picture there (.png, .svg, .pdf).

    Returns
    -------
    Figure
        One panel per on-chip memory.

    Raises
    ------
    InputError
        The suffix of `path` is not that of a picture, or it cannot be written.
    """
    panels = sorted(set(designs["on_chip_bytes"]))
    figure = Picture(figsize=(PANEL_IN[0] * len(panels) + 0.9, PANEL_IN[1]))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    low, high = float(designs["speedup"].min()), float(designs["speedup"].max())
    for ax, capacity in zip(axes, panels, strict=True):
        grid = designs[designs["on_chip_bytes"] == capacity].pivot(
            index="array", columns="bandwidth_factor", values="speedup"
        )
        values = grid.to_numpy(float)
        image = ax.imshow(values, vmin=low, vmax=high, cmap="viridis", aspect="auto", origin="lower")
        for (row, column), value in np.ndenumerate(values):
            light = (value - low) < 0.6 * (high - low)
            ax.text(
                column, row, f"{value:.2f}", ha="center", va="center", fontsize=8.5, color="white" if light else INK
            )
        ax.set_xticks(range(len(grid.columns)), [f"×{factor:g}" for factor in grid.columns])
        ax.set_yticks(range(len(grid.index)), [f"{array:g}" for array in grid.index])
        ax.tick_params(labelsize=8, length=0)
        ax.set_xlabel("Bandwidth of the main memory", fontsize=8.5)
        ax.set_title(f"on chip: {_size(capacity)}", fontsize=8.5, loc="left", color=INK)
    axes[0].set_ylabel("Rows and columns of an array", fontsize=8.5)
    bar = figure.colorbar(image, ax=list(axes), pad=0.01, aspect=30)
    bar.set_label(f"Speed-up over {title}", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    save(figure, path)
    return figure


def _size(size_bytes: float) -> str:
    if not size_bytes:
        return "nothing"
    return gibibytes(size_bytes) if size_bytes >= 2**30 else f"{size_bytes / 2**20:,.0f} MiB"
