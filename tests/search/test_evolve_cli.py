"""``roofline search`` and ``roofline lut`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roofline.cli import main

SEARCH = [
    "search",
    "accel-nasbench",
    "--device",
    "tpu-v3",
    "--batch",
    "128",
    "--evaluations",
    "600",
    "--population",
    "64",
]


def test_search_prints_the_best_beside_the_baselines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*SEARCH, "--target-latency-ms", "6", "--output", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    for word in ("best", "random", "params only", "(90 %, 16-epoch proxy)", "pairwise ridge", "tpu-v3 ms"):
        assert word in out
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {
        "pareto.csv",
        "history.sqlite",
        "architectures",
        "pareto.png",
    }
    assert main(["simulate", str(tmp_path / "out" / "architectures" / "winner-01.toml"), "--device", "tpu-v3"]) == 0


def test_the_result_says_which_targets_are_soft_and_which_limits_hard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SEARCH, "--target-latency-ms", "6", "--max-mparams", "7", "--no-baselines"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("soft target, latency on tpu-v3 6 ms: ") for line in lines)
    assert any(line.startswith("hard limit, parameters 7 M: ") and line.endswith(", met") for line in lines)
    assert main([*SEARCH, "--target-latency-ms", "6", "--hard", "--no-baselines", "--format", "json"]) == 0
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    assert (target["kind"], target["wanted"], target["met"]) == ("hard", 6.0, True) and target["reached"] <= 6.0


def test_search_as_json_on_two_devices(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["search", "accel-nasbench", "-d", "TPUv3,v100", "--max-latency-ms", "TPUv3=9,v100=60", "-b", "128"]
    assert (
        main([*words, "-n", "400", "--population", "64", "--no-baselines", "--format", "json", "--accuracy", "params"])
        == 0
    )
    content = json.loads(capsys.readouterr().out)
    assert content["best"]["latency_ms_tpu-v3"] <= 9 and content["best"]["latency_ms_v100"] <= 60
    assert content["best"]["half_width_90"] is None and "score" in content["best"]["figure"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [*SEARCH, "--max-latency-ms", "0.000001"],
            "front is empty: no candidate of 600 keeps the hard limits; closest",
        ),
        ([*SEARCH, "--target-latency-ms", "0.000001", "--hard"], "closest is"),
        ([*SEARCH, "--hard"], "there is no target"),
        ([*SEARCH, "--target-latency-ms", "fast"], "number of milliseconds, got 'fast'"),
        ([*SEARCH, "--accuracy", "pairwis"], "nearest: 'pairwise'"),
        (["search", "resnet", "--device", "v100"], "knows MBConv networks"),
        (["search", "nasnet", "--device", "v100"], "unknown search space"),
        (["lut", "resnet", "--device", "v100", "--output", "x.xlsx"], "allowed: .csv"),
    ],
)
def test_mistakes_end_in_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.splitlines()) == 1


def test_lut_writes_what_the_suffix_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("t.csv", "t.json", "t.yaml", "t.npz"):
        assert main(["lut", "accel-nasbench", "--device", "v100", "--output", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 1000
    assert "170 blocks of accel-nasbench on v100" in capsys.readouterr().out
