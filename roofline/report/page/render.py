"""A report as one HTML file that fetches nothing, and as a few lines for a notebook."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from roofline.cost.combine import ENGINES
from roofline.errors import InputError
from roofline.plot import plot_roofline
from roofline.plot.protocol import title
from roofline.report.numbers import Run
from roofline.report.page.figures import roofline_figure, waterfall_figure
from roofline.report.page.tables import Column, data_table, definition_table
from roofline.report.provenance import provenance
from roofline.report.summary import heading, summary_rows
from roofline.report.waterfall import WHOLE_RUN, waterfall_frame
from roofline.text import percent, significant

if TYPE_CHECKING:
    import pandas as pd

WHOLE = "whole network"


def _number(key: str, title: str, scale: float = 1.0) -> Column:
    return Column(key=key, title=title, write=significant, scale=scale)


def _whole(key: str, title: str) -> Column:
    return Column(key=key, title=title, write=lambda number: f"{number:,.0f}")


SHARE = Column(key="share", title="share", write=percent, bar=True)
RATES = (
    _number("traffic_bytes", "traffic MB", 1e6),
    _number("intensity_flops_per_byte", "FLOP/B"),
    _number("rate_flops_per_s", "TFLOP/s", 1e12),
)
STAGES = (
    Column(key="stage", title="stage"),
    _whole("count", "kernels"),
    _number("time_s", "time ms", 1e-3),
    SHARE,
    Column(key="bound", title="bound"),
    _number("flops", "GFLOP", 1e9),
    *RATES,
)
KERNELS = (
    _whole("number", "no."),
    Column(key="kernel", title="kernel"),
    Column(key="kind", title="kind"),
    Column(key="bound", title="bound"),
    _whole("count", "runs"),
    _number("time_s", "time µs", 1e-6),
    SHARE,
    *(_number(f"{engine}_time_s", f"{engine} µs", 1e-6) for engine in ENGINES),
    _number("flops", "MFLOP", 1e6),
    *RATES,
    Column(key="efficiency", title="E", write=percent),
    Column(key="ops", title="ops"),
)


ADVICE = (
    Column(key="description", title="change"),
    Column(key="kind", title="kind"),
    Column(key="setting", title="setting"),
    Column(key="latency_ms", title="latency ms", write=significant),
    *(
        Column(key=f"{name}_change", title=title, write=lambda share: f"{100 * share:+.1f} %")
        for name, title in {"latency": "latency", "throughput": "throughput", "macs": "MACs"}.items()
    ),
)
ADVICE_NOTE = (
    "<p>Each line was simulated; they do not add up. <i>free</i> computes the same, <i>precision</i> the same in other "
    "numbers, <i>network</i> is another network, whose accuracy is not predicted.</p>"
)


def page(run: Run, advice: pd.DataFrame | None = None) -> str:
    """Return a report as one HTML file; see `Report.save`.

    Raises
    ------
    InputError
        plotly, whose script draws the figures, is not installed.
    """
    scripts, waterfalls = [plotly_script(), _template("page.js")], _waterfalls(run)
    figures = {"roofline": roofline_figure(run), "waterfalls": [*map(waterfall_figure, waterfalls.values())]}
    kernels = _kernel_rows(run.kernels)
    return Template(_template("page.html")).substitute(
        policy=" ".join(map(_hash, scripts)),
        title=escape(title(run)),
        style=_template("page.css"),
        warnings="".join(f'<p class="warning">{escape(text)}</p>' for text in run.warnings),
        summary=definition_table(summary_rows(run)),
        choices="".join(f"<option>{escape(name)}</option>" for name in waterfalls),
        advice=_advice(advice),
        stages=data_table("stage-table", STAGES, _stage_rows(run.kernels), filtered=False),
        kernel_count=len(kernels),
        kernels=data_table("kernel-table", KERNELS, kernels, filtered=True),
        provenance="".join(
            f"<details><summary>{escape(name)}</summary>{definition_table(rows)}</details>"
            for name, rows in provenance(run).items()
        ),
        figures=_json(figures),
        plotly=scripts[0],
        script=scripts[1],
    )


def notebook_html(run: Run) -> str:
    """Return the summary of a report, and its roofline as a picture, for a notebook."""
    buffer = io.BytesIO()
    plot_roofline(run).savefig(buffer, format="png", dpi=80)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return (
        f"<p><b>{escape(heading(run))}</b></p>{definition_table(summary_rows(run))}"
        f'<img alt="roofline" style="max-width:100%;background:white" src="data:image/png;base64,{picture}">'
    )


@cache
def plotly_script() -> str:
    """Return plotly.js, which the plotly package carries.

    Raises
    ------
    InputError
        The package is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise InputError("an HTML report needs the plotly package: pip install 'roofline[report]'") from None
    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _template(name: str) -> str:
    return files("roofline.report.page").joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Return what the page's own policy allows a script by: no other script runs, whatever a name contains."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """Return JSON that no parser of HTML finds a tag in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _waterfalls(run: Run) -> dict[str, pd.DataFrame]:
    """Return the terms of the whole network, of each stage and of each kind of kernel."""
    found = {"the whole network": waterfall_frame(run)}
    for by in ("stage", "kind"):
        terms = waterfall_frame(run, by)
        for name, of_group in terms.groupby(by, sort=False):
            if name not in ("", WHOLE_RUN):
                found[f"{by} {name}"] = of_group
    return found


def _kernel_rows(kernels: pd.DataFrame) -> list[dict[str, Any]]:
    numbered = kernels.assign(number=range(1, len(kernels) + 1))
    return _records(numbered.assign(rate_flops_per_s=numbered["flops"] / numbered["time_s"]))


def _stage_rows(kernels: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the sums of every stage, in order of execution; its bound is that of most of its time."""
    summed = ["count", "time_s", "share", "flops", "traffic_bytes"]
    stages = kernels.groupby("stage", sort=False)[summed].sum().reset_index()
    times_s = kernels.pivot_table(index="stage", columns="bound", values="time_s", aggfunc="sum", fill_value=0.0)
    traffic = stages["traffic_bytes"].where(stages["traffic_bytes"] > 0)
    return _records(
        stages.assign(
            bound=times_s.idxmax(axis="columns")[stages["stage"]].to_numpy(),
            stage=stages["stage"].replace("", WHOLE),
            intensity_flops_per_byte=stages["flops"] / traffic,
            rate_flops_per_s=stages["flops"] / stages["time_s"],
        )
    )


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _advice(advice: pd.DataFrame | None) -> str:
    if advice is None:
        return "<p>Not asked for. Advice is computed by simulating changed networks, devices and batches.</p>"
    gains = advice[advice["throughput_change"] > 0]
    if gains.empty:
        return "<p>No change that was tried makes it faster.</p>"
    return ADVICE_NOTE + data_table("advice-table", ADVICE, _records(gains), filtered=False)
