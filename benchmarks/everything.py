"""What takes hours: every check over all there is, with a dated table of the results in docs/test-all.md.

    python benchmarks/everything.py [PART ...] [--output docs/test-all.md]

Parts that do not run this time keep what the page says of them.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: part -> (what it shows, the words after ``python``)
PARTS: dict[str, tuple[str, list[str]]] = {
    "tests": ("The test suite", ["-m", "pytest", "-q"]),
    "timm": ("Every network of timm lowers, and every parameter is read", ["benchmarks/coverage_timm.py"]),
    "transformers": ("One network of every kind of transformers that the tests know",
                     ["-m", "pytest", "-q", *(f"tests/frontends/test_{d}_networks.py" for d in ("torch", "jax"))]),
    "types": ("Every model type of transformers that can be built small and that torch runs: lowers, multiply-adds",
              ["benchmarks/coverage_transformers.py"]),
    "torch": ("The samples of torch's own operator tests: what lowers, multiply-adds as torch counts, what is refused",
              ["benchmarks/coverage_torch_ops.py"]),
    "onnx": ("The node tests of the onnx package: what lowers, multiply-adds by hand, what is refused and why",
             ["benchmarks/coverage_onnx.py"]),
    "exports": ("Every shipped network as PyTorch, ONNX and JAX, read back: multiply-adds, parameters, latency",
                ["benchmarks/exports.py"]),
    "loaders": ("Ten thousand damaged files for all loaders: a result or one line",
                ["benchmarks/attack.py", "10000", "16"]),
    "words": ("Two thousand wild argument lists: a result or one line", ["benchmarks/attack_words.py", "2000", "16"]),
    "kills": ("Twenty kills of a sweep and of a search: the same results", ["benchmarks/kills.py", "20", "16"]),
    "service": ("20,000 broken graphs and architectures at the service, and a minute of good and hostile clients",
                ["benchmarks/attack_serve.py"]),
    "mutation": ("Mutants of the formulas and the counts that no test notices", ["benchmarks/mutate.py"]),
}  # fmt: skip
#: lines of its output that the page shows
SHOWN = 40
#: packages whose versions matter
PACKAGES = ("roofline", "numpy", "torch", "timm", "transformers", "jax", "onnx", "dask")

HEAD = """# Tests of everything

Written by `make test-all`, part by part: each on its day, on the commit that is named (+ with changes since).

| part | shows | commit | day | took | result | last line |
|---|---|---|---|---:|---|---|
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the page says of a part: its row of the table and its section."""

    row: str
    section: str


def entries(page: str) -> dict[str, Entry]:
    """Return the entries of a page by part."""
    first, *rest = re.split(rf"^## ({'|'.join(PARTS)})\n\n(?=`python )", page, flags=re.MULTILINE)
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    rows = {match[1]: match[0] for match in re.finditer(r"^\| (\w+) \|.*$", first, re.MULTILINE)}
    return {name: Entry(row=rows[name], section=text.strip()) for name, text in sections.items() if name in rows}


def written(found: dict[str, Entry]) -> str:
    """Return the page, its parts in their order."""
    names = [name for name in PARTS if name in found]
    rows = "".join(f"{found[name].row}\n" for name in names)
    return HEAD + rows + "".join(f"\n## {name}\n\n{found[name].section}\n" for name in names)


def entry(name: str, status: int, took_s: float, text: str, *, commit: str, day: datetime.date) -> Entry:
    """Return what the page says of a part that has run."""
    title, words = PARTS[name]
    said = text.splitlines()[-1].replace("|", "/") if text else ""
    verdict = "passed" if status == 0 else f"failed ({status})"
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return Entry(
        row=f"| {name} | {title} | {commit} | {day} | {took_s / 60:.0f} min | {verdict} | {said} |",
        section=f"`python {' '.join(words)}`, Python {platform.python_version()}, {versions}\n\n```text\n{text}\n```",
    )


def version(name: str) -> str:
    """Return the version of a package, or that there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def commit_of(checkout: Path, page: Path) -> str:
    """Return the short hash of the commit, with + where anything but the page differs from it; - without git."""
    try:
        git = ["git", "-C", str(checkout)]
        found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "-"
    changed = {line[3:] for line in changes.stdout.splitlines()}
    if page.is_relative_to(checkout):
        changed.discard(page.relative_to(checkout).as_posix())
    return found.stdout.strip() + ("+" if changed else "")


def run(words: list[str]) -> tuple[int, float, str]:
    """Return status, seconds and the last lines of what a part prints."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)  # fmt: skip
    lines = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
    return done.returncode, time.monotonic() - began, "\n".join(lines[-SHOWN:]).replace(str(ROOT) + os.sep, "")


def main() -> int:
    """Run the parts and write the page after each; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "test-all.md")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    page, failed = options.output.resolve(), 0
    for name in options.parts or PARTS:
        words = PARTS[name][1]
        print(f"{name}: python {' '.join(words)}", flush=True)
        commit, day = commit_of(ROOT, page), datetime.date.today()
        status, took_s, text = run(words)
        failed += status != 0
        new = entry(name, status, took_s, text, commit=commit, day=day)
        print(f"  {new.row}", flush=True)
        old = entries(page.read_text(encoding="utf-8")) if page.exists() else {}
        page.write_text(written(old | {name: new}), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
