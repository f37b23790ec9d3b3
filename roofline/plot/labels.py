"""Labels that a reader can read: each near its point, none on another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from roofline.plot.style import GREY, HALO, INK
from roofline.text import printable

#: Distances from the rim of the bubble that are tried, in pixels at the figure's dpi / 100.
DISTANCES = (5.0, 14.0, 28.0, 46.0, 70.0, 100.0)
DIRECTIONS = 16
#: What a pixel of overlap costs, against one pixel of distance.
ON_BUBBLE, ON_LINE = 0.5, 4.0


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text for the point (x, y) in data coordinates, whose bubble has the given radius in pixels."""

    x: float
    y: float
    text: str
    radius_px: float = 3.0


def place(
    ax: Axes, labels: Sequence[Label], obstacles: Sequence[Label], lines: Sequence[np.ndarray], size: float = 7.5
) -> list[Annotation]:
    """Write `labels`, the most important first, where they cover neither each other nor, if possible, anything else.

    Parameters
    ----------
    ax : Axes
        Its limits are final.
    labels : sequence of Label
        What to write; one that finds no free place at all is left out.
    obstacles : sequence of Label
        Bubbles to keep clear.
    lines : sequence of array (n, 2)
        Points in data coordinates that should stay visible.
    size : float
        Font size in points.

    Returns
    -------
    list of Annotation
        The labels that were written.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    unit = figure.dpi / 100
    inside = ax.get_window_extent()
    discs = np.array([(*ax.transData.transform((o.x, o.y)), o.radius_px) for o in obstacles]).reshape(-1, 3)
    marks = np.concatenate([ax.transData.transform(line) for line in lines]) if lines else np.zeros((0, 2))
    taken = [text.get_window_extent() for text in ax.texts if text.get_visible()]
    written = []
    for label in labels:
        note = ax.annotate(
            printable(label.text),
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=size,
            color=INK,
            linespacing=1.1,
            ha="left",
            va="bottom",
            zorder=6,
            parse_math=False,
            path_effects=[HALO],
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0},
        )
        note.set_in_layout(False)
        text_box = Text.get_window_extent(note)
        anchor = ax.transData.transform((label.x, label.y))
        best = _best(label, anchor, text_box.width, text_box.height, unit, inside, taken, discs, marks)
        if best is None:
            note.remove()
            continue
        corner, spot = best
        points = 72 / figure.dpi  # offsets in points hold at whatever resolution the picture is saved
        note.xyann = ((corner[0] - anchor[0]) * points, (corner[1] - anchor[1]) * points)
        taken.append(spot)
        written.append(note)
    return written


def _best(
    label: Label,
    anchor: np.ndarray,
    width: float,
    height: float,
    unit: float,
    inside: Bbox,
    taken: Sequence[Bbox],
    discs: np.ndarray,
    marks: np.ndarray,
) -> tuple[tuple[float, float], Bbox] | None:
    """Return the lower left corner and the box of the cheapest free place, or None."""
    best: tuple[float, tuple[float, float], Bbox] | None = None
    for distance in DISTANCES:
        reach = label.radius_px + distance * unit
        for step in range(DIRECTIONS):
            angle = 2 * math.pi * step / DIRECTIONS + math.pi / 4
            dx, dy = math.cos(angle), math.sin(angle)
            # the box touches the circle of that radius with the side or corner that faces the point
            left = anchor[0] + dx * reach - width * (1 - dx) / 2
            bottom = anchor[1] + dy * reach - height * (1 - dy) / 2
            spot = Bbox.from_bounds(left, bottom, width, height)
            if left < inside.x0 or bottom < inside.y0 or spot.x1 > inside.x1 or spot.y1 > inside.y1:
                continue
            if any(spot.padded(2 * unit).overlaps(other) for other in taken):
                continue
            price = distance * unit + _covered(spot, discs, marks)
            if best is None or price < best[0]:
                best = (price, (left, bottom), spot)
    return None if best is None else best[1:]


def _covered(spot: Bbox, discs: np.ndarray, marks: np.ndarray) -> float:
    """Return the price of the bubbles and lines under a box."""
    nearest_x = np.clip(discs[:, 0], spot.x0, spot.x1)
    nearest_y = np.clip(discs[:, 1], spot.y0, spot.y1)
    depth = discs[:, 2] - np.hypot(discs[:, 0] - nearest_x, discs[:, 1] - nearest_y)
    on_line = (marks[:, 0] > spot.x0) & (marks[:, 0] < spot.x1) & (marks[:, 1] > spot.y0) & (marks[:, 1] < spot.y1)
    return ON_BUBBLE * float(np.sum(np.maximum(depth, 0) ** 2)) + ON_LINE * float(np.sum(on_line))
