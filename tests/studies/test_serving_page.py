"""The page about serving: its code and its commands run, and its formula is the one that is computed."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from pages import blocks
from places import ROOT

from roofline.cli import main

PAGE = ROOT / "docs" / "serving-models.md"


def test_the_code_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    told: dict[str, Any] = {}
    for number, block in enumerate(blocks(PAGE, "python")):
        exec(compile(block, f"serving-models.md {number}", "exec"), told)
    assert os.path.getsize("trade.png") > 10_000
    found = told["found"]
    work, steady = found.work, found.steady
    chunks = work.prompt / work.chunk
    plain = (work.decode_steps - chunks * (work.batch - 1)) / work.batch
    assert steady.mixed_share == pytest.approx(chunks / (chunks + plain))
    assert "first token" in capsys.readouterr().out


@pytest.mark.parametrize("line", [line for block in blocks(PAGE, "sh") for line in block.splitlines()])
def test_the_commands_of_the_page(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(line)[1:]) == 0
    assert "llama-3-8b on h100-sxm: vllm" in capsys.readouterr().out
