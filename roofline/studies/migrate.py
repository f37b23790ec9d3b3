"""What moving networks from one device to another gains, and which part of the hardware's promise that is."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from roofline.engine.options import MigrationOptions
from roofline.errors import InputError
from roofline.hardware.load import device as load_device
from roofline.names import family
from roofline.report.ratios import mean_ratio
from roofline.studies.compare import check_distinct, run_all
from roofline.studies.shown import Shown
from roofline.text import counted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from roofline.report.report import Report

#: relative difference up to which two peaks are the same: a share of less growth says nothing
SAME_PEAK = 0.1


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Migration(Shown):
    """What `migrate` found. Shows itself as its `families`.

    Attributes
    ----------
    runs
        (before, after) of every network at every batch size.
    """

    runs: tuple[tuple[Report, Report], ...]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per batch and model.

        ``speedup`` is before_ms / after_ms; a measured one is expected within speedup_low and speedup_high: what both
        sides get wrong in the same way cancels. Unverified facts of the two devices leave it between facts_low and
        facts_high, most by ``decided_by``. ``fits`` says whether the network fits into both memories.
        """
        import pandas as pd

        rows = [
            {"batch": before.batch, "model": before.model, "family": family(before.model)[0]}
            | {"before_ms": before.latency_ms, "after_ms": after.latency_ms}
            | speedup_of([(before, after)])
            | {"before_bound": before.bound, "after_bound": after.bound, "fits": before.fits and after.fits}
            for before, after in self.runs
        ]
        return pd.DataFrame(rows)

    @cached_property
    def families(self) -> pd.DataFrame:
        """One row per batch and family: geometric means of the speed-ups of its members, and what the peak promises.

        ``peak_share`` is log(speedup) / log(peak_ratio): 0 where nothing is gained, 1 where all of the peak is, and
        additive over migrations in a row; NaN where the peaks are about equal.
        """
        import pandas as pd

        rows = []
        for (batch, name), group in self.table.groupby(["batch", "family"], sort=False):
            means = speedup_of([self.runs[i] for i in group.index])
            spread = {"slowest": group["speedup"].min(), "fastest": group["speedup"].max()}
            promise = {"peak_ratio": self.peak_ratio, "bandwidth_ratio": self.bandwidth_ratio}
            share = {"peak_share": peak_share(means["speedup"], self.peak_ratio), "fits": bool(group["fits"].all())}
            rows.append({"batch": batch, "family": name, "members": len(group)} | means | spread | promise | share)
        return pd.DataFrame(rows)

    @property
    def peak_ratio(self) -> float:
        """Matrix peak of the new device over that of the old one, each in the dtype and with the cores that it runs."""
        before, after = self.runs[0]
        return after.peak_flops_per_s * _running(after) / (before.peak_flops_per_s * _running(before))

    @property
    def bandwidth_ratio(self) -> float:
        """Nominal bandwidth of the new main memory over that of the old one, of each the part of the cores that run."""
        before, after = self.runs[0]
        return after.bandwidth_bytes_per_s * _running(after) / (before.bandwidth_bytes_per_s * _running(before))

    @property
    def conditions(self) -> str:
        """Devices, runtimes, precisions and cores of both sides, in one line."""
        return " -> ".join(f"{r.device} ({r.runtime}, {r.dtype}, {counted(r.cores, 'core')})" for r in self.runs[0])

    @property
    def finding(self) -> str:
        """What each family gains at each batch size, where a measurement is expected, and what is not known."""
        return "\n".join(
            f"batch {row['batch']:,}: {row['family']} x{row['speedup']:.2f} of a peak of x{row['peak_ratio']:.2f},"
            f" expected within x{row['speedup_low']:.2f} to x{row['speedup_high']:.2f}{_facts(row)}"
            for row in self.families.to_dict("records")
        )

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw peak ratio and speed-up of each family as bars, a group per batch; written to `path` where given."""
        from roofline.plot.migrate import plot_migration

        return plot_migration(self.families, title=self.conditions, path=path)

    @property
    def shown(self) -> pd.DataFrame:
        """`families`."""
        return self.families


def migrate(models: Sequence[Any], before: Any, after: Any, **options: Unpack[MigrationOptions]) -> Migration:
    """Predict what moving networks from one device to another gains.

    Parameters
    ----------
    models
        Names, files or specs.
    before, after
        Any two devices, hypothetical ones included.
    **options
        As `compare`; but the batch, examples per run and chip, is one size or several to sweep over.

    Returns
    -------
    Migration
        `table`, `families`, ratios of peak and bandwidth, and `plot`.

    Raises
    ------
    InputError
        No model, no batch size, one or a device given twice, or a device without the dtype.
    """
    shared: dict[str, Any] = {**options}
    batch = shared.pop("batch", 1)
    if isinstance(batch, Mapping):
        raise InputError("batch is the same on both sides of a migration; give one size or a list of them")
    batches = list(batch) if isinstance(batch, Collection) and not isinstance(batch, str) else [batch]
    if not batches:
        raise InputError("give at least one batch size")
    check_distinct(batches, "batch size")
    old, new = load_device(before), load_device(after)
    if old.name == new.name:
        raise InputError(f"a migration is between two devices, got {old.name!r} twice")
    runs: list[tuple[Report, Report]] = []
    for size in batches:
        found = run_all(models, [old, new], batch=size, **shared)
        check_distinct([report.model for report in found[::2]], "model")
        runs += zip(found[::2], found[1::2], strict=True)
    return Migration(runs=tuple(runs))


def speedup_of(runs: Sequence[tuple[Report, Report]]) -> dict[str, Any]:
    """Return the geometric mean of the speed-ups of (before, after) and how sure it is; see `Migration.table`."""
    found = mean_ratio(runs)
    return {
        "speedup": found.ratio,
        "speedup_low": found.low,
        "speedup_high": found.high,
        "facts_low": found.facts_low,
        "facts_high": found.facts_high,
        "decided_by": found.decided_by,
    }


def _facts(row: Mapping[Any, Any]) -> str:
    """Return what unverified facts do to a speed-up, where it is worth a word."""
    if not row["decided_by"]:
        return ""
    return f"; unverified facts: x{row['facts_low']:.2f} to x{row['facts_high']:.2f}, most by {row['decided_by']}"


def _running(report: Report) -> float:
    """Return the share of the cores of a chip that a run was given; each has an equal part of everything."""
    return report.cores / report.device_spec.cores


def peak_share(speedup: float, peak_ratio: float) -> float:
    """Return which part of the growth of the peak a speed-up is: log(speedup) / log(peak_ratio).

    NaN where the peaks are within `SAME_PEAK` of each other: there is no growth to have a part of.

    Examples
    --------
    >>> peak_share(3.0, 9.0), peak_share(1.0, 9.0), peak_share(1.5, 1.02)
    (0.5, 0.0, nan)
    """
    growth = math.log(peak_ratio)
    return math.log(speedup) / growth if abs(growth) > math.log1p(SAME_PEAK) else math.nan
