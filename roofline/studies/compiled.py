"""What XLA's own compiler estimates beside the published figures: a witness without hardware, and no measurement.

The ratios are in ``compiled.toml`` beside this file, with their source. Nothing in the simulator reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roofline.quantity import SpecFile
from roofline.specfile import load_spec
from roofline.stats import geometric_mean
from roofline.studies.migrate import migrate
from roofline.studies.published import published

if TYPE_CHECKING:
    import pandas as pd

#: the estimate that predictions are compared with where both are there: it has no guess of how engines overlap
COMPARED = "bundles"


class CompiledFile(SpecFile):
    """``compiled.toml``: ratios of latencies by estimate; of speed-ups by device and size, of migrations by batch."""

    source: str
    estimates: dict[str, str]
    speedup: dict[str, dict[str, dict[str, float]]]
    migration: dict[str, dict[int, dict[str, float]]]


@lru_cache(maxsize=1)
def compiled() -> CompiledFile:
    """Return the estimates of the compiler."""
    return load_spec(Path(__file__).with_suffix(".toml"), CompiledFile)


def mean_estimates(ratios: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the geometric mean of some ratios by estimate, each over those that have it; none where none has."""
    found = list(ratios)
    return {
        name: geometric_mean([ratio[name] for ratio in found if name in ratio])
        for name in compiled().estimates
        if any(name in ratio for ratio in found)
    }


def compiled_migrations() -> pd.DataFrame:
    """Return what moving from TPU v2 to TPU v4i gains wherever the compiler has been asked.

    Returns
    -------
    DataFrame
        One row per network and images per chip: model, family, batch, predicted, facts_low, facts_high (between which
        unverified facts leave the prediction), and a column per estimate.
    """
    import pandas as pd

    figures, rows = published().migration, []
    for model, batches in compiled().migration.items():
        moved = migrate([model], figures.before, figures.after, batch=list(batches)).table
        for row, told in zip(moved.to_dict("records"), batches.values(), strict=True):
            ours = {"predicted": row["speedup"], "facts_low": row["facts_low"], "facts_high": row["facts_high"]}
            rows.append({name: row[name] for name in ("model", "family", "batch")} | ours | told)
    return pd.DataFrame(rows)


def median_distance(table: pd.DataFrame) -> float:
    """Return the median of |predicted / estimated - 1| of what `compiled_migrations` returned."""
    return float(np.median(np.abs(table["predicted"] / table[COMPARED] - 1.0)))
