"""The FLOPs-latency gap: how wrong FLOPs are as a stand-in for latency, device by device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from roofline.engine.options import EachOptions
from roofline.errors import InputError
from roofline.hardware.spec import Device
from roofline.names import family, lookup
from roofline.report.ratios import mean_ratio
from roofline.stats import kendall_tau, spearman
from roofline.studies.compare import check_distinct, check_lists, run_all
from roofline.studies.shown import Shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from roofline.report.report import Report


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FlopsGap(Shown):
    """What `flops_gap` found. Shows itself as its `summary`.

    Attributes
    ----------
    reports
        The runs, device by device; those of a device in the order of the models.
    reference
        Name of the model that ratios refer to.
    """

    reports: tuple[Report, ...]
    reference: str

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per device and model.

        Ratios are to the reference on the same device; ``gap`` is latency_ratio / flops_ratio: 1 where latency grows
        as FLOPs do. ``error_percent`` is by how much the larger of the two ratios exceeds the smaller.
        """
        import pandas as pd

        rows = []
        for runs in self._by_device():
            base = next(run for run in runs if run.model == self.reference)
            for run in runs:
                flops, latency = _flops_per_example(run), run.latency_s / run.batch
                ratio = flops / _flops_per_example(base)
                slower = latency / (base.latency_s / base.batch)
                expected = run.interval
                rows.append(
                    {name: getattr(run, name) for name in ("device", "runtime", "dtype", "batch", "cores", "model")}
                    | {"family": family(run.model)[0], "flops_per_example": flops, "latency_ms": run.latency_ms}
                    | {"expected_low_ms": expected.low_s * 1e3, "expected_high_ms": expected.high_s * 1e3}
                    | {"flops_ratio": ratio, "latency_ratio": slower, "gap": slower / ratio}
                    | {"error_percent": error_percent(slower / ratio), "bound": run.bound}
                    | {"achieved_tflops_per_s": run.achieved_flops_per_s / 1e12}
                )
        return pd.DataFrame(rows)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per device.

        The worst error against the reference and over all pairs of models, with who it is, and rank correlations of
        FLOPs with latency (NaN where one of the two is the same for all models). A measurement of the worst pair is
        expected between worst_pair_low_percent and _high_; unverified facts leave it between worst_pair_facts_low_
        and _high_, most by ``decided_by``.
        """
        import pandas as pd

        rows = []
        reports = {(report.device, report.model): report for report in self.reports}
        for device, group in self.table.groupby("device", sort=False):
            runs = group.to_dict("records")
            first, worst = runs[0], max(runs, key=lambda run: run["error_percent"])
            high, low = (pick(runs, key=lambda run: run["gap"]) for pick in (max, min))
            flops, latency = group["flops_per_example"], group["latency_ms"] / group["batch"]
            achieved = group["achieved_tflops_per_s"]
            rows.append(
                {"device": device, "runtime": first["runtime"], "dtype": first["dtype"], "batch": first["batch"]}
                | {"models": len(group), "reference": self.reference}
                | {"worst_error_percent": worst["error_percent"], "worst_model": worst["model"]}
                | {"worst_pair_error_percent": error_percent(high["gap"] / low["gap"])}
                | {"worst_pair": f"{high['model']} / {low['model']}"}
                | _bounds(*(reports[str(device), run["model"]] for run in (high, low)))
                | {"kendall_tau": kendall_tau(flops, latency), "spearman": spearman(flops, latency)}
                | {"lowest_tflops_per_s": achieved.min(), "highest_tflops_per_s": achieved.max()}
            )
        return pd.DataFrame(rows)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row per device and unordered pair of models: both names, flops_ratio, latency_ratio, gap, error_percent.

        Ratios are of `model` to `other`; the worst pair of a device comes first.
        """
        import pandas as pd

        rows = []
        for device, group in self.table.groupby("device", sort=False):
            for one, two in combinations(group.to_dict("records"), 2):
                ratios = {name: one[name] / two[name] for name in ("flops_ratio", "latency_ratio", "gap")}
                pair = {"device": device, "model": one["model"], "other": two["model"]}
                rows.append(pair | ratios | {"error_percent": error_percent(ratios["gap"])})
        found = pd.DataFrame(rows)
        order = {device: i for i, device in enumerate(self.summary["device"])}
        found = found.iloc[np.lexsort((-found["error_percent"], found["device"].map(order)))]
        return found.reset_index(drop=True)

    def error_bounds(self, device: str) -> tuple[float, float]:
        """Return between which errors a measurement of the worst pair of a device is expected [%]."""
        (row,) = (row for row in self.summary.to_dict("records") if row["device"] == device)
        return float(row["worst_pair_low_percent"]), float(row["worst_pair_high_percent"])

    @property
    def finding(self) -> str:
        """How wrong FLOPs are on each device, where a measurement is expected, and what is not known."""
        lines = []
        for row in self.summary.to_dict("records"):
            low, high = (row[f"worst_pair_{end}_percent"] for end in ("low", "high"))
            facts = [row[f"worst_pair_facts_{end}_percent"] for end in ("low", "high")]
            unverified = f"; unverified facts: {facts[0]:,.0f} to {facts[1]:,.0f} %, most by {row['decided_by']}"
            lines.append(
                f"{row['device']}: FLOPs are wrong by up to {row['worst_pair_error_percent']:,.0f} %"
                f" ({row['worst_pair']}), expected within {low:,.0f} to {high:,.0f} %"
                f"{unverified if row['decided_by'] else ''}; Kendall's tau {row['kendall_tau']:.2f}"
            )
        return "\n".join(lines)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw latency over FLOPs, one panel per device; written to `path` where given."""
        from roofline.plot.gap import plot_gap

        return plot_gap(self._by_device(), path=path)

    def _by_device(self) -> list[list[Report]]:
        found: dict[str, list[Report]] = {}
        for report in self.reports:
            found.setdefault(report.device, []).append(report)
        return list(found.values())

    @property
    def shown(self) -> pd.DataFrame:
        """`summary`."""
        return self.summary


def flops_gap(
    models: Sequence[Any], devices: Any, *, reference: str | None = None, **options: Unpack[EachOptions]
) -> FlopsGap:
    """Measure how far latency departs from FLOPs for some networks on some devices.

    Parameters
    ----------
    models
        Names, files or specs; at least two.
    devices
        The same, one or several.
    reference
        Name of the model to which ratios refer; the first one by default.
    **options
        As `compare`.

    Returns
    -------
    FlopsGap
        `table`, `summary`, `pairs` and `plot`.

    Raises
    ------
    InputError
        Fewer than two models, two of one name, a model without matrix products, or a device without the dtype.
    UnknownNameError
        The reference is not among the models.

    Notes
    -----
    Compare FLOPs and latency per example, so that devices may run different batches. The gap is the inverse ratio of
    achieved FLOP/s, which is what the lines in the picture show (arXiv 2102.05610, section 3).
    """
    devices = [devices] if isinstance(devices, str | Path | Device) else list(devices)
    check_lists(models, devices)
    if len(models) < 2:
        raise InputError(f"a gap is between models: give at least two, got {len(models)}")
    count = len(devices)
    found = run_all(models, devices, **options)
    names = [report.model for report in found[::count]]
    check_distinct(names, "model")
    check_distinct([report.device for report in found[:count]], "device")
    for report in found:
        if not report.macs:
            raise InputError(f"model {report.model!r} has no matrix products: its FLOPs are zero")
    chosen = names[0] if reference is None else lookup(reference, {name: name for name in names}, "reference model")
    return FlopsGap(reports=tuple(r for i in range(count) for r in found[i::count]), reference=chosen)


def error_percent(gap: float) -> float:
    """Return by how much a ratio or its inverse, whichever is larger, exceeds 1 [%].

    Examples
    --------
    >>> error_percent(5.0), error_percent(0.2)
    (400.0, 400.0)
    """
    return float(100.0 * (max(gap, 1.0 / gap) - 1.0))


def proxy_bounds(over: Report, under: Report) -> dict[str, Any]:
    """Return how wrong FLOPs are about a pair whose first network does less of them per second, and how sure that is.

    Returns
    -------
    dict
        error, low, high, facts_low, facts_high [%], decided_by.
    """
    found, flops = mean_ratio([(over, under)]), over.flops / under.flops
    ends = {name: getattr(found, name) / flops for name in ("ratio", "low", "high", "facts_low", "facts_high")}
    percent = {name: 100.0 * (max(1.0, gap) - 1.0) for name, gap in ends.items()}
    return {"error": percent.pop("ratio")} | percent | {"decided_by": found.decided_by}


def _bounds(over: Report, under: Report) -> dict[str, Any]:
    found = proxy_bounds(over, under)
    ends = {f"worst_pair_{name}_percent": found[name] for name in ("low", "high", "facts_low", "facts_high")}
    return ends | {"decided_by": found["decided_by"]}


def _flops_per_example(report: Report) -> float:
    return report.flops / report.batch
