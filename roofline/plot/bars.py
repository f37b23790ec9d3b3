"""Bars of time that are read from the top down: a stack of parts for each row, and the time at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from roofline.plot.protocol import RunReport, title
from roofline.plot.style import INK, canvas, clean, save
from roofline.text import percent, shorten, significant

if TYPE_CHECKING:
    import pandas as pd

#: Inches of width, of height per bar, and of height around the bars.
WIDTH_IN, BAR_IN, FRAME_IN = 8.0, 0.3, 1.2
LABEL_LENGTH = 28


def bars(ax: Axes | None, labels: Sequence[object]) -> tuple[Figure, Axes]:
    """Return an empty picture with a labelled row for every bar, the first one on top."""
    figure, ax = canvas(ax, WIDTH_IN, FRAME_IN + BAR_IN * len(labels))
    clean(ax, grid="x")
    ax.set_yticks(range(len(labels)), [shorten(str(label), LABEL_LENGTH) for label in labels])
    ax.invert_yaxis()
    return figure, ax


def stack(ax: Axes, times_ms: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Draw the columns of every row one after the other, and say in the legend which share of the time each has."""
    total_ms = times_ms.to_numpy(float).sum()
    rows = np.arange(len(times_ms))
    start = np.zeros(len(times_ms))
    for part in times_ms:
        width = times_ms[part].to_numpy(float)
        label = f"{part}  {percent(width.sum() / total_ms)}"
        ax.barh(rows, width, left=start, height=0.72, color=colours.get(str(part), INK), label=label)
        start = start + width
    for row, end in enumerate(start):
        note(ax, end, row, significant(end))


def note(ax: Axes, end: float, row: int, text: str) -> None:
    """Write beside the end of a bar."""
    ax.annotate(text, (end, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5, color=INK)


def finish(figure: Figure, ax: Axes, report: RunReport, x_label: str, path: str | Path | None, room: float) -> None:
    """Leave room for the notes (a share of the width), say what the picture shows, and write it to `path`."""
    ax.use_sticky_edges = False  # a bar of no width at the end of a stack would take the room
    ax.margins(x=room, y=0.01)
    ax.set_xlim(left=0.0)
    ax.set_xlabel(x_label)
    ax.set_title(title(report), fontsize=10, loc="left", color=INK)
    save(figure, path)
