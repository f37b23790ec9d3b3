"""The readme: every block runs, what it shows is what comes out, and it says what a reader needs in a fixed order."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pages import FENCE, LINK, assert_up_to_date, blocks, generator
from places import ROOT

import roofline as rf

README = ROOT / "README.md"
LANGUAGES = {"python", "sh", "text", "bibtex"}
COMMANDS = blocks(README, "sh")
INSTALL = ["python", "-m", "pip", "install", "."]
ORDER = [
    "Install",
    "Ten lines of Python",
    "The same on the command line",
    "What is modelled, and what is not",
    "Accuracy",
    "Adding to it",
    "Citing",
]


@pytest.fixture(scope="module")
def generate() -> dict[str, Any]:
    return generator()


def test_the_order_of_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ORDER
    assert text.index("docs/roofline.png") < text.index("## Install")


def test_blocks_are_of_known_languages() -> None:
    assert {name for name, _ in FENCE.findall(README.read_text(encoding="utf-8"))} <= LANGUAGES


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.splitlines()[0][:60])
def test_commands_of_the_readme_run(block: str, generate: dict[str, Any], tmp_path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        if words[0] == "make":
            assert set(words[1:]) <= targets
        elif words != INSTALL:
            assert words[0] == "roofline", f"the tests do not know how to run {line!r}"
            assert generate["output"]("sh", line, tmp_path) or "--output" in words
            for option, name in pairwise(words):
                assert option != "--output" or (tmp_path / name).stat().st_size


def test_python_and_its_output_are_shown_in_one_block_each() -> None:
    (code,) = blocks(README, "python")
    assert len([line for line in code.splitlines() if line]) <= 10


def test_what_the_readme_shows_is_what_comes_out(generate: dict[str, Any], tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    assert_up_to_date(text, generate["readme"](text, tmp_path))


@pytest.mark.parametrize("number", range(len(generator()["PAGES"])))
def test_what_pages_show_is_what_comes_out(generate: dict[str, Any], number: int, tmp_path: Path) -> None:
    text = generate["PAGES"][number].read_text(encoding="utf-8")
    for code in blocks(generate["PAGES"][number], "python"):
        generate["output"]("python", code, tmp_path)
    assert_up_to_date(text, generate["readme"](text, tmp_path))


def test_the_readme_counts_what_is_shipped() -> None:
    text = README.read_text(encoding="utf-8")
    hypothetical = [name for name in rf.devices() if rf.device(name).vendor == "hypothetical"]
    assert f"{len(rf.devices()) - len(hypothetical)} accelerators" in text
    words = dict(enumerate(("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"), 10))
    assert f"{words[len(rf.runtimes())]} runtimes" in text


@pytest.mark.parametrize("page", [README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"
