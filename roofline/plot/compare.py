"""Networks as points under the roofs of several devices: one panel per device, one line per family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from roofline.errors import InputError
from roofline.names import family
from roofline.plot.labels import Label, place
from roofline.plot.protocol import RunReport
from roofline.plot.roofline import x_limits
from roofline.plot.roofs import draw_roofs
from roofline.plot.style import INK, MARKERS, SERIES, log_log, save, subplots

PANEL_IN = (5.2, 3.9)


def plot_comparison(reports: Sequence[RunReport], *, path: str | Path | None = None) -> Figure:
    """Draw whole networks under the roof of each device they ran on, log-log.

    A point is one run: x = its operational intensity, y = its FLOPs over its latency. Members of a family (names that
    differ in their last part: ``efficientnet-b0``, ``efficientnet-b7``) are joined.

    Parameters
    ----------
    reports : sequence of Report
        The runs.
    path : str or Path, optional
        Also write the picture there (.png, .svg, .pdf).

    Returns
    -------
    Figure
        One panel per device, runtime and precision, in order of appearance.

    Raises
    ------
    InputError
        There is no run, the suffix of `path` is not that of a picture, or it cannot be written.
    """
    if not reports:
        raise InputError("no runs to compare")
    panels: dict[tuple[str, str, str], list[RunReport]] = {}
    for report in reports:
        panels.setdefault((report.device, report.runtime, report.dtype), []).append(report)
    families = list(dict.fromkeys(family(report.model)[0] for report in reports))
    figure, axes = subplots(len(panels), PANEL_IN)
    for ax, runs in zip(axes, panels.values(), strict=True):
        _panel(ax, runs, families)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)), fontsize=8.5, frameon=False)
    save(figure, path)
    return figure


def _panel(ax: Axes, runs: Sequence[RunReport], families: Sequence[str]) -> None:
    """Draw the runs of one device."""
    first = runs[0]
    x = np.array([run.intensity_flops_per_byte for run in runs])
    y = np.array([run.achieved_flops_per_s for run in runs])
    log_log(ax, x_limits(x, first.ridge_flops_per_byte))
    for number, name in enumerate(families):
        chosen = [i for i, run in enumerate(runs) if family(run.model)[0] == name]
        ax.plot(
            x[chosen],
            y[chosen],
            color=SERIES[number % len(SERIES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            linewidth=1,
            label=name,
            zorder=4,
        )
    batches = sorted({run.batch for run in runs})
    ax.set_title(
        f"{first.device}, {first.runtime}, {first.dtype}, batch {', '.join(f'{b:,}' for b in batches)}",
        fontsize=9.5,
        loc="left",
        color=INK,
    )
    ax.set_xlabel("Operational intensity (FLOP / byte)", fontsize=8.5)
    lines = draw_roofs(ax, first, lowest=y, every=False)
    texts = [Label(x=x[i], y=y[i], text=family(run.model)[1], radius_px=4) for i, run in enumerate(runs)]
    place(ax, texts, texts, lines)
