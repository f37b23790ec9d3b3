"""How far a run may be off whose kernels were measured one by one: language models under the libraries of engines.

No network needs to have been measured. The errors of kernels of one kind are taken to be one error, shared by all of
them, so that the bound of single kernels is that of their sum: kernels that err apart make a run safer than this.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from roofline.engine.columns import Index
from roofline.engine.table import KernelTable
from roofline.numeric import Array
from roofline.quantity import SpecFile
from roofline.report.numbers import Run

COVERAGE = 0.9


class KernelInterval(SpecFile):
    """What measured kernels of one kind of library say. Widths are of |log(measured / predicted)|, at `COVERAGE`.

    Attributes
    ----------
    devices
        Of each device whose kernels the fit had seen, under the worst of its runtimes.
    new_device
        Of the worst device that was left out of a fit; None where all kernels are of one device.
    rows
        How many kernels.
    """

    devices: dict[str, float]
    new_device: float | None = None
    rows: int
    source: str


def library_shares(run: Run) -> dict[str, float]:
    """Return the share of the device time in kernels that each kind of library decides; the rest is not listed."""
    rows = run.kernel_rows
    time_s = (run.lowered.table.kernels.times * run.costs.time_s)[rows]
    told = {kind: mark[rows] for kind, mark in _decided(run).items()}
    return {kind: float(time_s[mark > 0].sum() / time_s.sum()) for kind, mark in told.items() if (mark > 0).any()}


def _decided(run: Run) -> dict[str, Array]:
    """Return which kernels each kind of library decides, 1 or 0."""
    table, libraries = run.lowered.table, run.machine.libraries
    found: dict[str, Array] = {}
    if libraries.experts:
        found["experts"] = _marked(table, table.experts.kernel)
    if libraries.attention:
        found["attention"] = _marked(table, table.attentions.kernel)
    others = sum(found.values(), np.zeros(table.kernel_count))
    if libraries.products:
        found["products"] = _marked(table, table.contractions.kernel) * (others == 0)
    return found


def _marked(table: KernelTable, kernels: Index) -> Array:
    marked = np.zeros(table.kernel_count)
    marked[kernels] = 1.0
    return marked


def bounded(run: Run, known: Mapping[str, KernelInterval], unknown: float) -> tuple[float, dict[str, float], list[str]]:
    """Return the half-width that kernels give a run, the shares of time without data, and in what it is unlike them.

    Parameters
    ----------
    unknown
        Half-width of a kind whose kernels were measured on one device only, on another one.
    """
    width = 0.0
    reasons: list[str] = []
    shares = library_shares(run)
    for kind, share in shares.items():
        one = known.get(kind)
        if one is None:
            continue
        seen = one.devices.get(run.device)
        width += share * (seen or one.new_device or unknown)
        if seen is None and not reasons:
            reasons.append(f"no kernel was measured on {run.device}")
    unseen = {"kernels beside those of libraries": 1.0 - sum(shares[kind] for kind in shares if kind in known)}
    return width, unseen, reasons
