"""The trade of serving: points that are those of single calls, batches that fit, and the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

import roofline as rf
from roofline.cli import main
from roofline.errors import InputError
from roofline.plot.serving import plot_serving
from roofline.studies.serving import ServingCurve

MODEL = "llama-3-8b"
OPTIONS: dict[str, Any] = {"runtime": "tensorrt", "dtype": "bf16"}


@pytest.fixture(scope="module")
def curve() -> ServingCurve:
    return rf.serving_curve(
        MODEL, ["a100-80gb", "h100-sxm"], prompt=[512, 1024], output_tokens=128, batch=[1, 8, 400], chunk=512, **OPTIONS
    )


def test_points_are_those_of_single_calls(curve: ServingCurve) -> None:
    assert len(curve.table) == 2 * 2 * 3
    rows = curve.table[(curve.table["device"] == "h100-sxm") & (curve.table["prompt"] == 1024)]
    row = rows[rows["batch"] == 8].iloc[0]
    one = rf.generate(MODEL, "h100-sxm", prompt=1024, output_tokens=128, batch=8, chunk=512, **OPTIONS)
    assert one.tpot_s is not None and one.steady.tpot_s is not None
    assert row["ttft_ms"] == pytest.approx(1e3 * one.ttft_s, rel=1e-9)
    assert row["tpot_ms"] == pytest.approx(1e3 * one.tpot_s, rel=1e-9)
    assert row["steady_tpot_ms"] == pytest.approx(1e3 * one.steady.tpot_s, rel=1e-9)
    assert row["tokens_per_s"] == pytest.approx(one.tokens_per_s, rel=1e-9)
    assert row["cache_gib"] == one.room.cache_bytes / 2**30 and row["largest_batch"] == one.room.largest_batch


def test_more_requests_write_more_and_wait_longer(curve: ServingCurve) -> None:
    for _, line in curve.table.groupby(["device", "prompt"]):
        assert (np.diff(line["steady_tpot_ms"]) > 0).all() and (np.diff(line["steady_tokens_per_s"]) > 0).all()
    newer, older = (curve.table[curve.table["device"] == d].reset_index() for d in ("h100-sxm", "a100-80gb"))
    assert (newer["steady_tokens_per_s"] > older["steady_tokens_per_s"]).all()


def test_batches_that_nobody_gives_are_those_that_fit() -> None:
    found = rf.serving_curve(MODEL, "h100-sxm", prompt=4096, output_tokens=1024, chunk=2048, **OPTIONS).table
    largest = int(found["largest_batch"].iloc[0])
    assert found["fits"].all() and list(found["batch"]) == sorted({1, 2, 4, 8, 16, 32, 64, largest})


def test_the_picture_names_lines_and_batches(curve: ServingCurve, tmp_path: Path) -> None:
    figure = curve.plot(tmp_path / "trade.png")
    words = {text.get_text() for text in figure.findobj(Text)}
    assert {"a100-80gb, prompts of 512", "h100-sxm, prompts of 1,024", "1", "8"} <= words
    assert (tmp_path / "trade.png").stat().st_size > 10_000
    drawn = [line for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert [list(line.get_xdata()) for line in drawn] == [  # type: ignore[arg-type]
        list(line["steady_tpot_ms"]) for _, line in curve.table.groupby(["device", "prompt"], sort=False)
    ]


def test_batches_that_only_wait_share_a_number() -> None:
    times_ms, rates = [1.0, 2.0, 2.0, 2.005, 3.0], [10.0, 40.0, 40.0, 40.0, 40.0]
    line = pd.DataFrame({"steady_tpot_ms": times_ms, "steady_tokens_per_s": rates, "batch": [1, 512, 800, 1024, 2000]})
    figure = plot_serving(line.assign(device="a", prompt=1, fits=True))
    words = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(words) == ["1", "2,000", "512 to 1,024"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": []}, "at least one device, one prompt and one batch"),
        ({"devices": []}, "at least one device, one prompt and one batch"),
        ({"model": "llama-3-70b"}, "no batch does"),
        ({"output_tokens": 0}, "output_tokens must be"),
    ],
)
def test_what_is_no_curve_is_refused(options: dict[str, Any], words: str) -> None:
    call: dict[str, Any] = {"model": MODEL, "devices": "h100-sxm", "prompt": 512, "output_tokens": 16} | OPTIONS
    with pytest.raises(InputError, match=words):
        rf.serving_curve(**(call | options))


def test_the_command_line_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"simulate {MODEL} -d h100-sxm -r tensorrt --prompt 4096 --output-tokens 64".split()
    for name in ("trade.png", "trade.csv", "one.json"):
        assert main([*words, "-o", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 500
    assert (tmp_path / "trade.csv").read_text().startswith("model,device,runtime")
    assert main([*words, "-o", str(tmp_path / "trade.html")]) == 2
    assert "allowed" in capsys.readouterr().err
