"""Predictions beside measurements: how far off, in which order, where worst, and against which bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.calibration.baselines import baselines
from roofline.calibration.measured import Dataset, Measurement, Options, Rejected, load
from roofline.calibration.measured.graphs import GraphSource
from roofline.calibration.offsets import Call, calls_us, with_offsets
from roofline.calibration.predict import AdaptRuntime, Prepared, agreement_per_example, prepare
from roofline.errors import InputError
from roofline.numeric import Array
from roofline.stats import Agreement

#: fewer rows than this say nothing about an order or a family
FEWEST = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """The rows of one file that ran in the same setup.

    Attributes
    ----------
    measurements, predicted_s
        Each row and its prediction, with what the measuring program adds.
    calls
        What the measuring program adds, by group, as found from the rows.
    baselines
        Predictions of each baseline for the rows that are not apart.
    """

    dataset: str
    device: str
    runtime: str
    dtype: str
    layout: str
    measurements: tuple[Measurement, ...]
    predicted_s: Array
    calls: dict[str, Call]
    baselines: dict[str, Array]

    @property
    def measured_s(self) -> Array:
        """Measured time of each row."""
        return np.array([m.latency_s for m in self.measurements])

    def _agreement(self, rows: NDArray[np.bool_], predicted_s: Array) -> Agreement:
        return agreement_per_example([m for m, r in zip(self.measurements, rows, strict=True) if r], predicted_s)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which rows are a test of the model."""
        return np.array([m.apart is None for m in self.measurements])

    def by_host(self, group: str) -> float:
        """Return the share of a group's rows whose time the host decides: they say nothing about the device."""
        rows = np.array([m.offset_group == group for m in self.measurements])
        return float((self.predicted_s[rows] <= self.calls[group].host_s).mean())

    @property
    def title(self) -> str:
        """File, device, runtime and precision."""
        return f"{self.dataset}: {self.device}, {self.runtime}, {self.dtype}, {self.layout}"

    def agreement(self) -> Agreement:
        """Return the statistics of the rows that are not apart (of all, where every row is)."""
        rows = self.counted if self.counted.any() else ~self.counted
        return self._agreement(rows, self.predicted_s[rows])

    def families(self) -> dict[str, Agreement]:
        """Return the statistics of each family with enough rows, largest first; those apart come last."""
        names = np.array([m.family for m in self.measurements])
        found: dict[str, Agreement] = {}
        for wanted, mark in ((self.counted, ""), (~self.counted, " (apart)")):
            values, counts = np.unique(names[wanted], return_counts=True)
            for name in values[np.argsort(-counts, kind="stable")]:
                rows = wanted & (names == name)
                if rows.sum() >= FEWEST:
                    found[f"{name}{mark}"] = self._agreement(rows, self.predicted_s[rows])
        return found

    def baseline_agreement(self) -> dict[str, Agreement]:
        """Return the statistics of each baseline."""
        return {name: self._agreement(self.counted, predicted) for name, predicted in self.baselines.items()}

    def rows(self) -> list[dict[str, Any]]:
        """Return every row with its prediction, worst first."""
        log_error = np.abs(np.log(self.predicted_s / self.measured_s))
        order = np.argsort(-log_error, kind="stable")
        found = []
        for i in order:
            m, predicted_s = self.measurements[i], float(self.predicted_s[i])
            found.append(
                {
                    "dataset": self.dataset,
                    "row": m.row,
                    "workload": m.label,
                    "family": m.family,
                    "device": m.device,
                    "runtime": m.runtime,
                    "dtype": m.dtype,
                    "batch": m.batch,
                    "measured_ms": m.latency_s * 1e3,
                    "predicted_ms": predicted_s * 1e3,
                    "ratio": predicted_s / m.latency_s,
                    "apart": m.apart or "",
                }
            )
        return found


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Everything that files of measurements say about the simulator."""

    comparisons: tuple[Comparison, ...]
    rejected: dict[str, tuple[Rejected, ...]]

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows of all files, worst first."""
        rows = [row for comparison in self.comparisons for row in comparison.rows()]
        return sorted(rows, key=lambda row: -abs(float(np.log(row["ratio"]))))

    def to_dict(self, worst: int = 10) -> dict[str, Any]:
        """Return the statistics, the `worst` rows of each file, and the rows left out, ready for JSON."""
        return {
            "comparisons": [_as_dict(c, worst) for c in self.comparisons],
            "rejected": {name: [asdict(r) for r in rows] for name, rows in self.rejected.items()},
        }


def _as_dict(c: Comparison, worst: int) -> dict[str, Any]:
    return {
        "dataset": c.dataset,
        "device": c.device,
        "runtime": c.runtime,
        "dtype": c.dtype,
        "layout": c.layout,
        "calls_us": calls_us(c.calls),
        "accuracy": _plain(c.agreement()),
        "families": {name: _plain(a) for name, a in c.families().items()},
        "baselines": {name: _plain(a) for name, a in c.baseline_agreement().items()},
        "worst": c.rows()[:worst],
    }


def _plain(found: Agreement) -> dict[str, float | None]:
    """Return the fields, None for what is not a number (JSON has no NaN)."""
    return {name: None if value != value else value for name, value in asdict(found).items()}


def validate(
    paths: Iterable[str | Path],
    options: Options | None = None,
    *,
    adapt: AdaptRuntime | None = None,
    graphs: GraphSource | None = None,
) -> Validation:
    """Predict every row of some files and compare.

    Parameters
    ----------
    paths
        Files in any known format: see `roofline.calibration.measured.FORMATS`.
    options
        Device, runtime and so on, where the files do not say them or should be overruled.
    adapt
        Gives the runtime to use in place of each row's own.
    graphs
        Builds networks that files name.

    Raises
    ------
    InputError
        A file cannot be read, is of no known format, or has no usable row.
    """
    options = options or Options()
    graphs = graphs or GraphSource(options.cache)
    datasets = [load(path, options) for path in paths]
    if not datasets:
        raise InputError("give at least one file of measurements")
    found: list[Comparison] = []
    rejected: dict[str, tuple[Rejected, ...]] = {}
    for dataset in datasets:
        prepared = prepare(dataset.measurements, graphs=graphs, adapt=adapt)
        rejected[dataset.name] = tuple(sorted(dataset.rejected + prepared.rejected, key=lambda r: r.row))
        if not len(prepared):
            first = rejected[dataset.name][0]
            raise InputError(f"{dataset.name}: no row can be predicted; row {first.row}: {first.reason}")
        found.extend(compare(dataset, prepared))
    return Validation(comparisons=tuple(found), rejected=rejected)


def compare(dataset: Dataset, prepared: Prepared, predicted_s: Array | None = None) -> list[Comparison]:
    """Return one comparison for each setup in a file."""
    device_s = prepared.predict() if predicted_s is None else predicted_s
    fitted_s, calls = with_offsets(prepared.measurements, device_s, prepared.measured_s)
    keys = [setup(m) for m in prepared.measurements]
    return [_comparison(dataset, prepared.subset(rows), fitted_s[rows], calls, key) for key, rows in _by_key(keys)]


def setup(m: Measurement) -> tuple[str, str, str, str]:
    """Return device, runtime, precision and layout of a row."""
    return (m.device, m.runtime, m.dtype, m.layout or "default layout")


def _by_key(keys: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    for key in dict.fromkeys(keys):
        yield key, np.array([k == key for k in keys])


def _comparison(
    dataset: Dataset, part: Prepared, predicted_s: Array, calls: dict[str, Call], key: tuple[str, str, str, str]
) -> Comparison:
    inside = {m.offset_group for m in part.measurements}
    counted = np.array([m.apart is None for m in part.measurements])
    bars: dict[str, Array] = {}
    if counted.any():
        clean = part.subset(counted)
        for name, bar_s in baselines(clean).items():
            bars[name] = with_offsets(clean.measurements, bar_s, clean.measured_s)[0]
    return Comparison(
        dataset=dataset.name,
        device=key[0],
        runtime=key[1],
        dtype=key[2],
        layout=key[3],
        measurements=part.measurements,
        predicted_s=predicted_s,
        calls={name: call for name, call in calls.items() if name in inside},
        baselines=bars,
    )
