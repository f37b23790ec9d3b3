"""Sensitivities, sweeps and grids: elasticities by calculus, rows as simulations of their own."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roofline as rf
from roofline.cli import main
from roofline.errors import InputError, UnknownNameError
from roofline.hardware.variant import device_fields
from roofline.studies.sweep import points_of, rows_of

HBM = "hbm.bandwidth_bytes_per_s"

# sensitivity ---------------------------------------------------------------------------------------------------------


def test_elasticities_of_rates_and_fixed_times_add_up_to_one() -> None:
    """Scaling every rate by r divides all of the time by r but what is fixed: program, floors, ramps."""
    table = rf.sensitivity("resnet-50", "tpu-v3", batch=64).table.set_index("field")["elasticity"]
    report = rf.simulate("resnet-50", "tpu-v3", batch=64)
    fixed = report.program_s + float(report.kernels["floor_s"].sum() + 0.5e-7 * len(report.kernels))
    assert table["clock_hz"] + table[HBM] == pytest.approx(-(1 - fixed / report.latency_s), abs=0.01)


def test_a_clock_is_its_engines() -> None:
    table = rf.sensitivity("efficientnet-b0", "tpu-v3", batch=64).table.set_index("field")["elasticity"]
    assert table["clock_hz"] == pytest.approx(table["matrix.clock_hz"] + table["vector.clock_hz"], abs=0.01)
    assert table["matrix.rates.bf16.peak_flops_per_s"] == pytest.approx(table["matrix.clock_hz"])
    assert table["tdp_w"] == table["price_usd_per_hour"] == table["matrix.rates.fp32.peak_flops_per_s"] == 0


def test_an_elasticity_is_a_central_difference_of_simulations() -> None:
    row = rf.sensitivity("resnet-18", "v100", fields=["HBM.bandwidth_bytes_per_s"], step=0.1, batch=32).table.iloc[0]
    low, high = (
        rf.simulate("resnet-18", rf.device("v100").with_overrides({HBM: f * 900e9}), batch=32) for f in (0.9, 1.1)
    )
    assert (row["low_ms"], row["high_ms"]) == (low.latency_ms, high.latency_ms)
    assert row["elasticity"] == pytest.approx(math.log(high.latency_s / low.latency_s) / math.log(1.1 / 0.9))


def test_counts_are_halved_and_doubled_and_the_strongest_comes_first() -> None:
    table = rf.sensitivity("efficientnet-b0", "tpu-v4i", batch=8).table
    rows = table.set_index("field")
    assert (rows.loc["matrix.units", "low"], rows.loc["matrix.units", "high"]) == (2, 8)
    assert set(rows.index) == set(device_fields(rf.device("tpu-v4i")))
    assert np.all(np.diff(table["elasticity"].abs()) <= 0)


@pytest.mark.parametrize("step", [0.0, 0.5, -0.1, math.nan])
def test_steps_out_of_range(step: float) -> None:
    with pytest.raises(InputError, match="step must be above 0"):
        rf.sensitivity("resnet-18", "v100", step=step)


@pytest.mark.parametrize("fields", [[], "clock_hz"])
def test_fields_are_a_list_of_names(fields: Any) -> None:
    with pytest.raises(InputError, match="fields are a list of at least one name"):
        rf.sensitivity("resnet-18", "v100", fields=fields)


def test_an_unknown_field_shows_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"nearest: 'matrix\.rows'"):
        rf.sensitivity("resnet-18", "tpu-v3", fields=["matrix.row"])


def test_the_verb_of_sensitivity(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["sensitivity", "resnet-18", "-d", "tpu-v3", "-b", "8"]
    assert main([*words, "--output", str(tmp_path / "bars.png")]) == 0
    assert "hbm.bandwidth_bytes_per_s" in capsys.readouterr().out
    assert (tmp_path / "bars.png").stat().st_size > 10_000
    assert main([*words, "-f", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["fields"]) == len(device_fields(rf.device("tpu-v3")))


# sweeps --------------------------------------------------------------------------------------------------------------


def test_a_sweep_is_a_row_per_combination() -> None:
    table = rf.sweep(["resnet-18", "resnet-34"], ["tpu-v3", "tpu-v4i"], batch=[1, 8], fields={HBM: [500e9, 900e9]})
    assert len(table) == 2 * 2 * 2 * 2
    for row in table.sample(4, random_state=0).to_dict("records"):
        device = rf.device(row["base_device"]).with_overrides({HBM: row[HBM]})
        report = rf.simulate(row["model"], device, batch=row["batch"])
        assert row["latency_ms"] == report.latency_ms and row["device"] == device.name
        assert row["expected_low_ms"] == report.interval.low_s * 1e3
    assert table["error"].isna().all()


def test_points_can_be_run_anywhere() -> None:
    points = points_of(["resnet-18"], ["v100"], batch=[1, 2], dtype=["fp16", "fp32"])
    apart = [row for point in points for row in rows_of([point])]
    assert apart == rows_of(points)


def test_what_cannot_run_is_an_error_or_a_row() -> None:
    options: dict[str, Any] = {"dtype": ["bf16", "fp16"], "fields": {HBM: [900e9, 1e15]}}
    with pytest.raises(InputError):
        rf.sweep(["resnet-18"], ["tpu-v3", "v100"], **options)
    table = rf.sweep(["resnet-18"], ["tpu-v3", "v100"], keep_errors=True, **options)
    ran = table[table["error"].isna()]
    assert list(zip(ran["base_device"], ran["dtype"], ran[HBM], strict=True)) == [
        ("tpu-v3", "bf16", 900e9), ("v100", "fp16", 900e9)
    ]  # fmt: skip
    failed = table[table["error"].notna()]
    assert failed["latency_ms"].isna().all() and len(failed) == 6
    assert any("has no dtype" in text for text in failed["error"])
    assert any("nearer memory must be faster" in text for text in failed["error"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": []}, "nothing to sweep over: batch is empty"),
        ({"mode": ["inference"]}, "option 'mode' takes one value; lists are for batch"),
        ({"batch": list(range(1, 100_002))}, "100,001 points are too many"),
        ({"bacth": 3}, "option 'bacth'"),
        ({"fields": {HBM: 1e12}}, "values of hbm.bandwidth_bytes_per_s are a list"),
        ({"fields": [HBM]}, "fields map the name of a field"),
    ],
)
def test_mistakes_in_a_sweep(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rf.sweep(["resnet-18"], ["v100"], **options)


def test_the_former_import_path_warns_and_leads_here() -> None:
    with pytest.warns(DeprecationWarning, match=r"import from roofline\.studies"):
        former = importlib.import_module("roofline.analysis.sweep")
    assert former.points_of is points_of


# hardware and networks together --------------------------------------------------------------------------------------


def test_the_grid_holds_the_device_it_starts_from() -> None:
    found = rf.codesign(["resnet-18", "efficientnet-b0"], "tpu-v4i", on_chip_bytes=[0, 2**27], batch=8)
    assert len(found.table) == 2 * 3 * 3 * 2 and len(found.designs) == 3 * 3 * 2
    here = found.table.query("array == 128 and bandwidth_factor == 1 and on_chip_bytes == 2**27")
    assert list(here["speedup"]) == [1.0, 1.0]
    best = found.designs.iloc[0]
    mine = found.table[(found.table[["array", "bandwidth_factor", "on_chip_bytes"]] == best.iloc[:3]).all(axis=1)]
    assert best["speedup"] == pytest.approx(math.sqrt(math.prod(mine["speedup"])))
    # more bandwidth and more memory on chip never hurt
    grid = found.designs.set_index(["array", "on_chip_bytes", "bandwidth_factor"])["speedup"].sort_index()
    assert (grid.groupby(level=["array", "on_chip_bytes"]).diff().dropna() >= 0).all()
    assert len(found.plot().axes) == 2 + 1
    assert found.finding.startswith("Fastest of 18 designs around tpu-v4i") and "expected" in found.finding


@pytest.mark.parametrize(
    ("device", "options", "message"),
    [
        ("v100", {}, "'v100' has no systolic array"),
        ("tpu-v3", {"on_chip_bytes": [2**20]}, "keeps nothing on chip"),
        ("tpu-v4i", {"arrays": [512]}, "no whole number of arrays of 512 x 512"),
        ("tpu-v4i", {"arrays": [0]}, "rows of an array must be a whole number"),
        ("tpu-v4i", {"arrays": [math.nan]}, "rows of an array must be a whole number"),
        ("tpu-v4i", {"arrays": []}, "arrays must be a list of numbers"),
        ("tpu-v4i", {"arrays": 128}, "arrays must be a list of numbers"),
        ("tpu-v4i", {"arrays": [128, 128]}, "128 is given twice"),
        ("tpu-v4i", {"bandwidth_factors": ["2"]}, "bandwidth_factors must be numbers"),
        ("tpu-v4i", {"batch": [1, 8]}, "option 'batch' takes one value"),
        ("tpu-v4i", {"bandwidth_factors": [0.0]}, "must be in"),
    ],
)
def test_designs_that_do_not_exist(device: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rf.codesign(["resnet-18"], device, **options)


# choices of stages ---------------------------------------------------------------------------------------------------


def test_swapped_stages_are_simulations_of_edited_networks() -> None:
    from roofline.arch.edit import swap_fused

    found = rf.stage_choices("efficientnet-x-b0", ["tpu-v3", "v100"], batch=16)
    table = found.table
    assert set(table["choice"]) == {"activation", "convolution"} and set(table["device"]) == {"tpu-v3", "v100"}
    row = table.query("device == 'v100' and stage == 's3' and choice == 'convolution'").iloc[0]
    edited = rf.simulate(swap_fused(rf.model("efficientnet-x-b0"), "s3", True), "v100", batch=16)
    assert (row["chosen"], row["other"], row["other_ms"]) == ("depthwise", "fused", edited.latency_ms)
    assert row["wins"] == (row["other_percent"] >= 0)
    relu = table.query("choice == 'activation' and chosen == 'relu'")
    assert relu["wins"].all() and (relu["macs_percent"] == 0).all()  # swish is never cheaper
    assert list(found.summary.columns) == ["macs_percent", "tpu-v3", "v100"] and len(found.summary) == len(table) / 2
    assert found.summary["v100"].to_list() == table.loc[table["device"] == "v100", "other_percent"].to_list()
    assert found.finding.startswith("tpu-v3: ") and len(found.finding.splitlines()) == 2 * 2


def test_a_network_without_such_choices() -> None:
    with pytest.raises(InputError, match="no stage with ReLU, swish"):
        rf.stage_choices("bert-base", ["v100"])
