"""What a report shows in a browser and in a notebook."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

from roofline.page import Page, render
from roofline.page.tables import definition_table
from roofline.simulate.provenance import provenance
from roofline.simulate.summary import heading, summary_rows
from roofline.simulate.waterfall import WHOLE_RUN

if TYPE_CHECKING:
    import pandas as pd

    from roofline.simulate.report import Report


def page(report: Report, advice: pd.DataFrame | None = None) -> str:
    """Return a report as one HTML file; see `Report.save`."""
    return render(
        Page(
            report=report,
            summary=summary_rows(report),
            waterfalls=_waterfalls(report),
            advice=advice,
            provenance=provenance(report),
            warnings=report.warnings,
        )
    )


def _waterfalls(report: Report) -> dict[str, pd.DataFrame]:
    """Return the terms of the whole network, of each stage and of each kind of kernel."""
    found = {"the whole network": report.waterfall()}
    for by in ("stage", "kind"):
        terms = report.waterfall(by=by)
        for name, of_group in terms.groupby(by, sort=False):
            if name not in ("", WHOLE_RUN):
                found[f"{by} {name}"] = of_group
    return found


def notebook_html(report: Report) -> str:
    """Return the summary of a report, and its roofline as a picture, for a notebook."""
    buffer = io.BytesIO()
    report.plot_roofline().savefig(buffer, format="png", dpi=80)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return (
        f"<p><b>{escape(heading(report))}</b></p>{definition_table(summary_rows(report))}"
        f'<img alt="roofline" style="max-width:100%;background:white" src="data:image/png;base64,{picture}">'
    )
