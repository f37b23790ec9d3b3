"""What takes hours: every check over all there is, with a dated table of the results in docs/test-all.md.

python benchmarks/everything.py [PART ...] [--output docs/test-all.md]
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: part -> (what it shows, the words after ``python``)
PARTS: dict[str, tuple[str, list[str]]] = {
    "tests": ("The test suite", ["-m", "pytest", "-q"]),
    "timm": ("Every network of timm lowers, and counts as its published table does", ["benchmarks/coverage_timm.py"]),
    "transformers": ("One network of every kind of transformers that the tests know",
                     ["-m", "pytest", "-q", "tests/test_torch_networks.py", "tests/test_jax_networks.py"]),
    "kills": ("Twenty kills of a sweep and of a search: the same results", ["benchmarks/kills.py", "20"]),
    "mutation": ("Mutants of the formulas and the counts that no test notices", ["benchmarks/mutate.py"]),
}  # fmt: skip
#: lines of its output that the page shows
SHOWN = 40
#: packages whose versions matter
PACKAGES = ("roofline", "numpy", "torch", "timm", "transformers", "jax", "onnx", "dask")


def version(name: str) -> str:
    """Return the version of a package, or that there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def run(words: list[str]) -> tuple[int, float, str]:
    """Return status, seconds and the last lines of what a part prints."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)  # fmt: skip
    lines = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
    return done.returncode, time.monotonic() - began, "\n".join(lines[-SHOWN:]).replace(str(ROOT) + os.sep, "")


def main() -> int:
    """Run the parts and write the page; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "test-all.md")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    rows, sections, failed = [], [], 0
    for name in options.parts or PARTS:
        title, words = PARTS[name]
        print(f"{name}: python {' '.join(words)}", flush=True)
        status, took_s, text = run(words)
        failed += status != 0
        day = datetime.date.today()
        said = text.splitlines()[-1] if text else ""
        verdict = "passed" if status == 0 else f"failed ({status})"
        print(f"  {verdict} in {took_s / 60:.0f} minutes: {said}", flush=True)
        rows.append(f"| {name} | {title} | {day} | {took_s / 60:.0f} min | {verdict} | {said.replace('|', '/')} |")
        sections.append(f"\n## {name}\n\n`python {' '.join(words)}`\n\n```text\n{text}\n```\n")
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    head = f"# Tests of everything\n\nWritten by `make test-all`. Python {platform.python_version()}, {versions}.\n\n"
    table = "| part | shows | day | took | result | last line |\n|---|---|---|---:|---|---|\n" + "\n".join(rows) + "\n"
    options.output.write_text(head + table + "".join(sections), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
