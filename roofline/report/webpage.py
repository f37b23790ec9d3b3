"""What a report shows in a browser and in a notebook."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

from roofline.plot import plot_roofline
from roofline.report.numbers import Run
from roofline.report.page import Page, render
from roofline.report.page.tables import definition_table
from roofline.report.provenance import provenance
from roofline.report.summary import heading, summary_rows
from roofline.report.waterfall import WHOLE_RUN, waterfall_frame

if TYPE_CHECKING:
    import pandas as pd


def page(run: Run, advice: pd.DataFrame | None = None) -> str:
    """Return a report as one HTML file; see `Report.save`."""
    return render(
        Page(
            report=run,
            summary=summary_rows(run),
            waterfalls=_waterfalls(run),
            advice=advice,
            provenance=provenance(run),
            warnings=run.warnings,
        )
    )


def _waterfalls(run: Run) -> dict[str, pd.DataFrame]:
    """Return the terms of the whole network, of each stage and of each kind of kernel."""
    found = {"the whole network": waterfall_frame(run)}
    for by in ("stage", "kind"):
        terms = waterfall_frame(run, by)
        for name, of_group in terms.groupby(by, sort=False):
            if name not in ("", WHOLE_RUN):
                found[f"{by} {name}"] = of_group
    return found


def notebook_html(run: Run) -> str:
    """Return the summary of a report, and its roofline as a picture, for a notebook."""
    buffer = io.BytesIO()
    plot_roofline(run).savefig(buffer, format="png", dpi=80)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return (
        f"<p><b>{escape(heading(run))}</b></p>{definition_table(summary_rows(run))}"
        f'<img alt="roofline" style="max-width:100%;background:white" src="data:image/png;base64,{picture}">'
    )
