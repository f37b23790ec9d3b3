"""How every picture looks: a colour-blind-safe palette, sizes, and figures that belong to no window."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter, FixedFormatter, FuncFormatter, LogFormatter, LogLocator, NullFormatter

from roofline.cost.combine import ENGINES
from roofline.errors import InputError
from roofline.files import PICTURES, atomic
from roofline.text import printable

#: Okabe and Ito, "Color Universal Design", jfly.uni-koeln.de/color, 2008
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, BLACK = "#56B4E9", "#CC79A7", "#F0E442", "#000000"
INK, GREY, FAINT = "#222222", "#777777", "#DDDDDD"
CHARCOAL = "#404040"

KIND_COLOURS = {
    "conv": BLUE,
    "depthwise": ORANGE,
    "matmul": SKY,
    "attention": PURPLE,
    "pointwise": GREEN,
    "reduction": VERMILION,
    "pool": YELLOW,
    "movement": CHARCOAL,
}
BOUND_COLOURS = dict(zip(ENGINES, (BLUE, ORANGE, GREEN, VERMILION), strict=False)) | {"overhead": CHARCOAL}
SERIES = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK, YELLOW)
MARKERS = "osD^vP*X"
#: Keeps a label readable where it crosses a line or a bubble.
HALO = withStroke(linewidth=2.2, foreground="white")


class Picture(Figure):
    """A figure outside pyplot's state: nothing to close, safe in threads, shown by notebooks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, layout="constrained", **kwargs)
        FigureCanvasAgg(self)

    def draw(self, renderer: Any) -> None:
        """Draw everything, see `literal`."""
        literal(self)
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def canvas(ax: Axes | None, width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """Return `ax` and its figure, or new ones of that size in inches."""
    if ax is None:
        figure: Figure = Picture(figsize=(width_in, height_in))
        return figure, figure.add_subplot()
    figure = ax.figure if isinstance(ax.figure, Figure) else ax.figure.figure
    return figure, ax


def subplots(
    count: int, size_in: tuple[float, float], most: int = 2, below_in: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` panels of that size in inches, at most `most` in a row, with room below them."""
    columns = min(most, count)
    rows = math.ceil(count / columns)
    figure = Picture(figsize=(size_in[0] * columns, size_in[1] * rows + below_in))
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, axes[:count]


def literal(figure: Figure) -> None:
    """Have names drawn as they are written: ``$`` begins no formula, and what cannot be shown is escaped."""
    powers = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, FixedFormatter):
            formatter.seq = [printable(str(name)) for name in formatter.seq]
        elif isinstance(formatter, LogFormatter):  # it writes formulas
            powers |= {id(label) for label in (*axis.get_ticklabels(), *axis.get_ticklabels(minor=True))}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and id(text) not in powers:
            text.set_parse_math(False)
            text.set_text(printable(text.get_text()))


def save(figure: Figure, path: str | Path | None) -> None:
    """Write `figure` to `path`, whole or not at all; None writes nothing.

    Raises
    ------
    InputError
        The suffix is not that of a picture, or the file cannot be written.
    """
    if path is None:
        return
    if Path(path).suffix.lower() not in PICTURES:
        raise InputError(f"cannot draw {str(path)!r}; allowed: {', '.join(PICTURES)}")
    literal(figure)
    # equal pictures are equal files: no date, and names inside an SVG that follow from what it shows
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(Path(path).suffix.lower())
    with atomic(path) as temporary, rc_context({"svg.hashsalt": "roofline"}):
        figure.savefig(temporary, dpi=160, metadata=undated)


def clean(ax: Axes, grid: str = "both") -> None:
    """Take away the frame and lay a faint grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(colors=INK, labelsize=8)
    ax.set_axisbelow(True)
    ax.grid(True, axis=grid, color=FAINT, linewidth=0.6)  # type: ignore[arg-type]


def log_log(ax: Axes, x_limits: tuple[float, float], y_unit: str = "FLOP/s") -> None:
    """Make both axes logarithmic, with plain numbers below and SI prefixes on the left, also within one decade."""
    clean(ax)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(*x_limits)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_major_formatter(EngFormatter(unit=y_unit, sep=" "))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())


def few_decades(ax: Axes) -> None:
    """Put ticks at 1, 2, 5 where the final limits leave fewer than two decades."""
    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        if high / low < 300:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
