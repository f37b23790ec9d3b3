"""Reports: the identities between their numbers, a naive count beside them, and what they write."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roofline as rf
from roofline.errors import InputError
from roofline.graph.builder import GraphBuilder
from roofline.graph.indexing import Fill
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import MatMul
from roofline.report.report import Report

RUNS: tuple[dict[str, Any], ...] = (
    {"model": "efficientnet-b0", "device": "tpu-v3", "batch": 128},
    {"model": "efficientnet-b0", "device": "tpu-v3", "batch": 1},
    {"model": "efficientnet-x-b0", "device": "v100", "batch": 128, "runtime": "tensorflow"},
    {"model": "resnet-50", "device": "a100-80gb", "batch": 1},
    {"model": "vit-ti-16", "device": "h100-sxm", "batch": 8, "runtime": "tensorrt"},
    {"model": "gpt2", "device": "tpu-v5e", "length": 128},
    {"model": "bert-base", "device": "t4", "dtype": "amp_fp16", "runtime": "pytorch_compile"},
)
each_run = pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run['model']}-{run['device']}-{run.get('batch', 1)}")


def exactly(value: float) -> Any:
    return pytest.approx(value, rel=1e-12)


@each_run
def test_time_adds_up(run: dict[str, Any]) -> None:
    report = rf.simulate(**run)
    kernels = report.kernels
    assert report.latency_s == report.program_s + max(report.device_s, report.host_s)
    assert report.latency_ms == exactly(report.latency_s * 1000)
    assert report.throughput_per_s == exactly(report.batch / report.latency_s)
    assert kernels["time_s"].sum() == exactly(report.device_s)
    assert kernels["host_s"].sum() == exactly(report.host_s)
    assert kernels["share"].sum() == exactly(report.device_s / report.latency_s)
    runtime = report.runtime_spec
    engines = kernels[["matrix_time_s", "vector_time_s", "memory_time_s"]].to_numpy()
    longest, total = engines.max(axis=1), engines.sum(axis=1)
    alone = kernels["floor_s"] + kernels["conversion_time_s"]  # what overlaps with nothing
    assert (kernels["time_s"] >= longest + alone - 1e-15).all()
    assert (kernels["time_s"] <= total + alone + 1e-15).all()
    assert (kernels["floor_s"] == runtime.floor_s * kernels["count"]).all()


@each_run
def test_shares_add_up_to_the_latency(run: dict[str, Any]) -> None:
    report = rf.simulate(**run)
    assert set(report.bound_shares) == {"matrix", "vector", "memory", "overhead"}
    assert sum(report.bound_shares.values()) == exactly(1)
    assert all(0 <= share <= 1 for share in report.bound_shares.values())
    assert report.bound_shares[report.bound] == max(report.bound_shares.values())
    kernels = report.kernels
    for name in ("matrix", "vector", "memory"):
        of_bound = kernels.loc[kernels["bound"] == name, "time_s"].sum()
        assert report.bound_shares[name] == pytest.approx(of_bound / report.latency_s, rel=1e-9, abs=1e-15)
    columns = ["matrix_time_s", "vector_time_s", "memory_time_s", "floor_s"]
    largest = kernels[columns].max(axis=1)
    column_of = dict(zip(("matrix", "vector", "memory", "overhead"), columns, strict=True))
    assert all(row[column_of[row["bound"]]] == top for (_, row), top in zip(kernels.iterrows(), largest, strict=True))


@each_run
def test_the_equations_of_the_roofline(run: dict[str, Any]) -> None:
    report = rf.simulate(**run)
    assert report.flops == 2 * report.macs
    assert report.macs_per_example == report.macs / report.batch
    assert report.intensity_flops_per_byte == exactly(report.flops / report.traffic_bytes)
    memory = report.device_spec.main_memory.bandwidth_bytes_per_s
    served = report.traffic_bytes / report.ideal_memory_s  # main memory, or faster where tensors stay on chip
    assert served >= memory * (1 - 1e-12)
    ideal = min(report.intensity_flops_per_byte * served, report.peak_flops_per_s)
    assert report.attainable_flops_per_s == exactly(ideal)
    assert report.ridge_flops_per_byte == exactly(report.peak_flops_per_s / memory)
    assert report.achieved_flops_per_s == exactly(report.flops / report.latency_s)
    assert report.efficiency == exactly(report.achieved_flops_per_s / ideal)
    # latency = W / (C_ideal x E), the paper's equation
    assert report.latency_s == exactly(report.flops / (ideal * report.efficiency))


@each_run
def test_kernels_add_up_to_the_run(run: dict[str, Any]) -> None:
    """The table shows the fullest core; the report counts the whole batch."""
    report = rf.simulate(**run)
    kernels = report.kernels
    core_examples = -(-report.batch // report.cores)
    assert kernels["macs"].sum() == exactly(report.macs_per_example * core_examples)
    assert kernels["vector_ops"].sum() * report.batch / core_examples == exactly(report.vector_ops)
    busy = report.cores - (report.idle_cores - (report.device_spec.cores - report.cores))
    assert kernels["traffic_bytes"].sum() * busy == exactly(report.traffic_bytes)
    assert (kernels["padded_bytes"] >= kernels["traffic_bytes"] * (1 - 1e-12)).all()
    assert (kernels["flops"] == 2 * kernels["macs"]).all()
    assert kernels["kernel"].is_unique and (kernels["count"] == 1).all()
    assert np.isfinite(kernels.select_dtypes("number").to_numpy()).all()


def test_counts_of_a_product_by_hand() -> None:
    """One 256 x 512 x 1024 product in bf16 on one TPU v3 core, without bias: all numbers on paper."""
    b = GraphBuilder("product")
    graph = b.graph([b.linear(b.input("x", (256, 512)), 1024, bias=False)])
    report = rf.simulate(graph, "tpu-v3", cores=1, runtime=replace(rf.runtime("xla_tpu"), matrix_fraction=0.9))
    assert report.macs == 256 * 512 * 1024
    assert report.params == 512 * 1024
    assert report.weight_bytes == 2 * 512 * 1024
    assert report.traffic_bytes == 2 * (256 * 512 + 512 * 1024 + 256 * 1024)
    assert report.peak_memory_bytes == 2 * (256 * 512 + 512 * 1024 + 256 * 1024)
    assert report.batch == 256 and report.cores == 1 and report.model == "product"
    (kernel,) = report.kernels.to_dict("records")
    # a core has two 128 x 128 arrays: 16 of the 4 x 8 weight tiles each, 256 rows through every one; 256 to fill, drain
    peak_macs_per_s = 123e12 / 2
    step_s = 4 * 128 * 128 / peak_macs_per_s  # 4 arrays on the chip
    assert kernel["matrix_time_s"] == pytest.approx((16 * 256 + 256) * step_s / 0.9, rel=1e-9)


# odd graphs ----------------------------------------------------------------------------------------------------------


def test_a_loop_body_is_reported_as_often_as_it_runs() -> None:
    def run(times: int) -> Report:
        b = GraphBuilder()
        y = b.add_op("step", MatMul, b.input("x", (8, 64)), b.parameter("w", 64, 64), times=times)
        return rf.simulate(b.graph([y]), "a100-40gb")

    one, many = run(1), run(12)
    assert many.device_s == exactly(12 * one.device_s) and many.macs == 12 * one.macs
    assert many.traffic_bytes == 12 * one.traffic_bytes and many.params == one.params
    assert many.peak_memory_bytes == one.peak_memory_bytes
    assert list(many.kernels["count"]) == [12] and many.kernels["time_s"].sum() == exactly(many.device_s)
    assert sum(many.bound_shares.values()) == exactly(1)


@pytest.mark.parametrize("device", ["tpu-v3", "v100"])
def test_a_graph_without_products_or_without_kernels(device: str) -> None:
    b = GraphBuilder()
    x = b.input("x", (4, 8))
    vectors = rf.simulate(b.graph([b.relu(x)]), device)
    assert vectors.macs == 0 and vectors.efficiency == 0 and vectors.latency_s > 0
    assert len(vectors.kernels) == 1
    views = rf.simulate(only_views(), device)
    assert views.device_s == 0 and views.latency_s == views.program_s and len(views.kernels) == 0


def only_views() -> OpGraph:
    b = GraphBuilder("views")
    return b.graph([b.reshape(b.input("x", (4, 8)), (32,))])


def test_a_kernel_that_moves_nothing_is_reported() -> None:
    """A range that nobody reads: nothing is written, and nothing divides by zero."""
    b = GraphBuilder()
    x = b.relu(b.input("x", (4, 8)))
    unread: type[Op] = Fill
    b.add_op("range", unread, dtype=x.dtype, shape=(16,))
    report = rf.simulate(b.graph([x]), "v100")
    assert np.isfinite(report.kernels.select_dtypes("number").to_numpy()).all()


# memory --------------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_warned_about() -> None:
    report = rf.simulate("efficientnet-b7", "v100", batch=4096)
    assert not report.fits and report.peak_memory_bytes > report.memory_capacity_bytes == 16e9
    (warning,) = report.warnings
    assert "efficientnet-b7 at batch 4096 needs" in warning and "does not fit" in warning and "\n" not in warning
    fitting = rf.simulate("efficientnet-b0", "v100")
    assert fitting.fits and fitting.warnings == ()


def test_peak_memory_by_hand() -> None:
    b = GraphBuilder()
    x = b.linear(b.input("x", (10, 100)), 1000, bias=False, name="wide")
    report = rf.simulate(b.graph([b.linear(x, 10, bias=False, name="narrow")]), "v100")
    weights, widest = 100 * 1000 + 1000 * 10, 10 * 100 + 10 * 1000  # fp16; the first product's input and output
    assert report.weight_bytes == 2 * weights
    assert report.peak_memory_bytes == 2 * (weights + widest)


# files ---------------------------------------------------------------------------------------------------------------


def test_json_holds_the_report(tmp_path: Path) -> None:
    report = rf.simulate("efficientnet-b0", "tpu-v3", batch=8)
    loaded = json.loads(report.save(tmp_path / "report.json").read_text())
    kernels = loaded.pop("kernels")
    assert loaded == json.loads(json.dumps(report.to_dict()))
    assert loaded["schema_version"] == 1 and loaded["roofline_version"] == rf.__version__
    assert loaded["latency_s"] == report.latency_s and loaded["batch"] == 8
    assert len(kernels) == len(report.kernels)


def test_csv_holds_the_kernels(tmp_path: Path) -> None:
    report = rf.simulate("efficientnet-b0", "tpu-v3", batch=8)
    rows = list(csv.DictReader(report.save(tmp_path / "kernels.csv").read_text().splitlines()))
    assert [row["kernel"] for row in rows] == list(report.kernels["kernel"])
    assert [float(row["time_s"]) for row in rows] == list(report.kernels["time_s"])


@pytest.mark.parametrize("target", ["report.xlsx", "report", "nowhere/report.json", "nowhere/kernels.csv"])
def test_a_file_that_cannot_be_written_is_one_line_and_nothing_is_left(tmp_path: Path, target: str) -> None:
    report = rf.simulate("efficientnet-b0", "tpu-v3")
    with pytest.raises(InputError) as caught:
        report.save(tmp_path / target)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_text_names_the_run() -> None:
    text = str(rf.simulate("efficientnet-b0", "tpu-v3", batch=8))
    for part in ("efficientnet-b0", "tpu-v3", "xla_tpu", "bf16", "batch 8", " ms"):
        assert part in text
