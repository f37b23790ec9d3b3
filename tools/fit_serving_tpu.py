"""Fit what `jax_serving` states itself, and bound its error: ``python tools/fit_serving_tpu.py FOLDER [--write]``.

FOLDER holds ``tpu_v6e_layers.csv.gz`` and ``tpu_v6e_attention.csv.gz``. The best overlap and share of the bandwidth are
looked for on a grid, each of three projections counting equally; then each is left out. Attention is left out by
length of context, under the constants of its library. ``--write`` puts the widths into the file of intervals.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from roofline.calibration.intervals import write_interval
from roofline.calibration.library_fit import fit_library, library_constants
from roofline.calibration.measured import load
from roofline.calibration.measured.serving_tpu import RUNTIME, PagedAttentionCall
from roofline.calibration.offsets import robust_cost
from roofline.calibration.predict import Prepared, prepare
from roofline.numeric import Array
from roofline.report.interval import RuntimeInterval, SetScore
from roofline.report.kernel_interval import COVERAGE
from roofline.software.spec import Runtime
from roofline.stats import conformal_quantile

INTERVALS = Path(__file__).parent.parent / "roofline" / "report" / "intervals.toml"
OVERLAPS = (0.8, 0.85, 0.875, 0.9, 0.925, 0.95, 1.0)
BANDWIDTHS = (0.87, 0.9, 0.92, 0.94, 0.96)
#: contexts up to it are one half of the attention table, longer ones the other
CONTEXT = 480


def main(arguments: Sequence[str]) -> int:
    """Fit, and print constants and errors."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args(arguments)
    layers, calls = (rows(chosen.folder / f"tpu_v6e_{name}.csv.gz") for name in ("layers", "attention"))
    of_layers, families = np.abs(projections(layers)), np.array([m.family for m in layers.measurements])
    errors = {one: of_layers[families == one] for one in sorted(set(families))}
    errors["attention"] = np.abs(attention(calls))
    scores = {name: score(name, errors) for name in errors}
    for name, found in scores.items():
        print(f"{name:10} left out: median {np.median(np.expm1(errors[name])):.1%}, 9 of 10 within {found.half_width}")
    if chosen.write:
        write_interval(RUNTIME, interval(scores), INTERVALS)
    return 0


def rows(path: Path) -> Prepared:
    """Return the rows of a file that are a test of the model."""
    return prepare([m for m in load(path).measurements if m.apart is None])


def projections(prepared: Prepared) -> Array:
    """Return log(predicted / measured) of each row where its layer was left out of the fit, and print what all say."""
    families = np.array([m.family for m in prepared.measurements])
    grid = {at: np.log(prepared.predict(Stated(*at)) / prepared.measured_s) for at in product(OVERLAPS, BANDWIDTHS)}
    layers = sorted(set(families))

    def best(wanted: Sequence[str]) -> tuple[float, float]:
        return min(grid, key=lambda at: sum(robust_cost(grid[at][families == one]).mean() for one in wanted))

    overlap, fraction = best(layers)
    print(f"launch.overlap = {overlap}, memory.fraction = {fraction}")
    errors = np.empty(len(families))
    for one in layers:
        errors[families == one] = grid[best([x for x in layers if x != one])][families == one]
    return errors


class Stated:
    """A runtime with its own overlap and share of the bandwidth."""

    def __init__(self, overlap: float, fraction: float) -> None:
        self.overlap, self.fraction = overlap, fraction

    def __call__(self, runtime: Runtime) -> Runtime:
        """Return the changed runtime."""
        return replace(runtime, overlap=self.overlap, bandwidth_fraction=self.fraction)


def attention(prepared: Prepared) -> Array:
    """Return the same of attention, each half of the contexts under constants fitted to the other."""
    calls = [m.workload for m in prepared.measurements]
    short = np.array([isinstance(call, PagedAttentionCall) and call.context <= CONTEXT for call in calls])
    constants, errors = library_constants("paged_attention"), np.empty(len(short))
    for inside in (short, ~short):
        rest = prepared.subset(~inside)
        predicted_s = fit_library(prepared.subset(inside), "paged_attention", constants).predict(rest)
        errors[~inside] = np.log(predicted_s / rest.measured_s)
    return errors


def score(name: str, errors: Mapping[str, Array]) -> SetScore:
    """Return the bound of a set, and how much of it lies within the widest bound of the others."""
    bounds = {one: conformal_quantile(found, COVERAGE) for one, found in errors.items()}
    others = max(bound for one, bound in bounds.items() if one != name)
    return SetScore(
        rows=len(errors[name]),
        half_width=round(bounds[name], 3),
        covered=round(float(np.mean(errors[name] <= others)), 3),
    )


def interval(scores: Mapping[str, SetScore]) -> RuntimeInterval:
    """Return the widths of the runtime: those of the worst set."""
    when = datetime.date.today().isoformat()
    return RuntimeInterval(
        coverage=COVERAGE,
        half_width=max(found.half_width for found in scores.values()),
        rows=sum(found.rows for found in scores.values()),
        families=tuple(scores),
        devices=("tpu-v6e",),
        dtypes=("bf16",),
        kinds=("attention", "matmul"),
        source=f"tools/fit_serving_tpu.py, {when}: kernels of one decoder, layers and contexts left out; no whole step",
        sets=dict(scores),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
