"""The published headline numbers of EfficientNet-X beside ours, each with what it was predicted under."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from roofline.errors import InputError
from roofline.hardware.load import device as load_device
from roofline.stats import geometric_mean
from roofline.studies.gap import FlopsGap, flops_gap
from roofline.studies.migrate import SPEEDUPS
from roofline.studies.published import allowed_batches, at_batches, migrations, published
from roofline.studies.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

TOPICS = ("gap", "migration")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Headlines(Shown):
    """What `headlines` found. Shows itself as its `table`.

    Attributes
    ----------
    table
        One row per figure: figure, published, predicted, low, high, conditions. The ends take the expected interval of
        one latency at its low and of the other at its high end; errors that both share would cancel, so that these are
        bounds. NaN where there is nothing to be wrong about.
    """

    table: pd.DataFrame

    @property
    def shown(self) -> pd.DataFrame:
        """`table`."""
        return self.table


def headlines(topic: str) -> Headlines:
    """Return published headline figures beside predictions.

    Parameters
    ----------
    topic
        ``"gap"``: EfficientNet-X over EfficientNet, and the error of FLOPs as a proxy; ``"migration"``: TPU v2 to v4i.

    Returns
    -------
    Headlines
        `table` with a row per figure.

    Raises
    ------
    InputError
        Another topic.
    """
    import pandas as pd

    if topic not in TOPICS:
        raise InputError(f"no headlines on {topic!r}; allowed: {', '.join(map(repr, TOPICS))}")
    return Headlines(table=pd.DataFrame(_gap_rows() if topic == "gap" else _migration_rows()))


def _families() -> tuple[list[str], list[str]]:
    """Return the members of both families, size by size."""
    slow, fast = published().families
    return [f"{slow}-{size}" for size in published().sizes], [f"{fast}-{size}" for size in published().sizes]


def _gap_rows() -> list[dict[str, Any]]:
    data, (slow, fast) = published(), _families()
    found = {
        device: flops_gap([*slow, *fast], [device], batch=data.latency.batch, runtime=how.runtime, dtype=how.dtype)
        for device, how in data.latency.conditions.items()
    }
    rows = []
    for device, gap in found.items():
        runs = {run["model"]: run for run in gap.table.to_dict("records")}
        pairs = [(runs[a], runs[b]) for a, b in zip(slow, fast, strict=True)]
        rows.append(
            _row(
                f"mean speed-up of EfficientNet-X over EfficientNet on {device}",
                data.speedup.mean[device],
                geometric_mean([a["latency_ms"] / b["latency_ms"] for a, b in pairs]),
                geometric_mean([a["expected_low_ms"] / b["expected_high_ms"] for a, b in pairs]),
                geometric_mean([a["expected_high_ms"] / b["expected_low_ms"] for a, b in pairs]),
                _conditions(gap),
            )
        )
    ratio = geometric_mean([b["flops_per_example"] / a["flops_per_example"] for a, b in pairs])
    rows.append(
        _row("mean ratio of their FLOPs", data.speedup.flops_ratio, ratio, math.nan, math.nan, "B0 to B7, counted")
    )
    for device, gap in found.items():
        low, high = gap.error_bounds(device)
        error = float(gap.summary["worst_pair_error_percent"].iloc[0])
        text = f"worst error of FLOPs as a proxy on {device} [%]"
        rows.append(_row(text, data.proxy.error_percent, error, low, high, _conditions(gap)))
    return rows


def _conditions(gap: FlopsGap) -> str:
    run = gap.reports[0]
    return f"B0 to B7, {run.runtime}, {run.dtype}, batch {run.batch}"


def _migration_rows() -> list[dict[str, Any]]:
    """The source gives no batch size: the one that a limit of the latency allows, and a fixed one."""
    data, table = published(), migrations()
    said, fixed = data.migration, data.latency.batch
    old, new = load_device(said.before), load_device(said.after)
    peaks = [device.peak_flops_per_s(device.default_dtype) for device in (old, new)]
    rows = [_row("ratio of the matrix peaks", said.peak_ratio, peaks[1] / peaks[0], math.nan, math.nan, "")]
    chosen = {
        f"the largest batch within {said.limit_ms:.0f} ms on {new.name}": at_batches(table, allowed_batches(table)),
        f"batch {fixed}": table[table["batch"] == fixed],
    }
    for how, runs in chosen.items():
        for family, group in runs.groupby("family", sort=False):
            mean, low, high = (geometric_mean(group[column]) for column in SPEEDUPS)
            figure = f"mean speed-up of {data.families[str(family)]} from {old.name} to {new.name}"
            rows.append(_row(figure, said.speedup[str(family)], mean, low, high, f"B0 to B7 per chip, {how}"))
    return rows


def _row(figure: str, said: float, found: float, low: float, high: float, conditions: str) -> dict[str, Any]:
    values = {"figure": figure, "published": said, "predicted": found, "low": low, "high": high}
    return values | {"conditions": conditions}
