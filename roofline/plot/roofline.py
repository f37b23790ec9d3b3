"""The roofline of one run: where each kernel stands under the roofs of its device, and how much time it takes there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from roofline.plot.labels import Label, place
from roofline.plot.protocol import RunReport, title
from roofline.plot.roofs import draw_roofs
from roofline.plot.style import GREY, INK, KIND_COLOURS, canvas, log_log, save
from roofline.repeats import merge_repeats
from roofline.text import percent, shorten

#: Area in square points of a bubble that takes the whole latency, and of the smallest that is drawn.
FULL_AREA, LEAST_AREA = 9000.0, 4.0
LABELS = 6
#: Points nearer to each other than this ratio are one bubble.
SAME_PLACE = 0.02
#: The limits of the axes hold the slowest kernels that make up this share of the time; tiny ones may lie outside.
SHOWN_SHARE = 0.995


def plot_roofline(
    report: RunReport, *, ax: Axes | None = None, path: str | Path | None = None, labels: int = LABELS
) -> Figure:
    """Draw the kernels of a run under the roofs of its device, log-log.

    A bubble is a kernel, or all kernels of one kind that would hide behind it: x = operational intensity (FLOP per byte
    across kernel boundaries), y = achieved rate (FLOP/s), area = share of the latency, colour = kind. A kernel without
    a matrix operation has no FLOPs of that kind; it stands hollow at its vector operations per byte and per second. A
    kernel that computes nothing (copies) has no place on the axes; its share of the time is written in the legend.
    Roofs are those of the chip; kernels run on all busy cores at once: an idle core shows as distance from the roof.

    Parameters
    ----------
    report : Report
        The run.
    ax : Axes, optional
        Where to draw; a new figure otherwise.
    path : str or Path, optional
        Also write the picture there (.png, .svg, .pdf).
    labels : int
        How many of the slowest kernels are named.

    Returns
    -------
    Figure
        The figure that was drawn on.

    Raises
    ------
    InputError
        The suffix of `path` is not that of a picture, or it cannot be written.
    """
    figure, ax = canvas(ax, 9.5, 6.0)
    points = kernel_points(report)
    shown = slow_enough(points["share"])
    log_log(ax, x_limits(points["x"][shown], report.ridge_flops_per_byte))
    _legend(ax, report)
    ax.set_xlabel("Operational intensity (FLOP / byte across kernel boundaries)")
    ax.set_ylabel("Performance (FLOP/s; hollow: vector operations/s)")
    ax.set_title(title(report), fontsize=10, loc="left", color=INK)
    lines = draw_roofs(ax, report, lowest=points["y"][shown])
    _say_what_is_outside(ax, points)

    area = np.maximum(points["share"] * FULL_AREA, LEAST_AREA)
    colours = np.array([KIND_COLOURS.get(kind, INK) for kind in points["kind"]], dtype=object)
    for hollow in (False, True):
        chosen = points["hollow"] == hollow
        if not chosen.any():
            continue
        ax.scatter(
            points["x"][chosen],
            points["y"][chosen],
            s=area[chosen],
            c="none" if hollow else list(colours[chosen]),
            edgecolors=list(colours[chosen]) if hollow else "white",
            alpha=0.85 if hollow else 0.7,
            linewidths=1.2 if hollow else 0.5,
            zorder=4,
        )

    radius = np.sqrt(area / np.pi) * figure.dpi / 72
    bubbles = [Label(x=x, y=y, text="", radius_px=r) for x, y, r in zip(points["x"], points["y"], radius, strict=True)]
    texts = [
        Label(
            x=points["x"][i],
            y=points["y"][i],
            text=f"{points['name'][i]}\n{percent(points['share'][i])}, {points['bound'][i]} bound",
            radius_px=radius[i],
        )
        for i in range(min(labels, len(points["x"])))
    ]
    place(ax, texts, bubbles, lines)
    save(figure, path)
    return figure


def kernel_points(report: RunReport) -> dict[str, Any]:
    """Return the coordinates of the kernels that compute something, as arrays, the slowest first.

    Kernels of one kind whose coordinates agree to 2 % are one point: the name of the slowest, the sum of the shares.

    Returns
    -------
    dict
        ``x`` (operations per byte), ``y`` (operations per second of the chip), ``share`` (of the latency),
        ``hollow`` (vector operations only), ``kind``, ``bound``, ``name``.
    """
    import pandas as pd

    kernels = merge_repeats(report.kernels).sort_values("share", ascending=False, kind="stable")
    busy_cores = report.device_spec.cores - report.idle_cores
    hollow = kernels["flops"] <= 0
    operations = kernels["flops"].where(~hollow, kernels["vector_ops"])
    drawn = (operations > 0) & (kernels["traffic_bytes"] > 0) & (kernels["time_s"] > 0)
    points = pd.DataFrame(
        {
            "x": operations / kernels["traffic_bytes"],
            "y": operations * busy_cores / kernels["time_s"],
            "share": kernels["share"],
            "hollow": hollow,
            "kind": kernels["kind"],
            "bound": kernels["bound"],
            "name": kernels["kernel"],
        }
    )[drawn]
    near = [np.round(np.log(points[axis].to_numpy(float)) / SAME_PLACE) for axis in ("x", "y")]
    groups = points.groupby(["kind", "hollow", *near], sort=False)
    merged = groups.first()
    merged["share"] = groups["share"].sum()
    more = groups.size() - 1
    merged["name"] = merged["name"].map(shorten) + np.where(more > 0, " and " + more.astype(str) + " more", "")
    merged = merged.reset_index(level=["kind", "hollow"]).sort_values("share", ascending=False, kind="stable")
    return {str(name): merged[name].to_numpy() for name in points}


def slow_enough(share: np.ndarray) -> np.ndarray:
    """Return a mask of the slowest kernels that make up nearly all of the time."""
    order = np.argsort(-share, kind="stable")
    before = np.cumsum(share[order]) - share[order]
    mask = np.zeros(len(share), dtype=bool)
    mask[order[before < SHOWN_SHARE * share.sum()]] = True
    return mask


def x_limits(intensities: np.ndarray, ridge_flops_per_byte: float) -> tuple[float, float]:
    """Return limits that show every kernel and the ridge with some roof on either side."""
    everything = np.append(intensities, ridge_flops_per_byte)
    return float(everything.min()) / 2, max(float(everything.max()) * 2, ridge_flops_per_byte * 6)


def _say_what_is_outside(ax: Axes, points: dict[str, Any]) -> None:
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    x, y = points["x"], points["y"]
    outside = (x < left) | (x > right) | (y < bottom) | (y > top)
    if outside.any():
        text = f"outside the axes: {percent(points['share'][outside].sum())} of the latency"
        ax.annotate(text, (0.995, 0.01), xycoords="axes fraction", ha="right", va="bottom", fontsize=7.5, color=GREY)


def _legend(ax: Axes, report: RunReport) -> None:
    """List the kinds with their share of the latency, the slowest first, and say what is not on the axes."""
    shares = report.kernels.groupby("kind", sort=False)["share"].sum().sort_values(ascending=False)
    handles = [
        Line2D(
            [], [], marker="o", linestyle="", color=KIND_COLOURS.get(str(kind), INK), label=f"{kind}  {percent(share)}"
        )
        for kind, share in shares.items()
    ]
    handles.append(
        Line2D([], [], marker="o", linestyle="", color="none", markeredgecolor=INK, label="hollow: vector operations")
    )
    ax.legend(
        handles=handles,
        title="Share of latency\n(area of bubbles)",
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        fontsize=8,
        title_fontsize=8,
        frameon=False,
        alignment="left",
    )
