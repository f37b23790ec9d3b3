"""``roofline scale`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roofline.cli import main

SMALL = ["--max-depth", "2", "--max-width", "1.5", "--max-resolution", "1.3", "--resolution-step", "16"]
SCALE = ["scale", "efficientnet-b0", "--device", "tpu-v3", "--batch", "128", *SMALL]


def test_scale_prints_every_calibration_and_keeps_the_family(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*SCALE, "--like", "efficientnet-b1..b2", "--output", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    for word in ("all-families", "accuracy by efficientnet", "left out of its fit", "(90 %, AutoAugment)", "alpha",
                 "tpu-v3 ms", "FLOPs-scaled tpu-v3 ms", "note: "):  # fmt: skip
        assert word in out
    made = tmp_path / "out" / "architectures" / "efficientnet-b0-lacs-b1.toml"
    assert main(["simulate", str(made), "--device", "tpu-v3"]) == 0
    assert main([*SCALE, "--times", "2", "--output", str(tmp_path / "out")]) == 2
    assert "holds a family: give --force to overwrite it" in capsys.readouterr().err


def test_scale_as_json_and_csv_on_two_devices(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["scale", "efficientnet-b0", "-d", "tpu-v3,v100", *SMALL, "-b", "tpu-v3=128,v100=64", "--free"]
    targets = ["-t", "TPUv3=22,30", "-t", "v100=24,34"]
    assert main([*words, *targets, "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["devices"]["v100"]["batch"] == 64
    member = content["answers"]["all-families"]["members"][-1]
    assert member["latency_ms_tpu-v3"] <= 30 and member["latency_ms_v100"] <= 34 and member["phi"] is None
    assert main([*words, "--objective", "flops", "--target-gmacs", "0.8,1.2", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("member,depth,width,resolution_px,macs")


def test_an_accuracy_of_ones_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_accuracy.py").write_text("def top1(depth, width, pixels):\n    return 70 + depth + width\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main([*SCALE, "--times", "2", "--accuracy", "my_accuracy:top1"]) == 0
    assert "accuracy by top1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*SCALE, "--times", "4,2"], "targets must grow"),
        ([*SCALE, "--times", "2,x"], "--times takes numbers, A,B,..., got '2,x'"),
        ([*SCALE, "-t", "0.1"], "out of reach, below everything in the range: the closest network"),
        ([*SCALE, "--times", "900"], "beyond everything in the range"),
        ([*SCALE], "give one of --target-latency-ms, --target-gmacs, --times, --like; got none"),
        ([*SCALE, "--times", "2", "-t", "5"], "got --target-latency-ms and --times"),
        ([*SCALE, "--objective", "flops", "-t", "5"], "--target-latency-ms is of --objective latency"),
        ([*SCALE, "--target-gmacs", "5"], "--target-gmacs is of --objective flops"),
        ([*SCALE, "-t", "v100=5", "-t", "6"], "or DEVICE=A,B,... for each"),
        ([*SCALE, "--times", "2", "--accuracy", "efficentnet"], "nearest: 'efficientnet'"),
        (["scale", "vit-b-16", "-d", "t4", "--times", "2", "--resolution-step", "8"], "divide by patches of 16 px"),
        (["scale", "bert-base", "-d", "t4", "--times", "2"], "reads tokens"),
    ],
)
def test_mistakes_end_in_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.splitlines()) == 1
