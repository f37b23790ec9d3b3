"""Studies of single steps of decoders: each answers with its usual table, and with what physics says of decode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import roofline as rf
from roofline.cli import main

MODELS = ["llama-3-8b", "llama-3.2-3b"]
DECODE: dict[str, Any] = {"runtime": "tensorrt", "dtype": "bf16", "phase": "decode", "context": 2048}


def test_compare_says_which_step() -> None:
    table = rf.compare(MODELS, ["h100-sxm", "h200"], batch=8, **DECODE)
    assert set(table["phase"]) == {"decode"} and set(table["context"]) == {2048.0}
    assert (table["tokens_per_s"] == table["throughput_per_s"]).all() and (table["bound"] == "memory").all()


def test_a_migration_of_decode_follows_the_bandwidth_not_the_peak() -> None:
    found = rf.migrate(MODELS[:1], "h100-sxm", "h200", batch=[1, 8], **DECODE)
    assert found.peak_ratio == pytest.approx(1.0, abs=0.01)
    assert found.bandwidth_ratio == pytest.approx(4.8 / 3.35, rel=0.01)
    assert ((found.table["speedup"] > 1.2) & (found.table["speedup"] < found.bandwidth_ratio)).all()


def test_flops_say_nothing_about_decode() -> None:
    """A batch of 16 multiplies 16 times as much as one sequence, and takes little longer."""
    one, many = (rf.simulate(MODELS[0], "h100-sxm", batch=n, **DECODE) for n in (1, 16))
    assert many.macs == pytest.approx(16 * one.macs) and many.latency_s < 1.5 * one.latency_s
    assert len(rf.flops_gap(MODELS, "h100-sxm", batch=8, **DECODE).table) == 2


def test_decode_hangs_on_the_bandwidth_and_prefill_on_the_matrix_units() -> None:
    fields = ["hbm.bandwidth_bytes_per_s", "matrix.units"]
    prompt = {name: value for name, value in DECODE.items() if name not in ("phase", "context")} | {"length": 4096}
    found = []
    for options in (DECODE | {"batch": 8}, prompt):
        table = rf.sensitivity(MODELS[0], "h100-sxm", fields=fields, **options).table
        elasticity = dict(zip(table["field"], table["elasticity"], strict=True))
        found.append([elasticity[field] for field in fields])
    (by_memory, by_matrix), (little, most) = found
    assert by_memory < -0.7 < by_matrix and most < -0.5 < little


def test_a_sweep_goes_through_contexts_and_phases() -> None:
    table = rf.sweep(
        MODELS[:1], ["h100-sxm"], batch=[1, 8], runtime="tensorrt", phase="decode", context=[512, "4k", "1k:1,3k:1"]
    )
    assert sorted(table["context"]) == [512.0, 512.0, 2048.0, 2048.0, 4096.0, 4096.0]
    rows = table[table["batch"] == 8].sort_values("context")["latency_ms"]
    assert rows.is_monotonic_increasing and rows.is_unique
    table = rf.sweep(MODELS[:1], ["h100-sxm"], runtime="tensorrt", length=[128, 1024], prefix=[0, 1024])
    assert len(table) == 4 and set(table["phase"]) == {"prefill"}


def test_advice_changes_no_memory_format_of_images() -> None:
    table = rf.advise(MODELS[1], "h100-sxm", batch=8, **DECODE)
    assert "layout" not in set(table["edit"])
    larger = table[table["description"] == "batch 8 -> 32"].iloc[0]
    assert larger["throughput_change"] > 1.5


def test_files_of_a_step(tmp_path: Path) -> None:
    run = rf.simulate(MODELS[1], "h100-sxm", batch=8, **DECODE)
    for name in ("page.html", "run.trace.json", "kernels.csv", "run.json", "roofline.png"):
        run.save(tmp_path / name)
    page = (tmp_path / "page.html").read_text()
    assert "decode, context 2,048" in page and "Cache" in page and "nhwc" not in page.split("<script")[0]
    assert json.loads((tmp_path / "run.json").read_text())["phase"] == "decode"
    assert run.waterfall()["time_s"].sum() == pytest.approx(run.latency_s)


def test_verbs_take_steps(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-r", "tensorrt", "--phase", "decode", "--context", "1k"]
    assert main(["compare", ",".join(MODELS), "-d", "h100-sxm,h200", *words]) == 0
    assert main(["migrate", MODELS[0], "--from", "a100-80gb", "--to", "h100-sxm", *words]) == 0
    assert main(["simulate", MODELS[0], "-d", "h100-sxm", *words, "--explain"]) == 0
    assert "nhwc" not in capsys.readouterr().out
