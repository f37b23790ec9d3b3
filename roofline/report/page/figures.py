"""Figures of the page as plain data for plotly.js. Colours that follow the theme are named ``@ink``, ``@grey``."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.plot.protocol import RunReport
from roofline.plot.roofline import kernel_points, slow_enough, x_limits
from roofline.plot.roofs import ceilings, slopes
from roofline.plot.style import KIND_COLOURS
from roofline.text import engineering, percent, significant

if TYPE_CHECKING:
    import pandas as pd

#: diameter of a bubble that takes the whole latency, and of the smallest [px]
FULL_PX, LEAST_PX = 110.0, 4.0
#: points along a roof, so that hovering anywhere on it names it
ALONG = 40
#: readable on white and on black
MOVEMENT = "#8a8a8a"


def roofline_figure(report: RunReport) -> dict[str, Any]:
    """Return the roofline of a run: roofs with their names, a bubble per kernel with its figures."""
    points = kernel_points(report)
    shown = slow_enough(points["share"])
    left, right = x_limits(points["x"][shown], report.ridge_flops_per_byte)
    memory = slopes(report)[0]
    lowest = min(points["y"][shown].min(initial=report.peak_flops_per_s), memory.bandwidth_bytes_per_s * left) / 2
    highest = max(top.flops_per_s for top in ceilings(report)) * 3
    bottom = max(lowest, report.peak_flops_per_s * 1e-6)
    return {
        "data": [*_roofs(report, left, right), *_bubbles(report, points)],
        "layout": {
            "xaxis": _log_axis(left, right, "FLOP / byte", "~g"),
            "yaxis": _log_axis(bottom, highest, "FLOP/s (hollow: vector op/s)", "~s"),
            "legend": {"orientation": "h", "y": -0.18, "itemsizing": "constant"},
            "annotations": _labels(report, left, right),
            "height": 520,
        },
    }


def _log_axis(low: float, high: float, words: str, written: str) -> dict[str, Any]:
    """Return a logarithmic axis with a tick per decade, and more where it has less than two."""
    ticks = {"dtick": 1} if high / low >= 100 else {}
    span = np.log10([low, high]).tolist()
    look = {"type": "log", "gridcolor": "@line", "zeroline": False, "linecolor": "@grey", "tickformat": written}
    return look | ticks | {"range": span, "title": {"text": words}}


def _roofs(report: RunReport, left: float, right: float) -> Iterator[dict[str, Any]]:
    peak = report.peak_flops_per_s
    for level in slopes(report):
        x = np.geomspace(left, max(peak / level.bandwidth_bytes_per_s, left * 1.001), ALONG)
        name = f"{level.name} {engineering(level.bandwidth_bytes_per_s, 'B/s')}"
        yield _line(x, x * level.bandwidth_bytes_per_s, name, strong=level.main)
    for top in ceilings(report):
        x = np.geomspace(min(top.flops_per_s / slopes(report)[0].bandwidth_bytes_per_s, right), right, ALONG)
        yield _line(
            x, np.full(ALONG, top.flops_per_s), f"{top.name} {engineering(top.flops_per_s, 'FLOP/s')}", strong=top.used
        )


def _line(x: np.ndarray, y: np.ndarray, name: str, *, strong: bool) -> dict[str, Any]:
    look = {"color": "@ink", "width": 2} if strong else {"color": "@grey", "width": 1, "dash": "dash"}
    line = {"type": "scatter", "mode": "lines", "x": x.tolist(), "y": y.tolist(), "line": look}
    return line | {"name": escape(name), "hovertemplate": f"{escape(name)}<extra></extra>", "showlegend": False}


def _bubbles(report: RunReport, points: dict[str, Any]) -> Iterator[dict[str, Any]]:
    shares = report.kernels.groupby("kind", sort=False)["share"].sum().sort_values(ascending=False)
    for kind, share in shares.items():
        listed = True
        for hollow in (False, True):
            chosen = (points["kind"] == kind) & (points["hollow"] == hollow)
            if not chosen.any():
                continue
            colour = MOVEMENT if kind == "movement" else KIND_COLOURS.get(str(kind), MOVEMENT)
            size = {"size": points["share"][chosen].tolist(), "sizemode": "area", "sizemin": LEAST_PX}
            symbol = "circle-open" if hollow else "circle"
            look = {"color": colour, "opacity": 0.75, "symbol": symbol, "line": {"width": 1.5 if hollow else 0.5}}
            yield {
                "type": "scatter",
                "mode": "markers",
                "name": escape(f"{kind} {percent(float(share))}"),
                "legendgroup": escape(str(kind)),
                "showlegend": listed,
                **{axis: points[axis][chosen].tolist() for axis in "xy"},
                "text": [_hover(report, points, int(i)) for i in np.flatnonzero(chosen)],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": size | {"sizeref": 2.0 / FULL_PX**2} | look,
            }
            listed = False


def _hover(report: RunReport, points: dict[str, Any], i: int) -> str:
    unit, intensity = ("op/s", "op/byte") if points["hollow"][i] else ("FLOP/s", "FLOP/byte")
    share = float(points["share"][i])
    lines = (
        str(points["name"][i]),
        f"{points['kind'][i]}, {points['bound'][i]} bound",
        f"{percent(share)} of the latency, {engineering(share * report.latency_s, 's')}",
        f"{significant(float(points['x'][i]))} {intensity}, {engineering(float(points['y'][i]), unit)}",
    )
    return "<br>".join(map(escape, lines))


def _labels(report: RunReport, left: float, right: float) -> list[dict[str, Any]]:
    """Return the names of the two roofs that hold for the run; the others say theirs when pointed at."""
    peak, memory = report.peak_flops_per_s, slopes(report)[0]
    look = {"showarrow": False, "font": {"size": 11, "color": "@ink"}, "bgcolor": "@paper", "opacity": 0.85}
    look["yanchor"] = "bottom"

    def label(x: float, y: float, text: str, **place: Any) -> dict[str, Any]:
        return look | {"x": float(np.log10(x)), "y": float(np.log10(y)), "text": escape(text)} | place

    start, rate = left * 1.15, memory.bandwidth_bytes_per_s
    return [
        label(right, peak, f"{report.dtype} {engineering(peak, 'FLOP/s')}", xanchor="right"),
        label(start, start * rate, f"{memory.name} {engineering(rate, 'B/s')}", xanchor="left", yshift=14),
    ]


def waterfall_figure(terms: pd.DataFrame) -> dict[str, Any]:
    """Return the terms of a latency as a waterfall that ends in their sum; columns ``term`` and ``time_s``."""
    names = [*terms["term"], "total"]
    times_ms = [*(terms["time_s"] * 1e3), 0.0]
    total_s = float(terms["time_s"].sum())
    shown = [*terms["time_s"], total_s]
    colours = {"increasing": "#D55E00", "decreasing": "#009E73", "totals": "#0072B2"}
    span = {"rangemode": "tozero", "range": [0, total_s * 1e3 * 1.35]}
    bars = {
        "type": "waterfall",
        "orientation": "h",
        "y": [escape(str(name)) for name in names],
        "x": times_ms,
        "measure": ["relative"] * len(terms) + ["total"],
        "text": [f"{engineering(s, 's')}, {percent(s / total_s if total_s else 0.0)}" for s in shown],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y}: %{text}<extra></extra>",
        **{kind: {"marker": {"color": colour}} for kind, colour in colours.items()},
        "connector": {"line": {"color": "@grey", "width": 1}},
    }
    layout = {
        "xaxis": {"title": {"text": "ms"}, "gridcolor": "@line", "zeroline": False} | span,
        "yaxis": {"autorange": "reversed", "automargin": True},
    }
    return {"data": [bars], "layout": layout | {"showlegend": False, "height": 120 + 30 * len(names)}}
