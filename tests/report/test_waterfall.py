"""Waterfalls: terms that add up whatever runs where, and each of them against the flaw it is named after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roofline as rf
from roofline.cost.combine import ENGINES
from roofline.engine.evaluate import kernel_costs
from roofline.errors import InputError
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.report.waterfall import FREE, GROUPS, LADDER, TERMS, WHOLE_RUN

RUNS: tuple[dict[str, Any], ...] = (
    {"model": "efficientnet-x-b0", "device": "tpu-v3", "batch": 128},
    {"model": "efficientnet-b0", "device": "tpu-v4i", "batch": 1},
    {"model": "mobilenetv2-1.0", "device": "tpu-v3", "batch": 3, "dtype": "fp32"},
    {"model": "resnet-50", "device": "a100-80gb", "batch": 1},
    {"model": "resnet-50", "device": "v100", "batch": 32, "layout": "nchw", "dtype": "fp32"},
    {"model": "vit-ti-16", "device": "h100-sxm", "batch": 8, "runtime": "tensorrt"},
    {"model": "bert-base", "device": "t4", "dtype": "amp_fp16", "runtime": "pytorch_compile"},
    {"model": "gpt2", "device": "tpu-v5e", "length": 128},
)
each_run = pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run['model']}-{run['device']}")


def product(m: int, n: int, k: int) -> OpGraph:
    b = GraphBuilder("product")
    return b.graph([b.linear(b.input("x", (m, k)), n, bias=False)])


def terms(report: Any) -> dict[str, float]:
    frame = report.waterfall()
    return dict(zip(frame["term"], frame["time_s"], strict=True))


@each_run
def test_terms_add_up_to_the_latency(run: dict[str, Any]) -> None:
    report = rf.simulate(**run)
    whole = report.waterfall()
    assert tuple(whole["term"]) == TERMS
    assert list(whole.columns) == ["term", "time_s", "share"]
    for by in (None, *GROUPS):
        frame = report.waterfall(by)
        assert frame["time_s"].sum() == pytest.approx(report.latency_s, rel=1e-12)
        assert frame["share"].sum() == pytest.approx(1.0, rel=1e-12)
        assert frame["time_s"].min() >= -1e-15 * report.latency_s, "every term is a loss"
        sums = frame.groupby("term", sort=False)["time_s"].sum()
        np.testing.assert_allclose(sums[list(TERMS)], whole["time_s"], rtol=1e-9, atol=1e-12 * report.latency_s)


@each_run
def test_every_engine_has_a_term_for_what_it_holds_up(run: dict[str, Any]) -> None:
    report = rf.simulate(**run)
    assert {"matrix", *FREE} == set(ENGINES), "the ideal is that of the matrix engine"
    for engine, (term, free) in FREE.items():
        assert term in TERMS
        found = kernel_costs(report.lowered.table, free(report.machine)).engine_s
        assert not found[ENGINES.index(engine)].any()
        assert (found <= report.costs.engine_s).all()


@each_run
def test_each_kernel_adds_up_to_its_own_time(run: dict[str, Any]) -> None:
    report = rf.simulate(**run)
    frame, kernels = report.waterfall("kernel"), report.kernels
    assert list(frame.columns) == ["kernel", "stage", "term", "time_s", "share"]
    times = frame["time_s"].to_numpy().reshape(-1, len(TERMS))
    np.testing.assert_allclose(times[:-1].sum(axis=1), kernels["time_s"], rtol=1e-9)
    assert frame["kernel"].tolist()[:: len(TERMS)] == [*kernels["kernel"], WHOLE_RUN]
    assert times[-1, :-1].sum() == 0.0
    assert times[:-1, -1].sum() == 0.0
    by_stage = report.waterfall("stage").set_index("stage")
    for stage, time_s in kernels.groupby("stage")["time_s"].sum().items():
        assert by_stage.loc[[stage], "time_s"].sum() == pytest.approx(time_s, rel=1e-9)


@each_run
def test_the_ideal_is_the_work_at_the_peak(run: dict[str, Any]) -> None:
    report = rf.simulate(**run)
    macs = report.kernels["macs"].sum()  # of the fullest core
    ideal_s = 2.0 * macs * report.device_spec.cores / report.peak_flops_per_s
    found = terms(report)["ideal compute"]
    if report.dtype.startswith("amp"):  # some of its products stay in fp32, whose peak is lower
        assert found >= ideal_s
    elif report.dtype == "fp32" and report.runtime_spec.winograd:  # fewer multiplications than the definition has
        assert ideal_s / 4 <= found < ideal_s
    else:
        assert found == pytest.approx(ideal_s, rel=1e-9)


def test_a_product_of_one_row_by_hand() -> None:
    """TPU v4i: 4 arrays of 128 x 128 at 1.05 GHz; one row streams as eight, and one array does the work."""
    runtime = replace(rf.runtime("xla_tpu"), weight_load_rows=64.0, matrix_fraction=1.0)
    report = rf.simulate(product(1, 128, 128), "tpu-v4i", runtime=runtime, batch=1)
    machine = report.machine
    row_s = float(np.nanmin(machine.row_time_s))
    units, rows = machine.units, machine.rows
    assert rows == 128
    found = terms(report)
    assert found["ideal compute"] == pytest.approx(row_s / units)
    assert found["tile padding"] == pytest.approx((8 - 1 / units) * row_s)
    vector_s = report.kernels["vector_time_s"].sum()
    assert vector_s < (64 + 2 * rows) * row_s
    filled = (64 - 8 + 2 * rows) * row_s
    assert found["weight load and fill"] == pytest.approx(filled, rel=0.2)  # less what vector work hides behind it


def test_a_product_that_fills_the_array_has_no_padding() -> None:
    report = rf.simulate(product(4096, 1024, 1024), "tpu-v3", cores=1, batch=4096)
    assert terms(report)["tile padding"] == pytest.approx(0.0, abs=1e-12 * report.latency_s)
    narrow = rf.simulate(product(4096, 1025, 1024), "tpu-v3", cores=1, batch=4096)
    assert terms(narrow)["tile padding"] > 0.1 * terms(narrow)["ideal compute"]


def test_a_tail_of_thread_blocks_is_tile_padding() -> None:
    """V100 has 80 processors: 80 tiles of 128 x 128 are one wave; a column more needs further tiles."""
    even, odd = (rf.simulate(product(128 * 8, n, 4096), "v100", dtype="fp16") for n in (1280, 1281))
    assert terms(odd)["tile padding"] > terms(even)["tile padding"]


def test_losses_vanish_with_their_constants() -> None:
    runtime = rf.runtime("xla_tpu")
    free = replace(
        runtime, floor_s=0.0, program_s=0.0, overlap=1.0, matrix_fraction=1.0, bandwidth_fraction=1.0,
        vector_fraction=1.0, nchw_fraction=1.0, movement_fraction=1.0,
    )  # fmt: skip
    found = terms(rf.simulate("efficientnet-b0", "tpu-v3", batch=128, runtime=free))
    for term in ("kernel floor", "host", "imperfect overlap", "achieved rates"):
        assert found[term] == 0.0
    for term in ("ideal compute", "tile padding", "vector contention", "exposed memory", "layout padding"):
        assert found[term] > 0.0


@each_run
def test_the_nominal_machine_has_no_fraction_left(run: dict[str, Any]) -> None:
    machine = rf.simulate(**run).machine
    _, nominal = next(rung for rung in LADDER if rung[0] == "achieved rates")
    found = nominal(machine)
    for spec in (found, found.runtime):
        assert {v for name, v in vars(spec).items() if name.endswith("_fraction")} == {1.0}
    assert found.device is machine.device


def test_memory_of_a_gpu_is_linear() -> None:
    assert terms(rf.simulate("resnet-50", "v100", batch=8))["layout padding"] == 0.0


def test_an_eager_host_that_is_slower_than_the_device_is_exposed() -> None:
    report = rf.simulate("resnet-50", "h100-sxm", batch=1, runtime="pytorch_eager")
    assert report.host_s > report.device_s
    exposed_s = report.program_s + report.host_s - report.device_s
    assert terms(report)["host"] == pytest.approx(exposed_s, rel=1e-12)
    run = report.waterfall("stage").set_index(["stage", "term"])["time_s"]
    assert run[(WHOLE_RUN, "host")] == pytest.approx(exposed_s, rel=1e-12)


def test_every_flaw_has_a_name_of_its_own() -> None:
    assert len(set(TERMS)) == len(TERMS) == len(LADDER) + 3


def test_a_graph_without_stages() -> None:
    report = rf.simulate(product(64, 64, 64), "t4")
    assert report.waterfall("stage")["stage"].unique().tolist() == ["", WHOLE_RUN]


def test_another_way_to_split_is_an_error() -> None:
    report = rf.simulate("efficientnet-b0", "tpu-v3")
    with pytest.raises(InputError, match=r"cannot split a waterfall by 'stages'; nearest: 'stage'"):
        report.waterfall("stages")  # type: ignore[arg-type]


@pytest.mark.parametrize("by", [None, *GROUPS])
def test_the_picture_is_as_long_as_the_latency(by: Any, tmp_path: Path) -> None:
    report = rf.simulate("efficientnet-b0", "tpu-v3", batch=128)
    path = tmp_path / "waterfall.png"
    figure = report.plot_waterfall(path, by=by)
    (axes,) = figure.axes
    assert path.stat().st_size > 0
    latency_ms = report.latency_s * 1e3
    bars = [bar for container in axes.containers for bar in container]
    widths = sum(bar.get_width() for bar in bars)
    assert widths == pytest.approx(latency_ms * (2 if by is None else 1))  # its last bar is the latency itself
    if by is None:
        ends = [bar.get_x() + bar.get_width() for bar in bars]
        assert ends[-2] == pytest.approx(ends[-1]) == pytest.approx(latency_ms)
    figure.draw_without_rendering()
    assert {text.get_window_extent().x1 <= axes.get_window_extent().x1 for text in axes.texts} == {True}


def test_a_picture_has_a_known_suffix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot draw"):
        rf.simulate("efficientnet-b0", "tpu-v3").plot_waterfall(tmp_path / "waterfall.gif")
