"""What is known about how far predictions are off: published figures beside ours, and the shipped intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roofline.report.interval import UNSEEN_FACTOR, known_intervals
from roofline.stats import geometric_mean
from roofline.studies import published

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: the middle of the ratios that a finding quotes
MIDDLE = (0.05, 0.95)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Tables of predictions beside what others measured.

    Attributes
    ----------
    intervals
        One row per runtime that networks were measured under: a measurement is expected within `factor` of the
        prediction, either way, with `coverage`; `new_device_factor` on devices that no fit saw; `covered`, the share of
        left-out networks that were inside; sets, where networks come from few places and no coverage can be promised;
        rows, families, devices, dtypes.
    latencies
        One row per published latency: model, device, published_ms, predicted_ms, ratio = predicted / published.
    speedups
        Of EfficientNet-X over EfficientNet, by device and size: published, predicted (ratios of latencies).
    migrations
        Of each family from one device to another, geometric means: published, predicted at batches that keep a limit of
        latency (`roofline.studies.published.allowed_batches`), of its slowest and fastest member, ratio of the peaks.
    """

    intervals: pd.DataFrame
    latencies: pd.DataFrame
    speedups: pd.DataFrame
    migrations: pd.DataFrame

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw predicted over published latency, a panel per device; written to `path` where given."""
        from roofline.plot.accuracy import plot_accuracy

        panels = [
            (
                f"{device}, batch {rows['batch'].iloc[0]}",
                rows["published_ms"].to_numpy() * 1e-3,
                rows["predicted_ms"].to_numpy() * 1e-3,
                list(rows["family"]),
            )
            for device, rows in self.latencies.groupby("device", sort=False)
        ]
        return plot_accuracy(panels, path=path)

    def _repr_html_(self) -> str:
        return self.intervals.to_html(index=False, float_format="{:,.3g}".format)

    def __str__(self) -> str:
        ratio = self.latencies["ratio"]
        low, high = ratio.quantile(list(MIDDLE))
        lines = [
            f"{len(ratio)} published latencies: predicted / published has median {ratio.median():.2f}, "
            f"9 in 10 lie between {low:.2f} and {high:.2f}."
        ]
        for row in self.intervals.to_dict("records"):
            told = (
                f"9 in 10 of {row['sets']} lie" if row["sets"] else "9 in 10 of families that the fit had not seen lie"
            )
            lines.append(
                f"{row['rows']} measured networks under {row['runtime']}: {told} within a factor of {row['factor']:.2f}"
                + ("; nothing is promised of another set." if row["sets"] else ".")
            )
        lines.append(f"Under every other runtime the interval is a factor of {UNSEEN_FACTOR:.1f}, and says why.")
        return "\n".join(lines)


def evidence() -> Evidence:
    """Return what is known about the error of predictions, computed now from the shipped figures.

    Examples
    --------
    >>> found = evidence()
    >>> set(found.latencies["device"]) == {"tpu-v3", "v100"}
    True
    """
    table = published.latencies()
    known = table.dropna(subset="published_ms").reset_index(drop=True)
    speedups = published.speedups(table).dropna().reset_index(drop=True)
    return Evidence(
        intervals=_intervals(),
        latencies=known,
        speedups=speedups.assign(ratio=speedups["predicted"] / speedups["published"]),
        migrations=_migrations(),
    )


def _intervals() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "runtime": name,
                "coverage": known.coverage,
                "factor": math.exp(known.half_width),
                "new_device_factor": np.nan if known.new_device is None else math.exp(known.new_device),
                "covered": known.covered,
                "sets": ", ".join(f"{name} ({score.rows})" for name, score in known.sets.items()),
                "rows": known.rows,
                "families": ", ".join(known.families),
                "devices": ", ".join(known.devices),
                "dtypes": ", ".join(known.dtypes),
            }
            for name, known in known_intervals().items()
        ]
    )


def _migrations() -> pd.DataFrame:
    import pandas as pd

    figures, moves = published.published().migration, published.migrations()
    chosen = published.at_batches(moves, published.allowed_batches(moves))
    rows = []
    for family, said in figures.speedup.items():
        gains = chosen.loc[chosen["family"] == family, "speedup"]
        rows.append(
            {"family": family, "before": figures.before, "after": figures.after, "peak_ratio": figures.peak_ratio}
            | {"published": said, "predicted": geometric_mean(gains), "slowest": gains.min(), "fastest": gains.max()}
        )
    return pd.DataFrame(rows)
