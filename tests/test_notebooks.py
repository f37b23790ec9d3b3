"""The notebooks: each runs from top to bottom, keeps its outputs, holds no logic and ends with a finding."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pages import assert_up_to_date
from places import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
#: frameworks whose programs a notebook brings, beside roofline
FRAMEWORKS = {"torch", "onnx", "jax", "flax"}
TIMEOUT_S = 300
LOGIC = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.If, ast.Try, ast.With)


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def source(cell: dict[str, Any]) -> str:
    """Return the Python of a cell, without magics."""
    return "".join(line for line in cell["source"] if not line.startswith("%"))


def imported(path: Path) -> list[str]:
    """Return the packages that a notebook imports, in order."""
    found: list[str] = []
    for cell in cells(path, "code"):
        for node in ast.walk(ast.parse(source(cell))):
            if isinstance(node, ast.Import):
                found += [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found.append(str(node.module).split(".")[0])
    return found


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_one_import_and_no_logic(path: Path) -> None:
    names = imported(path)
    assert names[0] == "roofline" and names.count("roofline") == 1
    assert set(names) - {"roofline"} <= FRAMEWORKS
    for cell in cells(path, "code"):
        for node in ast.walk(ast.parse(source(cell))):
            assert not isinstance(node, LOGIC), f"{path.name}: {ast.unparse(node)[:60]!r} belongs into the package"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_outputs_are_stored_and_clean(path: Path) -> None:
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), "run it from the top"
    outputs = [output for cell in code for output in cell["outputs"]]
    assert len(outputs) >= 3
    assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_ends_with_a_finding_and_its_error_bar(path: Path) -> None:
    last = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][-1]["source"])
    assert last.startswith("## Finding") and "error bar" in last.lower()
    assert cells(path, "markdown")[0]["source"][0].startswith("# ")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a kernel of its own, in an empty folder, with the package of this checkout."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    for framework in set(imported(path)) & FRAMEWORKS:
        pytest.importorskip(framework)
    search = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, search)))
    content = nbformat.read(path, as_version=4)
    content.metadata.kernelspec.name = "python3"
    client = nbclient.NotebookClient(content, timeout=TIMEOUT_S, resources={"metadata": {"path": str(tmp_path)}})
    stored = [shown(cell) for cell in content.cells]
    client.execute()
    assert_up_to_date(
        "\n".join(stored), "\n".join(shown(cell) for cell in content.cells), by="tools/execute_notebooks.py"
    )


def shown(cell: Any) -> str:
    """Return what a cell shows as text, but for names of objects: `<Picture ...>`."""
    outputs = cell.get("outputs", [])
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(text for text in texts if not text.startswith("<"))
