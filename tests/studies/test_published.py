"""The predictions beside published figures: the page is what the simulator says, and the order is right."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pages import assert_up_to_date, generator
from places import ROOT

import roofline as rf
from roofline.graph.builder import GraphBuilder
from roofline.stats import geometric_mean
from roofline.studies import published as figures
from roofline.studies.intensity import graph_intensity, naive_intensity

#: a table of the paper's results that is not part of the project
TABLE = ROOT.parent / "shared" / "reference" / "effnetx_paper_table.csv"
#: where the recalled intensities are trusted
TRUSTED = [f"efficientnet-{size}" for size in ("b0", "b1", "b3", "b4")]
TRUSTED += [f"efficientnet-x-{size}" for size in ("b0", "b1", "b2", "b3", "b4")]
TOLERANCE = 0.10


@pytest.fixture(scope="module")
def generate() -> dict[str, Any]:
    return generator()


@pytest.fixture(scope="module")
def reference() -> dict[str, dict[str, str]]:
    if not TABLE.is_file():
        pytest.skip("the table of recalled results is not beside the checkout")
    with TABLE.open(newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


def test_the_page_of_results_is_up_to_date(generate: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert_up_to_date(page, generate["results"]())


@pytest.mark.parametrize("device", ["tpu-v3", "v100"])
def test_efficientnet_x_is_faster_at_every_size(generate: dict[str, Any], device: str) -> None:
    pairs = figures.speedups(generate["latencies"]())
    rows = pairs[pairs["device"] == device]
    assert list(rows["size"]) == [f"b{i}" for i in range(8)]
    assert (rows["predicted"] > 1.0).all(), rows.to_string()


def test_the_latencies_are_run_under_the_stated_conditions(generate: dict[str, Any]) -> None:
    rows = generate["latencies"]()
    found = set(rows[["device", "runtime", "dtype", "batch"]].itertuples(index=False, name=None))
    assert found == {("tpu-v3", "xla_tpu", "bf16", 128), ("v100", "tensorflow", "fp16", 128)}


def test_tpu_v3_follows_the_published_latencies(generate: dict[str, Any]) -> None:
    rows = generate["latencies"]()
    known = rows[rows["device"] == "tpu-v3"].dropna(subset=["ratio"])
    assert len(known) == 14
    assert (known["ratio"] - 1).abs().mean() < 0.12  # the published figures are recalled: good to 10 %
    pairs = figures.speedups(rows)
    assert 1.35 < geometric_mean(pairs.loc[pairs["device"] == "tpu-v3", "predicted"]) < 1.65


def test_migration_gains_clearly_more_for_efficientnet_x(generate: dict[str, Any]) -> None:
    moves = generate["migrations"]()
    gain = moves.groupby(["batch", "family"])["speedup"].agg(geometric_mean).unstack()
    assert list(gain.index) == list(figures.MIGRATION_BATCHES)
    assert (gain["efficientnet-x"] > 1.15 * gain["efficientnet"]).all(), gain.to_string()
    assert moves.loc[moves["batch"] <= 128, "fits"].all()


def test_the_batches_of_the_migration_are_the_largest_within_the_limit(generate: dict[str, Any]) -> None:
    batches = figures.allowed_batches(generate["migrations"]())
    assert set(batches) == {f"{f}-{s}" for f in figures.published().families for s in figures.published().sizes}
    limit_ms = figures.published().migration.limit_ms
    for model, batch in batches.items():
        assert batch & (batch - 1) == 0
        assert rf.simulate(model, "tpu-v4i", batch=batch).latency_ms < limit_ms or batch == 1
        assert rf.simulate(model, "tpu-v4i", batch=2 * batch).latency_ms >= limit_ms


def test_a_network_over_the_limit_at_every_batch_runs_at_the_smallest() -> None:
    table = pd.DataFrame({"model": ["a", "a", "b"], "batch": [1, 2, 4], "after_ms": [3.0, 12.0, 11.0]})
    assert figures.allowed_batches(table) == {"a": 1, "b": 4}
    assert list(figures.at_batches(table, {"a": 1, "b": 4}).index) == [0, 2]


def test_batch_sizes_hold_where_every_family_is_near() -> None:
    gains = {1: (1.3, 2.0), 2: (1.4, 2.8), 4: (1.6, 2.6)}
    rows = [
        {"batch": batch, "family": family, "speedup": gain * factor}
        for batch, both in gains.items()
        for family, gain in zip(figures.published().families, both, strict=True)
        for factor in (0.5, 2.0)  # the geometric mean is the gain itself
    ]
    assert figures.holding_batches(pd.DataFrame(rows)) == [2]


def test_on_chip_memory_and_vector_lanes_carry_the_migration(generate: dict[str, Any]) -> None:
    def gains(table: pd.DataFrame) -> pd.Series:
        return table.groupby("family")["speedup"].agg(geometric_mean)

    moves = generate["migrations"]()
    whole = gains(moves[moves["batch"] == 8])
    less, more = (gains(figures.migrations((8,), after=device)) for device in figures.migration_variants().values())
    assert (less < whole).all()
    assert (whole < more).all()


def test_a_migration_is_the_ratio_of_two_simulations() -> None:
    (row,) = (r for r in figures.migrations((8,)).to_dict("records") if r["model"] == "efficientnet-b3")
    before, after = (rf.simulate("efficientnet-b3", device, batch=8).latency_ms for device in ("tpu-v2", "tpu-v4i"))
    assert row["speedup"] == pytest.approx(before / after, rel=1e-12)


def test_naive_intensity_counts_by_hand() -> None:
    # a stem convolution 8x8x3 -> 4x4x16, then a gate on its output, as one graph
    b = GraphBuilder("tiny")
    x = b.conv(b.input("image", (2, 8, 8, 3)), 16, kernel=3, stride=2)
    graph = b.graph([b.gate(b.relu(x), b.input("gate", (2, 1, 1, 16)))])
    macs = 2 * 4 * 4 * 16 * 27
    elements = 2 * 8 * 8 * 3 + 3 * 3 * 3 * 16 + 2 * 4 * 4 * 16  # image, weights, output
    elements += 2 * (2 * 4 * 4 * 16)  # the gate's read and write
    assert graph_intensity(graph, "bf16") == pytest.approx(2 * macs / (2 * elements))


def test_naive_intensity_follows_batch_and_dtype() -> None:
    one, many = (naive_intensity("efficientnet-b0", batch) for batch in (1, 128))
    assert one < many  # weights are shared by the batch
    assert naive_intensity("efficientnet-b0", dtype="fp32") == pytest.approx(many / 2)


@pytest.mark.parametrize("model", TRUSTED)
def test_naive_intensity_agrees_with_the_paper(reference: dict[str, dict[str, str]], model: str) -> None:
    assert naive_intensity(model) == pytest.approx(float(reference[model]["I_ops_per_byte"]), rel=TOLERANCE)


def test_the_shipped_figures_are_those_of_the_table(reference: dict[str, dict[str, str]]) -> None:
    data = figures.published()
    columns = {"tpu-v3": "tpuv3_latency_ms_b128", "v100": "gpuv100_latency_ms_b128"}
    for model, row in reference.items():
        wanted = {device: float(row[column]) for device, column in columns.items() if row[column]}
        assert data.latency.ms[model] == wanted
        known = row["I_ops_per_byte"]
        assert data.intensity.flops_per_byte.get(model) == (float(known) if known else None)


def test_every_figure_has_a_source() -> None:
    data = figures.published()
    for part in (data.latency, data.intensity, data.speedup, data.migration):
        assert part.source in data.sources
    models = {f"{family}-{size}" for family in data.families for size in data.sizes}
    assert set(data.latency.ms) == models
    assert models <= set(rf.models())


def test_the_generator_writes_where_the_tests_look(generate: dict[str, Any]) -> None:
    assert Path(generate["RESULTS"]) == ROOT / "docs" / "results.md"
    assert Path(generate["PICTURE"]).is_file()
