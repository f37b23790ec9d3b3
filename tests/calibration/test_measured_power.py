"""Products of a card at its power limit: rows, and the share of the limit that they tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from measured_files import real, write

from roofline.calibration.measured import load
from roofline.calibration.measured.types import STEADY_POWER
from roofline.calibration.predict import prepare

HEAD = "framework,version,device,kernel_source,gemm_dtype,m,n,k,latency,power,power_limit"


def row(**more: object) -> str:
    cells = {
        "framework": "VLLM", "version": "1", "device": "NVIDIA H200", "kernel": "x", "dtype": "bfloat16", "m": 8192,
        "n": 8192, "k": 8192, "ms": 1.6, "watts": 690.0, "limit": 700.0,
    } | more  # fmt: skip
    return ",".join(map(str, cells.values()))


def test_rows_below_the_limit_are_apart(tmp_path: Path) -> None:
    found = load(write(tmp_path, "power.csv", "\n".join((HEAD, row(), row(m=4096, watts=500.0), row(framework="?")))))
    at, below = found.measurements
    assert (at.device, at.runtime, at.latency_s, at.power_share) == ("h200", "vllm", 1.6e-3, STEADY_POWER)
    assert at.apart is None and below.apart is not None
    assert "'?' is none of" in found.rejected[0].reason


def test_a_lower_limit_slows_products_that_meet_it(tmp_path: Path) -> None:
    """8192^3 multiply-accumulates at 990 Tflop/s take 1.1 ms; no clock is so low that it is twice that."""
    (m,) = load(write(tmp_path, "power.csv", f"{HEAD}\n{row()}\n")).measurements
    steady, short = (prepare([one]).predict()[0] for one in (m, m.__class__(**(vars(m) | {"power_share": 1.0}))))
    assert 2 * 8192**3 / 990e12 < short < 0.9 * steady < 2e-3


def test_a_card_at_its_limit_draws_a_share_of_what_replays_draw() -> None:
    """The share is told by these rows alone: no bias is left, and less error than products have elsewhere."""
    rows = [m for m in load(real("llm/h200_gemm_power.csv.gz")).measurements if m.family == "bfloat16" and not m.apart]
    prepared = prepare(rows)
    errors = np.log(prepared.predict() / prepared.measured_s)
    assert len(rows) > 1000
    assert abs(np.median(errors)) < 0.02 and np.median(np.abs(errors)) < 0.04
