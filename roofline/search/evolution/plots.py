"""Pictures of a search: how it converged, and what it found, with the band in which accuracy cannot tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.plot.style import BLACK, BLUE, GREEN, GREY, SERIES, SKY, VERMILION, canvas, clean, save
from roofline.search.evolution.result import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_convergence(result: SearchResult, *, ax: Axes | None = None, path: str | Path | None = None) -> Figure:
    """Draw the best reward over evaluations, and what the baselines reached with as many."""
    figure, ax = canvas(ax, 6.0, 3.6)
    points = [(n, value) for n, value in result.curve if value > -1e20]
    if points:
        spent, best = np.array([*points, (result.evaluations, points[-1][1])]).T
        ax.step(spent, best, where="post", color=BLUE, label=f"{result.method}, seed {result.seed}")
    for (name, candidate), colour in zip(result.baselines.items(), (VERMILION, GREEN, BLACK), strict=False):
        if candidate.violation[0] <= 0:
            ax.axhline(float(candidate.fitness[0]), color=colour, linestyle="--", linewidth=1, label=name)
    ax.set_xscale("log")
    ax.set_xlabel("evaluations")
    ax.set_ylabel("best reward")
    clean(ax)
    if ax.get_legend_handles_labels()[0]:  # none where every candidate exceeds a hard limit
        ax.legend(fontsize=8, frameon=False)
    save(figure, path)
    return figure


def plot_pareto(result: SearchResult, *, device: int = 0, ax: Axes | None = None, path: Any = None) -> Figure:
    """Draw accuracy over latency: the archive with its half-width as a band, the best, and the baselines' best."""
    figure, ax = canvas(ax, 6.0, 4.0)
    accuracy = result.objective.accuracy
    archive = result.best if result.archive is None else result.archive
    order = np.argsort(archive.latency_s[:, device])
    x, y, width = archive.latency_s[order, device] * 1e3, archive.accuracy[order], archive.half_width[order]
    if accuracy.kind == "accuracy" and np.isfinite(width).all():
        ax.fill_between(x, y - width, y + width, color=SKY, alpha=0.25, linewidth=0, label="half-width (90 %)")
    inside = archive.in_domain[order]
    if result.feasible:
        ax.plot(x, y, ".", color=BLUE, markersize=4, label="nobody beats these")
    lines = {"soft target": (result.objective.soft_targets_s, ":"), "hard limit": (result.objective.hard_limits_s, "-")}
    for what, (wanted, style) in lines.items():
        if wanted is not None and np.isfinite(wanted[device]):
            ax.axvline(wanted[device] * 1e3, color=GREY, linestyle=style, linewidth=1, label=what)
    if accuracy.kind == "accuracy" and not inside.all():
        ax.plot(x[~inside], y[~inside], "x", color=GREY, markersize=5, label="out of domain")
    marks = {"best" if result.feasible else "closest, over a hard limit": result.best, **result.baselines}
    for (name, candidate), colour in zip(marks.items(), (BLACK, VERMILION, *SERIES[2:]), strict=False):
        ax.plot(
            candidate.latency_s[0, device] * 1e3, candidate.accuracy[0], "*", color=colour, markersize=10, label=name
        )
    ax.set_xlabel(f"latency on {result.objective.oracle.devices[device]} [ms]")
    unit = "score" if accuracy.kind == "score" else f"top-1 [%], {accuracy.recipe}"
    ax.set_ylabel(f"{accuracy.name}\n{unit}", fontsize=8)
    clean(ax)
    ax.legend(fontsize=8, frameon=False)
    save(figure, path)
    return figure
