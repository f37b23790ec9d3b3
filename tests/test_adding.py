"""Adding to the project costs the files that the page says: every example is applied to a copy, which then has it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import blocks
from places import ROOT

DOCS = ROOT / "docs"
#: what the package and its data are
PARTS = ("roofline", "formats", "hardware_specs", "libraries", "runtimes", "models", "spaces")
ROW = re.compile(r"^\| (an? [^|]+) \| (\d) \| (\d) \|", re.MULTILINE)
PAGE = {what: (int(new), int(changed)) for what, new, changed in ROW.findall((DOCS / "adding.md").read_text())}
#: what is added -> page, language of the block and its number, and the file that it is
FILES = {
    "a device": ("adding-a-device", "toml", 0, "hardware_specs/example-1.toml"),
    "a runtime": ("adding-a-runtime", "toml", 0, "runtimes/example.toml"),
    "a kernel library": ("adding-a-library", "toml", 0, "libraries/my_attention.toml"),
    "a number format": ("adding-a-format", "toml", 0, "formats/w4a8.toml"),
    "a model": ("adding-a-model", "toml", 0, "models/my-net.toml"),
    "a block": ("adding-a-block", "python", 0, "roofline/arch/blocks/separable.py"),
    "an op": ("adding-an-op", "python", 0, "hadamard.py"),
    "a pass": ("adding-a-pass", "python", 0, "roofline/passes/copies.py"),
    "a search space": ("search", "toml", 0, "spaces/mine.toml"),
    "a format of measurements": ("adding", "python", 0, "roofline/calibration/measured/laboratory.py"),
}
#: what is added -> page and number of the diff
DIFFS = {
    "a constant of runtimes": ("adding-a-runtime", 0),
    "a pass": ("adding-a-pass", 0),
    "an option of a run": ("adding", 0),
    "a dtype": ("adding", 1),
    "an engine": ("adding", 2),
    "a file format of reports": ("adding", 3),
}


def parts_of(diff: str) -> dict[str, list[str]]:
    """Return file -> hunks of a diff."""
    found = re.split(r"^--- a/(\S+)\n\+\+\+ b/\1\n@@\n", diff, flags=re.MULTILINE)
    assert not found[0]
    return {name: hunks.split("@@\n") for name, hunks in zip(found[1::2], found[2::2], strict=True)}


def apply(hunk: str, text: str) -> str:
    """Return a text with a hunk applied where its context stands, which is one place."""
    lines = hunk.splitlines(keepends=True)
    before, after = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
    assert text.count(f"\n{before}") == 1, f"the context of a hunk is not there once:\n{hunk}"
    return text.replace(before, after)


def add(what: str, tree: Path) -> tuple[int, int]:
    """Add something to a copy of the project; return how many files are new, and how many others are changed."""
    new = changed = 0
    if what in FILES:
        page, language, number, name = FILES[what]
        assert not (tree / name).exists()
        (tree / name).write_text(blocks(DOCS / f"{page}.md", language)[number], encoding="utf-8")
        new = 1
    if what in DIFFS:
        page, number = DIFFS[what]
        for name, hunks in parts_of(blocks(DOCS / f"{page}.md", "diff")[number]).items():
            text = (tree / name).read_text(encoding="utf-8")
            for hunk in hunks:
                text = apply(hunk, text)
            (tree / name).write_text(text, encoding="utf-8")
            changed += 1
    return new, changed


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its data, still as it is."""
    folder = tmp_path_factory.mktemp("grown")
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part)
    return folder


@pytest.fixture(scope="module")
def counts(tree: Path) -> dict[str, tuple[int, int]]:
    """How many files each addition touched; the copy has them all then."""
    return {what: add(what, tree) for what in PAGE}


@pytest.fixture(scope="module")
def failed(tree: Path, counts: dict[str, tuple[int, int]]) -> dict[str, str | None]:
    """What is wrong with each addition."""
    words = [sys.executable, str(ROOT / "tests" / "helpers" / "additions.py"), str(tree)]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run(words, cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_page_says_of_every_addition_what_it_touches(counts: dict[str, tuple[int, int]]) -> None:
    assert counts == PAGE
    assert set(PAGE) == FILES.keys() | DIFFS.keys()


@pytest.mark.parametrize("what", PAGE)
def test_what_is_added_works(failed: dict[str, str | None], what: str) -> None:
    assert failed[what] is None, failed[what]
