"""The page of the checks that take hours: what does not run this time stays, and every row names its commit."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

EVERYTHING = runpy.run_path(str(ROOT / "benchmarks" / "everything.py"))


def run_parts(monkeypatch: pytest.MonkeyPatch, page: Path, *parts: str, said: str, status: int = 0) -> int:
    """Write the page as if these parts had printed `said` and left with `status`."""
    inside = EVERYTHING["main"].__globals__
    monkeypatch.setitem(inside, "run", lambda words: (status, 119.0, said))
    monkeypatch.setitem(inside, "commit_of", lambda checkout, page: f"of-{said.split()[-1]}")
    monkeypatch.setattr(sys, "argv", ["everything.py", *parts, "--output", str(page)])
    found: int = EVERYTHING["main"]()
    return found


def test_parts_that_do_not_run_keep_their_row_and_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    assert run_parts(monkeypatch, page, "mutation", said="## kills\n\na | b first") == 0
    row = next(line for line in page.read_text().splitlines() if line.startswith("| mutation |"))
    assert "| of-first |" in row and row.endswith("| 2 min | passed | a / b first |")
    section = page.read_text().partition("\n## mutation\n")[2]
    assert run_parts(monkeypatch, page, "timm", "kills", said="second", status=3) == 1
    text = page.read_text()
    assert row in text.splitlines() and text.endswith("\n## mutation\n" + section)
    names = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert names == ["part", "timm", "kills", "mutation"], "in the order of the parts, whichever ran first"
    assert text.count("| of-second |") == text.count("| failed (3) |") == 2
    run_parts(monkeypatch, page, "mutation", said="third")
    assert "first" not in page.read_text() and page.read_text().count("\n## mutation\n") == 1


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_row_names_the_commit_and_whether_anything_but_the_page_has_changed(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        name = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
        done = subprocess.run(["git", "-C", str(tmp_path), *name, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    commit_of: Any = EVERYTHING["commit_of"]
    page, code = tmp_path / "docs" / "page.md", tmp_path / "code.py"
    git("init", "--quiet")
    page.parent.mkdir()
    for path in (page, code):
        path.write_text("1")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    short = git("rev-parse", "--short", "HEAD")
    assert commit_of(tmp_path, page) == short
    page.write_text("2")
    assert commit_of(tmp_path, page) == short
    code.write_text("2")
    assert commit_of(tmp_path, page) == f"{short}+"
    assert commit_of(tmp_path / "nowhere", page) == "-"


def test_explained_mutants_are_still_there() -> None:
    mutate = runpy.run_path(str(ROOT / "benchmarks" / "mutate.py"))
    explained = mutate["explained"]()
    files = {file for file, *_ in explained}
    found = {m.identity for file in files for m in mutate["mutants"](file, (ROOT / file).read_text(encoding="utf-8"))}
    assert set(explained) <= found, "delete them from benchmarks/equivalent_mutants.toml"
