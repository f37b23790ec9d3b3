"""Results of a sweep are those of its files, its code and nobody else: whatever happens to them, the next run knows."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

import roofline as rf
from roofline.cli import main
from roofline.cluster import run as running
from roofline.cluster import store as stores
from roofline.cluster.networks import Unit
from roofline.cluster.plan import Plan, load_plan
from roofline.cluster.run import run_plan
from roofline.cluster.work import rows
from roofline.errors import InputError, SpecError
from roofline.paths import data_folder

NO_PARQUET = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="the extra 'dask' is not installed")
SUFFIXES = pytest.mark.parametrize("name", ["a.sqlite", pytest.param("a.parquet", marks=NO_PARQUET)])
PLAN = Plan(models=("resnet-18", "resnet-34"), devices=("v100",), batch=(1, 4))


def sweep(output: Path, plan: Plan = PLAN, **more: Any) -> pd.DataFrame:
    return run_plan(plan, output, **{"workers": 0, **more})


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The units that are computed from now on."""
    found: list[str] = []

    def counted(plan: Plan, unit: Unit) -> Any:
        found.append(unit.key)
        return rows(plan, unit)

    monkeypatch.setattr(running, "rows", counted)
    return found


# what rows depend on ------------------------------------------------------------------


def v100(folder: Path, gb_per_s: int) -> Path:
    """Write a V100 whose memory is as fast as that, and half an hour older than it is."""
    path = folder / "mine.toml"
    text = (data_folder("hardware_specs") / "v100.toml").read_text()
    assert "value = 900, unit = " in text
    path.write_text(text.replace("value = 900, unit = ", f"value = {gb_per_s}, unit = "))
    return path


@SUFFIXES
def test_a_changed_device_file_gives_its_own_latency(tmp_path: Path, name: str, computed: list[str]) -> None:
    plan = Plan(models=("resnet-18",), devices=(str(v100(tmp_path, 900)),), batch=(64,))
    fast = sweep(tmp_path / name, plan)["latency_ms"].item()
    said: list[str] = []
    same(sweep(tmp_path / name, plan, notice=said.append), sweep(tmp_path / name, plan, notice=said.append))
    assert computed == ["model:resnet-18"] and not said, "nothing has changed"
    path = v100(tmp_path, 90)
    slow = sweep(tmp_path / name, plan, notice=said.append)
    assert len(slow) == 1 and slow["latency_ms"].item() == rf.simulate("resnet-18", path, batch=64).latency_ms
    assert slow["latency_ms"].item() > 3 * fast
    assert said == ["1 network computed again: files, code or results changed since"]


@SUFFIXES
def test_only_what_depends_on_a_file_is_computed_again(tmp_path: Path, name: str, computed: list[str]) -> None:
    graph, runtime = tmp_path / "g.json", tmp_path / "own.toml"
    rf.op_graph("resnet-18").save(graph)
    runtime.write_text((data_folder("runtimes") / "pytorch_eager.toml").read_text())
    plan = Plan(models=(str(graph), "resnet-34"), devices=("v100",), runtime=(str(runtime),))
    sweep(tmp_path / name, plan)
    rf.op_graph("resnet-50").save(graph)
    again = sweep(tmp_path / name, plan)
    assert computed[2:] == [f"file:{graph}"]
    assert again.loc[again["network"] == str(graph), "params"].item() == rf.op_graph("resnet-50").params
    runtime.write_text(runtime.read_text() + "# another measurement\n")
    sweep(tmp_path / name, plan)
    assert sorted(computed[3:]) == [f"file:{graph}", "model:resnet-34"]


def onnx_file(folder: Path, rows_: int) -> Path:
    """Write a model that reshapes to (rows, 8 / rows), where the shape lies in a file of its own."""
    shape = numpy_helper.from_array(np.array([rows_, 8 // rows_], dtype=np.int64), "shape")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [8]), ("y", None)))
    weight = numpy_helper.from_array(np.ones((8 // 2, 3), dtype=np.float32), "w")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["z"]), helper.make_node("MatMul", ["z", "w"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], [shape, weight]))
    path = folder / "m.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="shape.bin", size_threshold=0)
    return path


def test_data_beside_an_onnx_file_counts_too(tmp_path: Path, computed: list[str]) -> None:
    path = onnx_file(tmp_path, 2)
    plan = Plan(models=(str(path),), devices=("v100",), batch=(8,))
    assert sweep(tmp_path / "a.sqlite", plan)["macs_per_example"].item() == 2 * 4 * 3 / 8
    (tmp_path / "shape.bin").write_bytes((tmp_path / "shape.bin").read_bytes().replace(b"\x02", b"\x08", 1))
    assert sweep(tmp_path / "a.sqlite", plan)["error"].notna().all() and len(computed) == 2


@SUFFIXES
def test_rows_of_other_code_are_computed_again(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sweep(tmp_path / name)
    monkeypatch.setattr("roofline.cluster.identity.code_hash", lambda *modules: "")
    said: list[str] = []
    same(sweep(tmp_path / name, notice=said.append), before)
    assert said[0].startswith("2 networks computed again")


# what happens to them -----------------------------------------------------------------


def changes(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


@pytest.mark.parametrize(
    "statement",
    [
        "delete from runs where point = 1 and unit = 'model:resnet-18'",
        "delete from runs",
        "update runs set latency_ms = latency_ms * 2 where unit = 'model:resnet-34'",
        "update runs set point = 7 where point = 0 and unit = 'model:resnet-34'",
        "update runs set error = cast(x'ff' as text) where point = 1",
        "update runs set latency_ms = 'fast'",
        "update units set digest = null",
    ],
)
def test_rows_that_are_not_what_was_written_are_computed_again(tmp_path: Path, statement: str) -> None:
    before = sweep(tmp_path / "a.sqlite")
    changes(tmp_path / "a.sqlite", statement)
    same(sweep(tmp_path / "a.sqlite"), before)


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="the extra 'dask' is not installed")
@pytest.mark.parametrize("damage", [b"", b"PAR1", b"x" * 500, None])
def test_a_damaged_part_is_computed_again(tmp_path: Path, damage: bytes | None, computed: list[str]) -> None:
    before = sweep(tmp_path / "a.parquet")
    first, second = sorted((tmp_path / "a.parquet").glob("*.parquet"))
    first.write_bytes(first.read_bytes()[:-9] if damage is None else damage)
    same(sweep(tmp_path / "a.parquet"), before)
    second.write_bytes(first.read_bytes())  # a copy of another part
    same(sweep(tmp_path / "a.parquet"), before)
    assert len(computed) == 4


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda path: changes(path, "create table theirs (x)"), "something else than results"),
        (lambda path: changes(path, "create table about (x)", "insert into about values (1)"), "something else"),
        (lambda path: path.write_bytes(b"no database" * 100), "file is not a database"),
        (lambda path: path.mkdir(), "cannot write results"),
    ],
)
def test_somebody_elses_file_stays_as_it_is(tmp_path: Path, prepare: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "a.sqlite"
    prepare(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(InputError, match=words):
        sweep(path)
    assert before == (path.read_bytes() if path.is_file() else b"")


def test_rows_that_nobody_computed_are_refused(tmp_path: Path) -> None:
    sweep(tmp_path / "a.sqlite")
    changes(tmp_path / "a.sqlite", "insert into runs (unit, point) values ('model:mine', 0)")
    with pytest.raises(InputError, match="holds rows of 'model:mine', which no sweep has written"):
        sweep(tmp_path / "a.sqlite")


@NO_PARQUET
def test_parts_that_nobody_computed_are_refused(tmp_path: Path) -> None:
    sweep(tmp_path / "a.parquet")
    part = next((tmp_path / "a.parquet").glob("*.parquet"))
    (tmp_path / "a.parquet" / f"{part.stem} (1).parquet").write_bytes(part.read_bytes())
    with pytest.raises(InputError, match=r"\(1\).parquet', which no sweep has written"):
        sweep(tmp_path / "a.parquet")
    (tmp_path / "a.parquet" / "_about.json").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not a text file"):
        sweep(tmp_path / "a.parquet")


def test_a_search_leaves_somebody_elses_database(tmp_path: Path) -> None:
    changes(tmp_path / "history.sqlite", "create table theirs (x)")
    words = ["search", "vit", "--device", "v100", "--accuracy", "macs", "-n", "200", "-o", str(tmp_path)]
    assert main(words) == 2
    with sqlite3.connect(tmp_path / "history.sqlite") as db:
        assert db.execute("select name from sqlite_master").fetchall() == [("theirs",)]
    db.close()


def test_a_lock_that_another_program_holds_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sweep(tmp_path / "b.sqlite")
    monkeypatch.setattr(stores, "LOCKED_S", 0.05)
    holder = sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)
    real = running._result

    def locked(*arguments: Any) -> Any:
        if not holder.in_transaction:
            holder.execute("begin immediate")
        return real(*arguments)

    monkeypatch.setattr(running, "_result", locked)
    with pytest.raises(InputError, match="database is locked: what was computed is kept, run it again to go on"):
        sweep(tmp_path / "a.sqlite")
    holder.execute("rollback")
    holder.close()
    monkeypatch.undo()
    same(sweep(tmp_path / "a.sqlite"), before)


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, computed: list[str]) -> None:
    add = stores.SqliteStore.add

    def full(self: stores.SqliteStore, unit: str, found: Any) -> None:
        if self.done():
            pages = self._db.execute("pragma page_count").fetchone()[0]
            self._db.execute(f"pragma max_page_count = {pages}")
            found = [row | {"error": "x" * 100_000} for row in found]
        add(self, unit, found)

    monkeypatch.setattr(stores.SqliteStore, "add", full)
    with pytest.raises(InputError, match="database or disk is full: what was computed is kept"):
        sweep(tmp_path / "a.sqlite")
    monkeypatch.setattr(stores.SqliteStore, "add", add)
    assert len(sweep(tmp_path / "a.sqlite")) == 4 and len(computed) == 3


@SUFFIXES
def test_results_are_complete_or_it_is_said(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = {"a.sqlite": stores.SqliteStore, "a.parquet": stores.ParquetStore}[name]
    add = kind.add
    monkeypatch.setattr(kind, "add", lambda self, unit, found: None if "34" in unit else add(self, unit, found))
    with pytest.raises(InputError, match="lacks 1 network of the plan: run it again to go on"):
        sweep(tmp_path / name)
    monkeypatch.undo()
    assert len(sweep(tmp_path / name)) == 4


def test_numbers_of_more_than_64_bits_are_refused(tmp_path: Path) -> None:
    for text in (
        "batch = [9223372036854775808]",
        "cores = [99999999999999999999]",
        "image_size = [-9300000000000000000]",
    ):
        path = tmp_path / "plan.toml"
        path.write_text(f'models = ["resnet-18"]\ndevices = ["v100"]\n{text}\n')
        with pytest.raises(SpecError) as caught:
            load_plan(path)
        assert "\n" not in str(caught.value)
    assert json.dumps(Plan(models=("x",), devices=("y",), batch=(2**63 - 1,)).batch) == "[9223372036854775807]"
