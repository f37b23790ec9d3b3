"""Predictions beside published figures: latencies, speed-ups and intensities of EfficientNet and EfficientNet-X.

The figures are in ``published.toml`` beside this file, with their sources. Nothing in the simulator reads them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.analysis.intensity import naive_intensity
from roofline.analysis.migrate import migrate
from roofline.quantity import SpecFile
from roofline.simulate.run import request_of, simulate_many
from roofline.specfile import load_spec

if TYPE_CHECKING:
    import pandas as pd

#: images per chip at which a migration is simulated: its source gives none
MIGRATION_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Figures(SpecFile):
    """Some published figures from one source; `recalled` ones were remembered, not read again."""

    source: str
    recalled: bool


class Condition(SpecFile):
    """What a device is simulated with."""

    runtime: str
    dtype: str


class Latency(Figures):
    """Milliseconds for `batch` images: model -> device -> ms."""

    batch: int
    conditions: dict[str, Condition]
    ms: dict[str, dict[str, float]]


class Intensity(Figures):
    """Operational intensity of a model [FLOP/byte]."""

    batch: int
    dtype: str
    flops_per_byte: dict[str, float]


class Speedup(Figures):
    """Mean speed-up of the second family over the first, by device, and the ratio of their FLOPs."""

    mean: dict[str, float]
    flops_ratio: float


class Proxy(Figures):
    """How wrong FLOPs may be as a stand-in for latency, at most [%]."""

    error_percent: float


class Migration(Figures):
    """Geometric mean of a family's speed-up from one device to another, and the ratio of their peaks."""

    before: str
    after: str
    peak_ratio: float
    speedup: dict[str, float]


class PublishedFile(SpecFile):
    """``published.toml``."""

    families: dict[str, str]
    sizes: tuple[str, ...]
    sources: dict[str, str]
    latency: Latency
    intensity: Intensity
    speedup: Speedup
    proxy: Proxy
    migration: Migration


@lru_cache(maxsize=1)
def published() -> PublishedFile:
    """Return the published figures."""
    return load_spec(Path(__file__).with_suffix(".toml"), PublishedFile)


def latencies() -> pd.DataFrame:
    """Predict every size of both families on the devices of the published latencies.

    Returns
    -------
    DataFrame
        One row per device and model: model, family, size, device, runtime, dtype, batch, published_ms (NaN where nobody
        published one), predicted_ms, ratio = predicted / published, bound, source, recalled.
    """
    import pandas as pd

    figures = published().latency
    requests, rows = [], []
    for device, condition in figures.conditions.items():
        for family in published().families:
            for size in published().sizes:
                model = f"{family}-{size}"
                known = figures.ms.get(model, {}).get(device, np.nan)
                options = {"runtime": condition.runtime, "dtype": condition.dtype, "batch": figures.batch}
                rows.append({"model": model, "family": family, "size": size, "device": device, "published_ms": known})
                requests.append(request_of(model=model, device=device, **options))
    for row, report in zip(rows, simulate_many(requests), strict=True):
        row |= {"runtime": report.runtime, "dtype": report.dtype, "batch": report.batch, "bound": report.bound}
        row |= {"predicted_ms": report.latency_ms, "source": figures.source, "recalled": figures.recalled}
    table = pd.DataFrame(rows)
    table["ratio"] = table["predicted_ms"] / table["published_ms"]
    columns = "model family size device runtime dtype batch published_ms predicted_ms ratio bound source recalled"
    return table[columns.split()]


def speedups(table: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return how much faster EfficientNet-X is than EfficientNet, size by size.

    Parameters
    ----------
    table
        What `latencies` returned; computed where it is not given.

    Returns
    -------
    DataFrame
        One row per device and size: device, size, published, predicted (ratios of latencies; NaN where one is not
        published).
    """
    import pandas as pd

    table = latencies() if table is None else table
    slow, fast = published().families
    wide = table.pivot(index=["device", "size"], columns="family", values=["published_ms", "predicted_ms"])
    found = {name: wide[f"{name}_ms"][slow] / wide[f"{name}_ms"][fast] for name in ("published", "predicted")}
    order = list(dict.fromkeys(zip(table["device"], table["size"], strict=True)))
    return pd.DataFrame(found).loc[order].reset_index()


def migrations(batches: tuple[int, ...] = MIGRATION_BATCHES) -> pd.DataFrame:
    """Return what moving from TPU v2 to TPU v4i gains, per chip, in each network at each batch size.

    Returns
    -------
    DataFrame
        One row per batch and model: batch, model, family, before_ms, after_ms, speedup, fits (on both devices).
    """
    figures = published().migration
    models = [f"{family}-{size}" for family in published().families for size in published().sizes]
    table = migrate(models, figures.before, figures.after, batch=batches).table
    return table[["batch", "model", "family", "before_ms", "after_ms", "speedup", "fits"]]


def intensities() -> pd.DataFrame:
    """Return naive intensities beside the published ones: model, published, naive (FLOP/byte), ratio."""
    import pandas as pd

    figures = published().intensity
    rows = [
        {"model": model, "published": known, "naive": naive_intensity(model, figures.batch, figures.dtype)}
        for model, known in figures.flops_per_byte.items()
    ]
    table = pd.DataFrame(rows)
    table["ratio"] = table["naive"] / table["published"]
    return table


def geometric_mean(values: Any) -> float:
    """Return the geometric mean of positive numbers, NaN left out.

    Examples
    --------
    >>> geometric_mean([1.0, 4.0, float("nan")])
    2.0
    """
    known = np.asarray(values, dtype=np.float64)
    return float(np.exp(np.mean(np.log(known[~np.isnan(known)]))))
