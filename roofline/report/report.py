"""What a simulation says, and how it is shown: everything that is read from the numbers of a run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline.files import json_head
from roofline.report.interval import Interval, interval
from roofline.report.numbers import Run
from roofline.report.save import as_dict, save
from roofline.report.waterfall import waterfall_frame

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from roofline.plot.protocol import By


@dataclass(frozen=True, kw_only=True, eq=False)
class Report(Run):
    """The result of `simulate`: the numbers of a `Run`, what explains them, and how all of it is shown and saved."""

    @cached_property
    def interval(self) -> Interval:
        """Where a measurement is expected, from networks that the fit of the runtime had not seen."""
        return interval(self)

    def waterfall(self, by: By | None = None) -> pd.DataFrame:
        """Return where the latency goes, from ideal compute upwards; the terms add up to `latency_s`.

        Parameters
        ----------
        by : {"stage", "block", "kind", "kernel"}, optional
            One set of terms for each of these, in execution order; the host's time stands under ``(run)``.

        Returns
        -------
        DataFrame
            term, time_s, share (of the latency), led by the column named in `by`.

        Raises
        ------
        InputError
            `by` is none of these.
        """
        return waterfall_frame(self, by)

    # output -------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the report without its kernels, ready for JSON."""
        return json_head() | as_dict(self)

    def plot_roofline(self, path: str | Path | None = None) -> Figure:
        """Draw the roofline: roofs per memory level, kernels as bubbles; written to `path` where given."""
        from roofline.plot import plot_roofline

        return plot_roofline(self, path=path)

    def plot_kernels(self, path: str | Path | None = None) -> Figure:
        """Draw kernel time by stage; written to `path` where given."""
        from roofline.plot import plot_kernels

        return plot_kernels(self, path=path)

    def plot_waterfall(self, path: str | Path | None = None, *, by: By | None = None) -> Figure:
        """Draw how the latency adds up, of the run or of each stage, block, kind or kernel; see `waterfall`."""
        from roofline.plot import plot_waterfall

        return plot_waterfall(self, by=by, path=path)

    def save(self, path: str | Path, *, advice: pd.DataFrame | None = None) -> Path:
        """Write the report in the format that the suffix names.

        ``*.html`` is a page for a browser with everything inside, ``*.csv`` the kernels, ``*.json`` the report with its
        kernels, ``*.png``, ``*.svg`` and ``*.pdf`` the roofline; ``trace.json`` and ``*.trace.json`` a timeline for
        Perfetto and chrome://tracing.

        Parameters
        ----------
        path : str or Path
            An existing file is replaced.
        advice : DataFrame, optional
            For a page: what would make the run faster, as `roofline.advise` returns it.

        Raises
        ------
        InputError
            Another suffix, or a place that cannot be written.
        """
        return save(self, Path(path), advice=advice)

    def _repr_html_(self) -> str:
        from roofline.report.page.render import notebook_html

        return notebook_html(self)

    def __repr__(self) -> str:
        return f"<Report: {self}>"

    def __str__(self) -> str:
        rate, unit = (self.throughput_per_s, "examples") if self.tokens_per_s is None else (self.tokens_per_s, "tokens")
        per_s = format(rate, ".0f" if rate >= 100 else ".3g")  # never rounded to 0
        step = "" if self.step is None else f", {self.asked}"
        return (
            f"{self.model} on {self.device} ({self.runtime}, {self.dtype}, batch {self.batch}{step}): "
            f"{self.latency_ms:.3f} ms, {per_s} {unit}/s, {self.bound} bound"
        )
