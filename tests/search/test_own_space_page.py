"""The page on spaces of one's own blocks: what it shows runs, in Python, on the command line and as a file."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from pages import blocks
from places import ROOT

import roofline as rf
from roofline.cli.app import main

PAGE = ROOT / "docs" / "own-space.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the blocks of the page as a module."""
    first, *_, last = blocks(PAGE, "python")
    (tmp_path / "my_blocks.py").write_text(
        first.partition("oracle = ")[0] + last.partition("accuracy = ")[0], encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "my_blocks", raising=False)
    return tmp_path


def test_the_python_of_the_page_runs(folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for code in blocks(PAGE, "python"):
        exec(compile(code, "page", "exec"), names)
    found, space = names["found"], names["space"]
    assert found.feasible
    depth = [len(space.decode(genome).parts) for genome in names["genomes"][names["latency_s"][:, 0] <= 2e-3]]
    assert len(names["best"].parts) == max(depth)
    assert (folder / "answers.sqlite").is_file()


def test_the_commands_of_the_page_run(folder: Path) -> None:
    (commands,) = blocks(PAGE, "sh")
    for line in commands.splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "roofline"
        more = ["--evaluations", "200", "--population", "16", "--no-baselines"] if words[1] == "search" else []
        assert main([*words[1:], *more]) == 0
    assert (folder / "lut.yaml").stat().st_size
    assert (folder / "out" / "accuracy.sqlite").stat().st_size


def test_the_file_of_the_page_is_a_space(folder: Path) -> None:
    (text,) = blocks(PAGE, "toml")
    (folder / "mine.toml").write_text(text.replace(', exported = "block.onnx"', ""), encoding="utf-8")
    space = rf.search_space(folder / "mine.toml")
    assert space.names == ("patches_width", "body", "body_repeats")
    assert rf.Oracle(space, "v100").latency_s(space.sample(10)).shape == (10, 1)
