"""What mkdocs adds to the pages of this folder: a menu, the reference of the public names, and the pages above it.

Named under `hooks` in ``mkdocs.yml``.
"""

from __future__ import annotations

import os
import re
from itertools import groupby
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import roofline

ROOT = Path(__file__).resolve().parent.parent
#: page of the site -> file above docs/
ABOVE = {"readme.md": "README.md", "changelog.md": "CHANGELOG.md", "speed.md": "benchmarks/README.md"}
#: where copies of linked files that are no pages go
COPIES = "checkout"
#: public name -> the class that has part of its attributes
INHERITED = {"Report": "roofline.report.numbers.Run"}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)((?:#[^)\s]*)?)\)")
PICTURE = re.compile(r"(!\[[^\]]*\]\()docs/")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the menu: the pages in the order in which the index lists them, and those added here."""
    index = (Path(config.docs_dir) / "README.md").read_text(encoding="utf-8")
    pages = {target: words for words, target, _ in LINK.findall(index) if target.endswith(".md") and ".." not in target}
    pages = {"README.md": "Documentation", "readme.md": "Readme"} | pages
    pages |= {"reference.md": "API reference", "speed.md": "How fast it is", "changelog.md": "Changelog"}
    config.nav = [{words: target} for target, words in pages.items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages above ``docs/``, the reference, and a copy of every other file that a page links to."""
    above = [ROOT / name for name in ABOVE.values()]
    for target, name in ABOVE.items():
        text = PICTURE.sub(r"\1", (ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, target, content=_relinked(text, (ROOT / name).parent)))
    files.append(File.generated(config, "reference.md", content=reference()))
    for page in Path(config.docs_dir).glob("*.md"):
        for _, target, _ in LINK.findall(page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve()
            if ".." in target and path.is_file() and path not in above:
                copy = f"{COPIES}/{path.relative_to(ROOT).as_posix()}"
                if files.get_file_from_path(copy) is None:
                    files.append(File.generated(config, copy, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page to the places that files have on the site."""
    if page.file.generated_by is not None:
        return markdown
    return _relinked(markdown, Path(config.docs_dir))


def reference() -> str:
    """Return the page that names every public object, by the folder it is defined in."""
    lines = [
        "# API reference",
        "",
        "What `import roofline as rf` offers. Lengths of time are in seconds, sizes in bytes.",
    ]
    places = roofline._PUBLIC
    by_folder = sorted(places, key=lambda name: places[name].split(".")[1])
    for folder, names in groupby(by_folder, key=lambda name: places[name].split(".")[1]):
        lines += ["", f"## {folder}"]
        for name in names:
            lines += ["", f"::: {places[name]}.{name}"]
            if name in INHERITED:
                lines += ["", f"::: {INHERITED[name]}", "    options:", "      members: false"]
    return "\n".join(lines) + "\n"


def _relinked(text: str, folder: Path) -> str:
    """Return the text of a page in `folder` with links that hold on the site; a folder of the checkout is no link."""

    def place(match: re.Match[str]) -> str:
        words, target, anchor = match.groups()
        path = (folder / target).resolve()
        if path.is_dir():
            return words
        name = os.path.relpath(path, ROOT).replace(os.sep, "/")
        pages = {above: where for where, above in ABOVE.items()}
        inside = name.removeprefix("docs/")
        place = pages.get(name, inside if inside != name else f"{COPIES}/{name}")
        return f"[{words}]({place}{anchor})"

    return LINK.sub(place, text)
