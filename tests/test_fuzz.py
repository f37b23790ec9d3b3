"""Damaged files and wild values: whatever is read, nothing but a `RooflineError` in one line comes out."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import OBJECTIVE, SMALL, SPACE

import roofline as rf
from roofline.paths import data_files
from roofline.search.evolution.evolve import evolve
from roofline.search.space.load import search_space

LOADERS: dict[str, Callable[[str], object]] = {
    "hardware_specs": lambda path: rf.simulate("resnet-18", rf.device(path)),
    "runtimes": lambda path: rf.simulate("resnet-18", "v100", runtime=rf.runtime(path, "gpu")),
    "models": lambda path: rf.simulate(rf.model(path), "tpu-v3"),
    "spaces": lambda path: search_space(path).sample(1),
}
#: what a hand, a merge or a bad tool leaves in the place of a value
WILD = st.sampled_from(
    [
        *("0", "-1", "1e400", "nan", "inf", "-0.0", "0.5", "99999999999999999999", "true", '""', '"x"', '"\\u0000"'),
        *("[]", "{}", "[[1]]", "[1, 2, 3]", '["a"]', "1979-05-27", "{ value = 1 }", '{ value = -1, unit = "GHz" }'),
        '{ value = 1e308, unit = "TFLOP/s", source = "a" }',
        '{ value = 0, unit = "B", estimate = "" }',
    ]
)


@lru_cache(maxsize=4)
def texts(folder: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in data_files(folder).values()]


def survives(folder: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "x.toml"
        path.write_bytes(content)
        message = "fine"
        try:
            LOADERS[folder](str(path))
        except rf.RooflineError as error:
            message = str(error)
        assert message and "\n" not in message


@pytest.mark.parametrize("folder", LOADERS)
@settings(max_examples=150)
@given(data=st.data())
def test_a_value_in_a_file_becomes_anything(folder: str, data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(texts(folder))).splitlines()
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(lines) - 1))
        name, equals, _ = lines[at].partition("=")
        lines[at] = f"{name}= {data.draw(WILD)}" if equals else data.draw(st.sampled_from(["", "[x]", "[[stages]]"]))
    survives(folder, "\n".join(lines).encode())


@pytest.mark.parametrize("folder", LOADERS)
@settings(max_examples=75)
@given(data=st.data())
def test_bytes_of_a_file_become_anything(folder: str, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(texts(folder))).encode())
    at = data.draw(st.integers(0, len(content)))
    content[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=20))
    survives(folder, bytes(content))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=100)
@given(gene=st.sampled_from([*SPACE.names, "x"]), value=JSON)
def test_a_gene_takes_any_value(gene: str, value: Any) -> None:
    mapping = SPACE.mapping(SPACE.sample(1)[0]) | {gene: value}
    try:
        genome = SPACE.encode(mapping)
    except rf.RooflineError:
        return
    assert SPACE.mapping(genome)[gene] == value


@settings(max_examples=100)
@given(
    rows=st.integers(0, 3),
    columns=st.sampled_from([0, 1, SPACE.length - 1, SPACE.length, SPACE.length + 1]),
    value=st.one_of(st.integers(-(2**62), 2**62), st.floats(), st.booleans(), st.text(max_size=2), st.none()),
)
def test_a_genome_is_any_array(rows: int, columns: int, value: Any) -> None:
    genomes = np.full((rows, columns), value)
    try:
        found = OBJECTIVE.oracle.latency_s(genomes)
    except rf.RooflineError:
        return
    assert found.shape == (rows, 1) and np.isfinite(found).all()


@lru_cache(maxsize=1)
def history() -> bytes:
    """The database of a short search, in one file."""
    with tempfile.TemporaryDirectory() as home:
        evolve(SPACE, OBJECTIVE, evaluations=96, seed=1, output=home, **SMALL)
        with sqlite3.connect(Path(home) / "history.sqlite") as db:
            db.execute("pragma journal_mode = delete")
        db.close()
        return (Path(home) / "history.sqlite").read_bytes()


def resumes(change: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "history.sqlite"
        path.write_bytes(history())
        change(path)
        message = "fine"
        try:
            evolve(SPACE, OBJECTIVE, evaluations=112, seed=1, output=home, **SMALL)
        except rf.RooflineError as error:
            message = str(error)
        assert message and "\n" not in message


NUMBERS = ("head", "random", "generation", "evaluations", "devices", "population", "best", "archive")


@settings(max_examples=60, deadline=None)
@given(key=st.sampled_from(NUMBERS), value=JSON)
def test_a_number_of_a_history_becomes_anything(key: str, value: Any) -> None:
    def change(path: Path) -> None:
        with sqlite3.connect(path) as db:
            numbers = json.loads(db.execute("select numbers from state").fetchone()[0])
            db.execute("update state set numbers = ?", (json.dumps(numbers | {key: value}),))
        db.close()

    resumes(change)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_bytes_of_a_history_become_anything(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(history())))
    new, cut = data.draw(st.binary(max_size=200)), data.draw(st.booleans())

    def change(path: Path) -> None:
        content = bytearray(history())
        content[at : at + len(new)] = new
        path.write_bytes(bytes(content[: at + len(new)] if cut else content))

    resumes(change)


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=300), numbers=st.text(max_size=20))
def test_the_state_of_a_history_becomes_anything(content: bytes, numbers: str) -> None:
    def change(path: Path) -> None:
        with sqlite3.connect(path) as db:
            db.execute("update state set arrays = ?, numbers = ?", (content, numbers.replace("\0", "")))
        db.close()

    resumes(change)
