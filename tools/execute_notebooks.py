"""Run the notebooks from top to bottom and store their outputs: ``python tools/execute_notebooks.py [FILE...]``."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 300


def execute(path: Path) -> None:
    """Run one notebook in an empty folder, with the package of this checkout, and write it back."""
    content = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(content, timeout=TIMEOUT_S, resources=resources, kernel_name="python3").execute()
    content.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(content.cells):
        cell.id = f"cell-{number}"  # times and random ids would be a difference on every run
        cell.metadata.pop("execution", None)
    nbformat.write(content, path)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    for path in [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "notebooks").glob("*.ipynb")):
        print(path.name, flush=True)
        execute(path)
