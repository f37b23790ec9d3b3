"""Registries: none takes a second entry under one name, whatever fills them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import roofline.arch.blocks
import roofline.calibration.measured  # noqa: F401  (both fill their registries)
from roofline.arch.block import Stage, stage
from roofline.calibration.measured.formats import measured_format
from roofline.errors import GraphError
from roofline.graph import serial
from roofline.graph.ops import Elementwise

PACKAGE = Path(serial.__file__).parent.parent
ADDERS = ("update", "setdefault", "append")


def filled(function: ast.FunctionDef) -> Iterator[str]:
    """Yield the tables of its module that a function stores into: their names are in capitals."""
    for node in ast.walk(function):
        stores = [t.value for t in node.targets if isinstance(t, ast.Subscript)] if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ADDERS:
            stores.append(node.func.value)
        yield from (n.id for n in stores if isinstance(n, ast.Name) and n.id.isupper() and not n.id.startswith("_"))


def test_tables_that_functions_fill_are_filled_by_filed() -> None:
    """A decorator that stores by itself may replace silently; `roofline.registry.filed` refuses."""
    trees = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    functions = [(name, f) for name, tree in trees.items() for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)]
    assert not [(name, f.name, table) for name, f in functions for table in filled(f)]


def test_a_table_filled_by_hand_is_seen() -> None:
    tree = ast.parse("def register(f):\n    RULES[f] = f\n    KINDS.update(f)\n    own[f] = _KNOWN[f] = f")
    assert [table for f in tree.body if isinstance(f, ast.FunctionDef) for table in filled(f)] == ["RULES", "KINDS"]


def test_kinds_of_blocks_and_formats_of_measurements() -> None:
    with pytest.raises(GraphError, match="block kind 'mbconv' is registered twice"):
        stage("mbconv")(Stage)
    with pytest.raises(GraphError, match="format 'timm-infer' is registered twice"):
        measured_format("timm-infer", "again", "model")(lambda cells, sheet, options: [])


def test_kinds_of_ops(monkeypatch: pytest.MonkeyPatch) -> None:
    again = type("Again", (Elementwise,), {"__module__": "roofline.graph.again"})
    monkeypatch.setattr(serial, "_subclasses", lambda cls: iter([Elementwise, again]))
    with pytest.raises(GraphError, match="ops 'Elementwise' and 'Again' have one kind 'elementwise'"):
        serial.op_classes.__wrapped__()
