"""`roofline advise` and `--explain` on the command line: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import roofline as rf
from roofline.cli.advise import KINDS
from roofline.cli.app import main
from roofline.studies.edits import FREE, NETWORK, PRECISION


def test_advice_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "advice.csv"
    line = ["advise", "efficientnet-b0", "--device", "tpu-v4i", "--batch", "8"]
    assert main([*line, "--output", str(file), "--limit", "2"]) == 0
    shown = capsys.readouterr().out
    table = rf.advise("efficientnet-b0", "tpu-v4i", batch=8)
    best = table.iloc[0]
    assert best["description"] in shown
    assert f"{100 * best['throughput_change']:+.1f} %" in shown
    assert table.iloc[2]["description"] not in shown
    before = "efficientnet-b0 on tpu-v4i: xla_tpu, bf16, nhwc, batch 8, 224 px, 1 core, inference"
    assert shown.startswith(f"{before}\n{table['latency_before_ms'][0]:.4g} ms; {len(table)} changes tried\n")
    with file.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["description"] for row in rows] == table["description"].tolist()
    assert main([*line, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["advice"][0]["latency_ms"] == best["latency_ms"]


def test_a_reason_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "waterfall.png"
    line = ["simulate", "efficientnet-b0", "--device", "tpu-v3", "--explain"]
    assert main([*line, "--plot", "waterfall", "--output", str(file)]) == 0
    assert file.stat().st_size > 0
    shown = capsys.readouterr().out
    assert "Where the latency goes" in shown
    assert "tile padding" in shown
    report = rf.simulate("efficientnet-b0", "tpu-v3")
    assert main([*line, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["waterfall"]
    assert sum(row["time_s"] for row in rows) == pytest.approx(report.latency_s, rel=1e-9)
    assert main([*line, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "stage,term,time_s,share"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["advise", "efficientnet-b0", "--device", "tpu-v3", "--limit", "0"], "--limit must be at least 1, got 0"),
        (["advise", "efficientnet-b0", "--device", "tpu-v3", "--output", "advice.png"], "allowed: .csv, .json"),
        (["advise", "--device", "tpu-v3"], "give a MODEL"),
        (["advise", "resnet-18", "--device", "tpu-v3", "--kind", ""], "give at least one --kind of free, precision"),
        (["advise", "resnet-18", "-d", "tpu-v3", "-d", "v100"], "--device takes one value, and is given 2 times"),
        (
            ["advise", "efficientnet-b0", "--device", "tpu-v3", "--kind", "fre"],
            "unknown --kind 'fre'; nearest: 'free'",
        ),
        (["simulate", "efficientnet-b0", "--device", "tpu-v3", "--plot", "waterfall"], "--plot needs --output"),
        (
            ["simulate", "efficientnet-b0", "--device", "tpu-v3", "--plot", "kernels", "--output", "report.json"],
            "cannot write 'report.json'; allowed: .png, .svg, .pdf",
        ),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_advice_that_does_not_fit_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", "efficientnet-b7", "--device", "t4", "--batch", "512", "--all", "--limit", "100"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "batch = 2048" in line)
    assert "batch 512 -> 2,048 (does not fit)" in line


def test_no_gain_is_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    table = rf.advise("resnet-50", "v100")
    monkeypatch.setattr("roofline.advise", lambda *_, **__: table[table["throughput_change"] < 0])
    assert main(["advise", "resnet-50", "--device", "v100"]) == 0
    assert "none of them gains throughput" in capsys.readouterr().out


def test_kinds_choose_the_changes(capsys: pytest.CaptureFixture[str]) -> None:
    assert KINDS == (FREE, PRECISION, NETWORK)
    line = ["advise", "resnet-50", "--device", "v100", "--format", "json", "--kind", "free,precision"]
    assert main(line) == 0
    rows = json.loads(capsys.readouterr().out)["advice"]
    assert {row["kind"] for row in rows} == {FREE, PRECISION}


def test_advice_for_a_hypothetical_device(capsys: pytest.CaptureFixture[str]) -> None:
    change = "hbm.bandwidth_bytes_per_s*=2"
    assert main(["advise", "resnet-18", "--device", "tpu-v3", "--set", change, "--format", "json"]) == 0
    before = json.loads(capsys.readouterr().out)["advice"][0]["latency_before_ms"]
    fast = rf.device("tpu-v3").with_overrides({"hbm.bandwidth_bytes_per_s": 1.8e12})
    assert before == rf.simulate("resnet-18", fast).latency_ms


@pytest.mark.parametrize("device", ["v100", "h100-sxm", "tpu-v4i"])
def test_advice_on_training_leaves_out_what_does_not_train(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = rf.advise("resnet-18", device, batch=8, mode="training")
    assert len(table) and not set(table["setting"]) & {"runtime = 'tensorrt'", "dtype = 'fp8'", "dtype = 'int8'"}
    assert main(["advise", "resnet-18", "-d", device, "--mode", "training", "--optimizer", "sgd", "--recompute"]) == 0
    assert "changes tried" in capsys.readouterr().out
