"""Migration: speed-ups are ratios of simulations, families are geometric means, shares of the peak by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from matplotlib.text import Text

import roofline as rf
from roofline.cli import main
from roofline.errors import InputError
from roofline.report.ratios import ratio_interval
from roofline.studies.migrate import Migration

MODELS = ["efficientnet-b0", "efficientnet-b1", "efficientnet-x-b0"]


@pytest.fixture(scope="module")
def moved() -> Migration:
    return rf.migrate(MODELS, "tpu-v2", "tpu-v4i", batch=[2, 16])


def test_a_speed_up_is_the_ratio_of_two_simulations(moved: Migration) -> None:
    assert list(moved.table["batch"]) == [2] * 3 + [16] * 3
    for row in moved.table.to_dict("records"):
        old, new = (rf.simulate(row["model"], device, batch=row["batch"]) for device in ("tpu-v2", "tpu-v4i"))
        assert row["speedup"] == pytest.approx(old.latency_s / new.latency_s)
        expected = ratio_interval(old, new)
        assert [row["speedup_low"], row["speedup_high"]] == pytest.approx([expected.low, expected.high])
        assert old.interval.low_s / new.interval.high_s < row["speedup_low"] < row["speedup"] < row["speedup_high"]
        facts = [old.fact_range.low / new.fact_range.high, old.fact_range.high / new.fact_range.low]  # of two devices
        assert [row["facts_low"], row["facts_high"]] == pytest.approx([row["speedup"] * end for end in facts])
        assert row["decided_by"].startswith(("tpu-v2 ", "tpu-v4i "))


def test_families_are_geometric_means_and_one_member_is_its_own(moved: Migration) -> None:
    for row in moved.families.to_dict("records"):
        mine = moved.table[(moved.table["batch"] == row["batch"]) & (moved.table["family"] == row["family"])]
        assert row["members"] == len(mine) == (2 if row["family"] == "efficientnet" else 1)
        assert row["speedup"] == pytest.approx(math.prod(mine["speedup"]) ** (1 / len(mine)))
        assert row["speedup_low"] == pytest.approx(math.prod(mine["speedup_low"]) ** (1 / len(mine)))
        # the facts are those of the same two devices in every member: at their ends in all of them at once
        ends = [math.prod(mine[f"facts_{end}"]) ** (1 / len(mine)) for end in ("low", "high")]
        assert ends[0] <= row["facts_low"] * (1 + 1e-9) and row["facts_high"] <= ends[1] * (1 + 1e-9)
        assert row["facts_low"] < row["speedup"] < row["facts_high"]


def test_ratios_of_the_devices_by_hand(moved: Migration) -> None:
    assert moved.peak_ratio == pytest.approx(3, rel=0.01)  # 138 over 46 TFLOP/s
    assert moved.bandwidth_ratio == pytest.approx(614 / 700)  # GB/s
    row = moved.families.iloc[0]
    assert 3 ** row["peak_share"] == pytest.approx(row["speedup"], rel=0.01)


def test_a_side_promises_what_its_cores_have() -> None:
    found = rf.migrate(["resnet-18"], "tpu-v2", "tpu-v3", batch=8, cores={"tpu-v3": 1})
    assert found.peak_ratio == pytest.approx((123 / 2) / 46, rel=0.01)  # TFLOP/s; a TPU v3 has two cores
    assert found.bandwidth_ratio == pytest.approx((900 / 2) / 700)  # GB/s, half of the memory belongs to each
    both = rf.migrate(["resnet-18"], "tpu-v2", "tpu-v3", batch=8, cores=1)
    assert both.peak_ratio == pytest.approx(123 / 46, rel=0.01)


def test_shares_of_the_peak_add_up_over_a_detour() -> None:
    def gain(before: str, after: str) -> tuple[float, float]:
        found = rf.migrate(["resnet-50"], before, after, batch=8)
        return float(found.families["peak_share"].iloc[0]) * math.log(found.peak_ratio), found.peak_ratio

    (one, first), (two, second), (whole, ratio) = (
        gain(*pair) for pair in (("tpu-v2", "tpu-v3"), ("tpu-v3", "tpu-v4"), ("tpu-v2", "tpu-v4"))
    )
    assert one + two == pytest.approx(whole)
    assert first * second == pytest.approx(ratio)


def test_going_back_undoes_the_gain(moved: Migration) -> None:
    back = rf.migrate(MODELS, "tpu-v4i", "tpu-v2", batch=[2, 16])
    assert list(back.table["speedup"]) == pytest.approx(list(1 / moved.table["speedup"]))
    assert list(back.families["peak_share"]) == pytest.approx(list(moved.families["peak_share"]))


def test_equal_peaks_promise_nothing() -> None:
    found = rf.migrate(["resnet-18"], "a100-40gb", "a100-80gb")
    assert found.peak_ratio == 1.0 and math.isnan(found.families["peak_share"].iloc[0])
    near = rf.migrate(["resnet-18"], "tpu-v3", "v100")  # 123 and 125 TFLOP/s
    assert 1.0 < near.peak_ratio < 1.05 and math.isnan(near.families["peak_share"].iloc[0])


def test_kinds_of_devices_mix_and_each_has_its_own_dtype_and_runtime() -> None:
    found = rf.migrate(["resnet-18"], "v100", "TPUv3", dtype={"v100": "fp32"}, runtime={"v100": "tensorrt"}, batch=4)
    before, after = found.runs[0]
    assert (before.dtype, before.runtime, after.dtype) == ("fp32", "tensorrt", "bf16")
    assert found.conditions == "v100 (tensorrt, fp32, 1 core) -> tpu-v3 (xla_tpu, bf16, 2 cores)"


def test_the_finding_is_a_line_per_batch_and_family(moved: Migration) -> None:
    lines = moved.finding.splitlines()
    assert len(lines) == len(moved.families)
    assert lines[0].startswith(f"batch 2: efficientnet x{moved.families['speedup'].iloc[0]:.2f} of a peak of x3.00")
    assert f"most by {moved.families['decided_by'].iloc[0]}" in lines[0]


def test_the_picture_has_a_bar_per_batch_and_series(moved: Migration) -> None:
    figure = moved.plot()
    (ax,) = figure.axes
    heights = [bar.get_height() for bar in ax.patches]  # type: ignore[attr-defined]
    names = ("efficientnet", "efficientnet-x")
    wanted = [3.0] * 2 + [
        row["speedup"] for n in names for row in moved.families.to_dict("records") if row["family"] == n
    ]
    assert heights == pytest.approx(wanted)
    written = {text.get_text() for text in figure.findobj(Text)}
    assert {"peak ratio", *names, "batch 2", "batch 16"} <= written


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((["resnet-18"], "t4", "T4"), {}, "between two devices, got 't4' twice"),
        (([], "t4", "v100"), {}, "at least one model"),
        ((["resnet-18", "resnet_18"], "t4", "v100"), {}, "model 'resnet-18' is given twice"),
        (("resnet-18", "t4", "v100"), {}, "lists of names"),
        ((["resnet-18"], "t4", "v100"), {"batch": []}, "at least one batch size"),
        ((["resnet-18"], "t4", "v100"), {"batch": [8, 8]}, "batch size 8 is given twice"),
        ((["resnet-18"], "t4", "v100"), {"batch": {"t4": 8}}, "the same on both sides"),
        ((["resnet-18"], "t4", "v100"), {"batch": [8, 0]}, "batch must be a whole number"),
        ((["resnet-18"], "v100", "t4"), {"dtype": "int8"}, "device 'v100' has no dtype 'int8'"),
        ((["resnet-18"], "v100", "t4"), {"cores": {"l4": 1}}, "cores names device 'l4', which is not simulated"),
    ],
)
def test_mistakes(arguments: tuple[object, ...], options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rf.migrate(*arguments, **options)  # type: ignore[arg-type]


WORDS = ["migrate", *MODELS, "--from", "tpu-v2", "--to", "tpu-v4i", "--batch", "2,16"]


def test_the_verb(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*WORDS, "--format", "json", "--output", str(tmp_path / "bars.svg")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [len(shown[name]) for name in ("runs", "families")] == [6, 4]
    assert (tmp_path / "bars.svg").stat().st_size > 5_000
    assert main(WORDS) == 0
    out = capsys.readouterr().out
    assert "share of peak" in out and "Geometric mean of each family" in out


def test_the_verb_refuses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*WORDS[:-1], "2,x"]) == 2
    assert "--batch takes a whole number, got 'x'" in capsys.readouterr().err
    (tmp_path / "bars.png").write_text("mine")
    assert main([*WORDS, "--output", str(tmp_path / "bars.png")]) == 2
    assert "give --force to overwrite it" in capsys.readouterr().err


def test_equal_peaks_are_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "resnet-18", "--from", "a100-40gb", "--to", "a100-80gb", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["families"][0]["peak_share"] is None
