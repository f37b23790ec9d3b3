"""``roofline witness``: what it prints and writes, and its errors in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jax")

import roofline as rf
from roofline.cli import main
from roofline.errors import InputError
from roofline.studies import witness as asking
from roofline.xla.compile import Compiled
from roofline.xla.programs import Exported


def instruction(number: int, ops: list[str]) -> str:
    return "\n".join(
        f'  %op.{number}.{i} = f32[8]{{0:T(8,128)S(1)}} add(), metadata={{op_name="jit(f)/{op}/add"}}, '
        f'backend_config={{"estimated_cycles":"{100 * (i + 1)}"}}'
        for i, op in enumerate(ops)
    )


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every program of MobileNetV2 be compiled to a kernel for each op, the v3's be refused."""
    text = "ENTRY %main (x: f32[8]) -> f32[8] {\n" + instruction(0, list(rf.op_graph("mobilenetv2-1.0").ops)) + "\n}"

    def answer(program: Exported, target: Any, cache: Any) -> Compiled:
        if target.topology.startswith("v3"):
            raise InputError("the compiler refuses the program for 'v3:1x1': too large")
        return Compiled(text=text, memory={}, seconds=1.0)

    monkeypatch.setattr(asking, "versions", lambda: {"jax": "0.10.2", "libtpu": "0.0.42.1"})
    monkeypatch.setattr(asking, "exported", lambda function, specs: Exported(content=b"", key="0"))
    monkeypatch.setattr(asking, "compiled", answer)


def test_one_program_is_shown_kernel_by_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["witness", "mobilenetv2-1.0", "--device", "tpu-v5e", "--batch", "8"]) == 0
    text = capsys.readouterr().out
    assert "compiled ahead of time with libtpu 0.0.42.1 and jax 0.10.2" in text
    assert "Slowest of" in text and "Neighbours that one side fuses" in text and "{0:T(8,128)}" in text


def test_several_are_shown_by_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["witness", "mobilenetv2-1.0", "-d", "tpu-v5e,tpu-v3", "-b", "1,8"]) == 0
    shown = capsys.readouterr()
    assert "After one factor per device" in shown.out and "Slowest of" not in shown.out
    assert shown.err.count("is missing: the compiler refuses the program for 'v3:1x1': too large") == 2


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "found.json"
    assert main(["witness", "mobilenetv2-1.0", "-d", "tpu-v5e", "--output", str(path), "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    content = json.loads(path.read_text())
    assert content["schema_version"] == 1 and content["source"].startswith("compiled ahead of time")
    assert set(content) >= {"kernels", "runs", "devices", "pairs"}
    assert len(rows) == len(content["kernels"])
    assert sum(row["compiled_cycles"] for row in content["kernels"]) == pytest.approx(
        content["runs"][0]["compiled_ms"] * 1e-3 * 1.5e9
    )
    assert main(["witness", "mobilenetv2-1.0", "-d", "tpu-v5e", "--output", str(path)]) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mobilenetv2-1.0 -d v100", "'v100' is a GPU: XLA's ahead-of-time compiler knows TPUs only"),
        ("mobilenetv2-1.0 -d tpu-v3", "the compiler refuses the program for 'v3:1x1': too large"),
        ("-d tpu-v5e", "give a MODEL, or --jax"),
        ("mobilenetv2-1.0 --jax a:b -d tpu-v5e", "give MODEL or --jax, not both"),
        ("mobilenetv2-1.0 --input-shape 8x8 -d tpu-v5e", "--input-shape belongs to --jax"),
        ("mobilenetv2-1.0 -d tpu-v5e --output found.png", "allowed: .csv, .json"),
        ("mobilenetv2-1.0 -d tpu-v5e --batch two", "--batch takes a whole number"),
        ("--jax nowhere:f -d tpu-v5e", "nowhere"),
    ],
)
def test_bad_input_is_one_line(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["witness", *line.split()]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
