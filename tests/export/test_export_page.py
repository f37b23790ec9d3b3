"""The page on exported programs: its commands run, its example says what it says."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from pages import blocks
from places import ROOT

from roofline.cli import main

PAGE = ROOT / "docs" / "export.md"


def test_the_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(ROOT / "models")
    for line in "".join(blocks(PAGE, "sh")).splitlines():
        program, *words = shlex.split(line)
        assert program == "roofline"
        assert main(words) == 0
    written = {"mobilenetv2_0_35_torch.py", "mobilenetv2-0.35.onnx", "mobilenetv2_0_35_jax.py", "resnet-18.onnx"}
    assert {path.name for path in (tmp_path / "networks").iterdir()} == written


def test_the_example_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for code in blocks(PAGE, "python"):
        exec(compile(code, str(PAGE), "exec"), {})
    assert capsys.readouterr().out == "True\n"
