"""Predictions beside published figures: latencies, speed-ups and intensities of EfficientNet and EfficientNet-X.

The figures are in ``published.toml`` beside this file, with their sources. Nothing in the simulator reads them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roofline.hardware.load import device as load_device
from roofline.hardware.spec import Device
from roofline.quantity import SpecFile
from roofline.report.run import request_of, simulate_many
from roofline.specfile import load_spec
from roofline.stats import geometric_mean
from roofline.studies.intensity import naive_intensity
from roofline.studies.migrate import Migration as MigrationStudy
from roofline.studies.migrate import migrate

if TYPE_CHECKING:
    import pandas as pd

#: images per chip at which a migration is simulated: its source gives none
MIGRATION_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
#: how far from a published mean gain a prediction may lie to say that it holds: 1.3 as 1.15 to 1.45
HOLDS = 0.115
#: ALUs of a lane of TPU v5 over those of TPU v4i
WIDER_ALUS = 2.0


class Figures(SpecFile):
    """Some published figures from one source; `recalled` ones were remembered, not read again."""

    source: str
    recalled: bool


class Setup(SpecFile):
    """What a device is simulated with."""

    runtime: str
    dtype: str


class Latency(Figures):
    """Milliseconds for `batch` images: model -> device -> ms."""

    batch: int
    conditions: dict[str, Setup]
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
    """Geometric mean of a family's speed-up from one device to another, and the ratio of their peaks.

    `limit_ms` bounds the latency on the new device, where the batch size is chosen by it.
    """

    before: str
    after: str
    peak_ratio: float
    limit_ms: float
    limit_source: str
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
    for device, setup in figures.conditions.items():
        for family in published().families:
            for size in published().sizes:
                model = f"{family}-{size}"
                known = figures.ms.get(model, {}).get(device, np.nan)
                options = {"runtime": setup.runtime, "dtype": setup.dtype, "batch": figures.batch}
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


def migration_study(batches: tuple[int, ...] = MIGRATION_BATCHES, after: Device | None = None) -> MigrationStudy:
    """Return what moving from TPU v2 to TPU v4i gains, per chip, in each network at each batch size.

    Parameters
    ----------
    after
        In place of TPU v4i.
    """
    figures = published().migration
    models = [f"{family}-{size}" for family in published().families for size in published().sizes]
    return migrate(models, figures.before, after or figures.after, batch=list(batches))


def migrations(batches: tuple[int, ...] = MIGRATION_BATCHES, after: Device | None = None) -> pd.DataFrame:
    """Return the `table` of a `migration_study`: one row per batch and model."""
    return migration_study(batches, after).table


def allowed_batches(table: pd.DataFrame) -> dict[str, int]:
    """Return the batch size of each model that the published limit of latency allows, whatever it gains.

    The largest power of two whose latency on the new device stays under the published limit; the smallest size where
    none does.

    Parameters
    ----------
    table
        What `migrations` returned.
    """
    limit_ms = published().migration.limit_ms
    return {
        str(model): int(rows.loc[rows["after_ms"] < limit_ms, "batch"].max())
        if (rows["after_ms"] < limit_ms).any()
        else int(rows["batch"].min())
        for model, rows in table.groupby("model", sort=False)
    }


def at_batches(table: pd.DataFrame, batches: dict[str, int]) -> pd.DataFrame:
    """Return the rows of `migrations` that have each model's batch size."""
    return table[table["batch"] == table["model"].map(batches)]


def migration_variants() -> dict[str, Device]:
    """Return TPU v4i without what keeps its activations on the chip, and as it is not, by what it is."""
    device = load_device(published().migration.after)
    wide = {"vector.simple_per_clock": device.vector.simple_per_clock * WIDER_ALUS}
    return {
        "without CMEM": device.with_overrides({"cmem.capacity_bytes": 0.0}),
        "what if: the ALUs of a lane of TPU v5, twice as many": device.with_overrides(wide),
    }


def holding_batches(table: pd.DataFrame) -> list[int]:
    """Return the batch sizes at which the mean gain of every family is near the published one."""
    mean = table.groupby(["batch", "family"])["speedup"].agg(geometric_mean).unstack()
    near = [(mean[f] / gain - 1.0).abs() <= HOLDS for f, gain in published().migration.speedup.items()]
    return [int(batch) for batch in mean.index[np.logical_and.reduce(near)]]


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
