"""Run the notebooks from top to bottom and store their outputs: ``python tools/execute_notebooks.py [FILE...]``."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

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
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    nbformat.write(content, path)  # type: ignore[no-untyped-call]


def joined(outputs: list[Any]) -> list[Any]:
    """Return outputs with what was printed in a row as one: how a kernel cuts it differs from run to run."""
    found: list[Any] = []
    for output in outputs:
        if found and output.output_type == "stream" == found[-1].output_type and output.name == found[-1].name:
            found[-1].text += output.text
        else:
            found.append(output)
    return found


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    for path in [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "notebooks").glob("*.ipynb")):
        print(path.name, flush=True)
        execute(path)
