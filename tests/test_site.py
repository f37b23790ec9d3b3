"""The documentation as a site: it builds without a warning, loads nothing from elsewhere, and has every public name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import roofline as rf
from roofline import _PUBLIC

pytest.importorskip("mkdocstrings", reason="the site needs mkdocs and mkdocstrings: the extra `docs`")

#: what a browser fetches by itself: scripts, pictures, styles, fonts; not the links that a reader follows
FETCHED = re.compile(
    r"""(?:src=["']?|<link[^>]*href=["']?|url\(["']?|@import\s+["'])((?:https?:)?//[^"')\s>]+)""", re.IGNORECASE
)


@pytest.fixture(scope="module")
def site(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there(site: Path, checkout: Path) -> None:
    pages = {path.stem for path in (checkout / "docs").glob("*.md")} - {"README"}
    assert pages | {"index", "readme", "changelog", "reference"} <= {path.stem for path in site.glob("*.html")}


def test_the_reference_describes_every_public_name(site: Path) -> None:
    text = (site / "reference.html").read_text(encoding="utf-8")
    anchors = set(re.findall(r'id="([\w.]+)"', text))
    assert {f"{module}.{name}" for name, module in _PUBLIC.items()} <= anchors
    assert "program_s + max(device_s, host_s)" in text, "the latency of a report is an attribute that it inherits"
    assert (rf.simulate.__doc__ or "missing").splitlines()[0] in text


def test_the_site_works_without_a_network(site: Path) -> None:
    assert FETCHED.findall('<link rel="x" href="https://host/a.css"><script src=//host/b.js></script>'), (
        "the search works"
    )
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        assert not FETCHED.findall(path.read_text(encoding="utf-8")), path.name


def test_links_between_pages_lead_somewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        for target in re.findall(r'href="([^":#?]+)(?:#[^"]*)?"', page.read_text(encoding="utf-8")):
            assert page.name == "404.html" or (page.parent / target).exists(), f"{page.name}: {target}"
