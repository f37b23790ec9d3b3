"""What the tests of the pages share: blocks of Markdown, the generator of what they show, equality but for noise."""

from __future__ import annotations

import math
import re
import runpy
from pathlib import Path
from typing import Any

from places import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")


def generator() -> dict[str, Any]:
    """Return the functions of ``tools/generate.py``."""
    return runpy.run_path(str(ROOT / "tools" / "generate.py"))


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return [text for name, text in FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def assert_up_to_date(page: str, now: str, by: str = "tools/generate.py") -> None:
    """Raise unless two texts agree: in every word, and in every number to a unit of its last digit.

    Blanks and rulers are not compared: tables widen with their numbers.
    """
    old, new = (re.sub(r"[─\s]+", " ", text) for text in (page, now))
    hint = f"numbers have moved: run `python {by}`"
    assert NUMBER.sub("#", old) == NUMBER.sub("#", new), hint
    for shown, found in zip(NUMBER.findall(old), NUMBER.findall(new), strict=True):
        digit = 10.0 ** -len(shown.partition(".")[2])
        a, b = (float(text.replace(",", "")) for text in (shown, found))
        assert math.isclose(a, b, abs_tol=1.01 * digit, rel_tol=1e-6), f"{shown} is now {found}: {hint}"
