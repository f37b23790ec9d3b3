"""Intervals: what left-out networks say, and what widens them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from measured_files import NASBENCH_HEAD, nasbench_row, write

from roofline.calibration.calibrate import calibrate
from roofline.calibration.intervals import covered, runtime_interval, write_interval
from roofline.calibration.measured import Options
from roofline.errors import InputError
from roofline.report.interval import IntervalFile, RuntimeInterval, interval, kind_shares, known_intervals
from roofline.report.run import simulate
from roofline.software.load import runtimes
from roofline.specfile import load_spec

REPORT = simulate("resnet-50", "v100", batch=8, dtype="fp16", runtime="pytorch_eager")
SHARES = kind_shares(REPORT)
WIDTH = RuntimeInterval(
    coverage=0.9,
    half_width=0.1,
    new_device=0.25,
    covered=0.9,
    rows=100,
    families=("resnet",),
    devices=("v100",),
    dtypes=("fp16",),
    kinds=tuple(SHARES),
    source="made up",
)


def ends(**changes: object) -> tuple[float, tuple[str, ...]]:
    """Return the half-width in log time, and the reasons, with some of what is known changed."""
    found = interval(REPORT, {"pytorch_eager": WIDTH.model_copy(update=changes)})
    assert found.low_s * found.high_s == pytest.approx(REPORT.latency_s**2)
    assert found.extrapolating == bool(found.reasons)
    return math.log(found.high_s / REPORT.latency_s), found.reasons


def test_a_run_like_those_measured_has_the_conformal_width() -> None:
    width, reasons = ends()
    assert width == pytest.approx(0.1) and reasons == ()


def test_a_new_device_has_the_width_of_left_out_devices() -> None:
    width, (reason,) = ends(devices=("t4",))
    assert width == pytest.approx(0.25) and "no network on v100" in reason
    assert ends(devices=("t4",), new_device=0.05)[0] == pytest.approx(0.1)  # never narrower
    assert ends(devices=("t4",), new_device=None)[0] == pytest.approx(math.log(2))


def test_a_new_dtype_is_extrapolation() -> None:
    width, (reason,) = ends(dtypes=("int8",))
    assert width == pytest.approx(math.log(2)) and "no fp16 run" in reason


def test_kinds_without_data_add_their_share_of_a_factor_of_two() -> None:
    assert sum(SHARES.values()) == pytest.approx(1.0) and SHARES["conv"] > 0.05
    kinds = tuple(kind for kind in SHARES if kind != "conv")
    width, (reason,) = ends(kinds=kinds)
    assert width == pytest.approx(0.1 + math.log(1 + SHARES["conv"]))
    assert "conv" in reason


def test_a_runtime_without_data_says_so() -> None:
    found = interval(REPORT, {})
    assert found.extrapolating and found.high_s == pytest.approx(2 * REPORT.latency_s)
    assert "too few networks were measured under pytorch_eager" in str(found)


def test_coverage_is_judged_by_the_other_groups() -> None:
    rng = np.random.default_rng(0)
    assert covered([np.abs(rng.standard_normal(400)) for _ in range(5)], 0.9) == pytest.approx(0.9, abs=0.03)
    assert covered([np.ones(5)], 0.9) is None


def test_the_shipped_widths_are_sane() -> None:
    for name, width in known_intervals().items():
        assert name in runtimes()
        assert 0 < width.half_width < math.log(2)
        assert width.rows >= 20 and width.kinds and width.devices


def test_widths_from_a_calibration_and_back_from_the_file(tmp_path: Path) -> None:
    made = [(n, e, k) for n in (1, 2, 3) for e in (1, 4, 6) for k in (3, 5)]
    rows = [nasbench_row(f"{8000 - 700 * n - 500 * e},,", b0_l=n, b1_e=e, b2_k=k) for n, e, k in made]
    path = write(tmp_path, "nas.csv", NASBENCH_HEAD + "\n".join(rows) + "\n")
    options = Options(device="a100-40gb")
    found = calibrate([path], "pytorch_eager", options, names=["bandwidth_fraction"], folds=["fifth"])
    width = runtime_interval(found, coverage=0.8)
    assert set(width.families) == {"1", "2", "3", "4", "5"}
    assert width.rows == len(made) and width.devices == ("a100-40gb",) and width.new_device is None
    errors = np.sort(
        np.concatenate([np.abs(np.log(h.predicted_s / found.prepared.measured_s[h.rows])) for h in found.held_out])
    )
    assert width.half_width == pytest.approx(errors[math.ceil(0.8 * (len(made) + 1)) - 1], abs=1e-3)
    target = tmp_path / "intervals.toml"
    write_interval("pytorch_eager", width, target)
    write_interval("tensorrt", replace_width(width), target)
    assert load_spec(target, IntervalFile).runtimes == {"pytorch_eager": width, "tensorrt": replace_width(width)}
    with pytest.raises(InputError, match="too few for an interval"):
        runtime_interval(replace(found, held_out=()))


def replace_width(width: RuntimeInterval) -> RuntimeInterval:
    return width.model_copy(update={"half_width": 0.5})
