"""What a simulation says: latency, and the reason for every part of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.cost.combine import BOUNDS
from roofline.files import json_head
from roofline.simulate.columns import Index
from roofline.simulate.numbers import Run

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from roofline.simulate.interval import Interval
    from roofline.simulate.waterfall import By


@dataclass(frozen=True, kw_only=True, eq=False)
class Report(Run):
    """The result of `simulate`: the numbers of a `Run`, the kernels behind them, and pictures of both."""

    # what takes the time ------------------------------------------------------

    @cached_property
    def bound_shares(self) -> dict[str, float]:
        """Share of the latency spent in kernels of each bound; program start and exposed host time are overhead."""
        rows = self.kernel_rows
        weights = (self.lowered.table.kernels.times * self.costs.time_s)[rows]
        time_s = np.bincount(self.costs.bound[rows], weights=weights, minlength=len(BOUNDS))
        time_s[BOUNDS.index("overhead")] += max(0.0, self.latency_s - self.device_s)
        total_s = max(self.latency_s, float(time_s.sum()))  # sums in another order differ in the last bit
        return {name: float(t / total_s) for name, t in zip(BOUNDS, time_s, strict=True)}

    @property
    def bound(self) -> str:
        """What most of the latency is bound by."""
        return max(self.bound_shares, key=lambda name: self.bound_shares[name])

    # memory -------------------------------------------------------------------

    @property
    def memory_capacity_bytes(self) -> float:
        """Capacity of the main memory."""
        return self.machine.device.main_memory.capacity_bytes

    @property
    def fits(self) -> bool:
        """Whether weights and activations fit into the main memory."""
        return self.peak_memory_bytes <= self.memory_capacity_bytes

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader must know before trusting the numbers."""
        if self.fits:
            return ()
        need, have = self.peak_memory_bytes / 2**30, self.memory_capacity_bytes / 2**30
        text = f"{self.model} at batch {self.batch} needs {need:.1f} GiB, {self.device} has {have:.1f} GiB"
        return (f"{text}: it does not fit",)

    @cached_property
    def interval(self) -> Interval:
        """Where a measurement is expected, from networks that the fit of the runtime had not seen."""
        from roofline.simulate.interval import interval

        return interval(self)

    # kernels ------------------------------------------------------------------

    @cached_property
    def _starts(self) -> tuple[Index, Index]:
        block = self.lowered.table.kernels.block
        by_block = np.argsort(block, kind="stable")
        return by_block, np.searchsorted(block[by_block], np.arange(self.lowered.table.block_count + 1))

    @cached_property
    def kernel_rows(self) -> Index:
        """Row of the kernel table for every kernel of the run, in execution order."""
        by_block, start = self._starts
        return np.concatenate([by_block[start[b] : start[b + 1]] for b in self.lowered.order])

    @cached_property
    def kernels(self) -> pd.DataFrame:
        """One row per kernel of the fullest core in execution order; units are in the column names."""
        from roofline.simulate.frame import kernel_frame

        return kernel_frame(self)

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
        from roofline.simulate.waterfall import waterfall_frame

        return waterfall_frame(self, by)

    # output -------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the report without its kernels, ready for JSON."""
        from roofline.simulate.save import as_dict

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
        from roofline.simulate.save import save

        return save(self, Path(path), advice=advice)

    def _repr_html_(self) -> str:
        from roofline.simulate.webpage import notebook_html

        return notebook_html(self)

    def __repr__(self) -> str:
        return f"<Report: {self}>"

    def __str__(self) -> str:
        per_s = format(self.throughput_per_s, ".0f" if self.throughput_per_s >= 100 else ".3g")  # never rounded to 0
        return (
            f"{self.model} on {self.device} ({self.runtime}, {self.dtype}, batch {self.batch}): "
            f"{self.latency_ms:.3f} ms, {per_s} examples/s, {self.bound} bound"
        )
