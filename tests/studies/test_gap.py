"""FLOPs against latency: ratios by hand, the worst pair by brute force, and what is refused."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

import roofline as rf
from roofline.cli import main
from roofline.errors import InputError, UnknownNameError
from roofline.report.ratios import ratio_interval
from roofline.studies.gap import FlopsGap

MODELS = ["efficientnet-b0", "efficientnet-b1", "efficientnet-x-b0", "resnet-50"]
DEVICES = ["tpu-v3", "v100"]


@pytest.fixture(scope="module")
def gap() -> FlopsGap:
    return rf.flops_gap(MODELS, DEVICES, batch=16)


def test_the_rows_are_ratios_of_simulations(gap: FlopsGap) -> None:
    rows = {(row["device"], row["model"]): row for row in gap.table.to_dict("records")}
    assert set(rows) == {(device, model) for device in DEVICES for model in MODELS}
    base, other = (rf.simulate(model, "v100", batch=16) for model in ("efficientnet-b0", "resnet-50"))
    row = rows["v100", "resnet-50"]
    assert row["flops_ratio"] == pytest.approx(other.macs / base.macs)
    assert row["latency_ratio"] == pytest.approx(other.latency_s / base.latency_s)
    # the gap is the inverse ratio of achieved FLOP/s
    assert row["gap"] == pytest.approx(base.achieved_flops_per_s / other.achieved_flops_per_s)
    assert row["expected_low_ms"] < row["latency_ms"] < row["expected_high_ms"]
    assert rows["v100", "efficientnet-b0"]["error_percent"] == 0


def test_the_worst_pair_is_the_worst_of_all(gap: FlopsGap) -> None:
    for row in gap.summary.to_dict("records"):
        achieved = {m: rf.simulate(m, row["device"], batch=16).achieved_flops_per_s for m in MODELS}
        worst = max(max(a / b, b / a) for a, b in combinations(achieved.values(), 2))
        assert row["worst_pair_error_percent"] == pytest.approx(100 * (worst - 1))
        slow, fast = row["worst_pair"].split(" / ")
        assert achieved[fast] / achieved[slow] == pytest.approx(worst)
        pairs = gap.pairs[gap.pairs["device"] == row["device"]]
        assert len(pairs) == 4 * 3 / 2
        assert pairs["error_percent"].iloc[0] == pytest.approx(row["worst_pair_error_percent"])
        assert pairs["error_percent"].is_monotonic_decreasing


def test_the_reference_can_be_any_model_and_the_worst_pair_does_not_care(gap: FlopsGap) -> None:
    other = rf.flops_gap(MODELS, DEVICES, batch=16, reference="ResNet_50")
    assert other.reference == "resnet-50"
    same = ["worst_pair", "kendall_tau", "spearman"]
    assert other.summary[same].equals(gap.summary[same])
    assert list(other.summary["worst_error_percent"]) != list(gap.summary["worst_error_percent"])


def test_one_device_needs_no_list(gap: FlopsGap) -> None:
    for device in ("v100", rf.device("v100")):
        assert rf.flops_gap(MODELS, device, batch=16).summary.equals(gap.summary.iloc[1:].reset_index(drop=True))


def test_devices_may_run_different_batches() -> None:
    found = rf.flops_gap(MODELS, DEVICES, batch={"tpu-v3": 64}).table
    assert list(found["batch"]) == [64] * 4 + [1] * 4
    ratios = list(found["flops_ratio"])
    assert ratios[:4] == pytest.approx(ratios[4:])  # per example


def test_the_picture_joins_families_and_names_everybody(gap: FlopsGap) -> None:
    figure = gap.plot()
    panels = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title(loc="left").split(",")[0] for ax in panels] == DEVICES
    lines = {str(line.get_label()): line for line in panels[0].get_lines()}
    assert np.size(lines["efficientnet"].get_xdata()) == 2
    points = lines["resnet"].get_xydata()
    report = rf.simulate("resnet-50", "tpu-v3", batch=16)
    assert np.ravel(points).tolist() == pytest.approx([2 * report.macs_per_example, report.latency_s / 16])
    figure = rf.flops_gap(
        ["vit-b-16", "resnet-152"], "tpu-v3", batch=16
    ).plot()  # so fast that the peak is in the picture
    written = [text.get_text() for text in figure.findobj(Text)]
    assert any(text.startswith("peak 123") for text in written)


def test_the_finding_names_the_worst_and_its_bounds(gap: FlopsGap) -> None:
    low, high = gap.error_bounds("v100")
    worst = float(gap.summary["worst_pair_error_percent"].iloc[1])
    assert 0 <= low < worst < high
    slow, fast = (rf.simulate(m, "v100", batch=16) for m in gap.summary["worst_pair"].iloc[1].split(" / "))
    expected = ratio_interval(slow, fast)
    assert high == pytest.approx(100 * (expected.high * fast.flops / slow.flops - 1))
    alone = slow.interval.high_s / fast.interval.low_s * fast.flops / slow.flops
    assert high < 100 * (alone - 1)  # what both share cancels
    facts = gap.summary.iloc[0]
    assert (
        facts["worst_pair_facts_low_percent"]
        < facts["worst_pair_error_percent"]
        < facts["worst_pair_facts_high_percent"]
    )
    assert facts["decided_by"].startswith("tpu-v3 ") and "most by tpu-v3 " in gap.finding.splitlines()[0]
    assert gap.finding.splitlines()[1].startswith(f"v100: FLOPs are wrong by up to {worst:,.0f} %")


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (["resnet-18"], {}, "at least two, got 1"),
        (None, {}, "lists of names"),
        (iter(MODELS), {}, "lists of names"),
        (["resnet-18", "resnet_18"], {}, "model 'resnet-18' is given twice"),
        (MODELS[:2], {"dtype": "int8"}, "device 'tpu-v3' has no dtype 'int8'"),
        (MODELS[:2], {"batch": 0}, "batch must be a whole number"),
    ],
)
def test_mistakes(models: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rf.flops_gap(models, DEVICES, **options)


def test_a_device_twice_and_a_reference_that_is_not_there() -> None:
    with pytest.raises(InputError, match="device 'v100' is given twice"):
        rf.flops_gap(MODELS[:2], ["v100", "V100"])
    with pytest.raises(UnknownNameError, match="unknown reference model 'resnet-5O'; nearest: 'resnet-50'"):
        rf.flops_gap(MODELS, DEVICES, reference="resnet-5O")


def test_a_network_without_products_has_no_gap() -> None:
    b = rf.GraphBuilder("relu")
    graph = b.graph([b.relu(b.input("x", (1, 8)))])
    with pytest.raises(InputError, match="'relu' has no matrix products"):
        rf.flops_gap(["resnet-18", graph], ["v100"])


WORDS = ["gap", *MODELS[:3], "-d", "tpu-v3,v100", "--batch", "16"]


def test_the_verb(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*WORDS, "--format", "json", "--output", str(tmp_path / "gap.csv")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [len(shown[name]) for name in ("runs", "devices", "pairs")] == [6, 2, 6]
    assert len((tmp_path / "gap.csv").read_text().splitlines()) == 1 + 6
    assert main([*WORDS, "--output", str(tmp_path / "gap.png")]) == 0
    assert (tmp_path / "gap.png").stat().st_size > 10_000
    assert "against efficientnet-b0" in capsys.readouterr().out


def test_an_existing_file_is_kept_unless_forced(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "gap.json"
    path.write_text("mine")
    assert main([*WORDS, "--output", str(path)]) == 2
    assert f"{str(path)!r} exists: give --force to overwrite it" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main([*WORDS, "--output", str(path), "--force"]) == 0
    assert len(json.loads(path.read_text())["devices"]) == 2


def test_a_folder_that_takes_no_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert main([*WORDS, "--output", str(tmp_path / "gap.png")]) == 2
    assert "no permission to write" in capsys.readouterr().err
