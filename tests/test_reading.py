"""Whatever a path leads to and a file holds: its content, or one line; and whatever name it gives, it can be shown."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patience import patience

import roofline as rf
from roofline.calibration.measured.files import read_sheet
from roofline.calibration.profile import read_trace
from roofline.errors import InputError, RooflineError
from roofline.files import atomic, json_text, write_text
from roofline.frontends.onnx import from_onnx
from roofline.measure.store import read_facts
from roofline.reading import MOST_BYTES, parse_csv, parse_json, read_bytes, read_text
from roofline.search.accuracy.adapters import read_table
from roofline.search.oracle.latency import Oracle
from roofline.search.space.load import search_space
from roofline.text import printable

#: every door to a file, and a name that leads through it
DOORS: dict[str, Callable[[Path], object]] = {
    "d.toml": rf.device,
    "r.toml": lambda path: rf.runtime(path),
    "m.toml": lambda path: rf.model(path),
    "s.toml": lambda path: search_space(path),
    "p.toml": lambda path: rf.run_plan(path, path.with_suffix(".sqlite")),
    "g.json": rf.load_graph,
    "o.onnx": lambda path: from_onnx(path),
    "a.csv": lambda path: read_table(path, search_space("vit")),
    "t.npz": lambda path: Oracle("vit", "v100").load(path),
    "v.csv": read_sheet,
    "t.json": read_trace,
}


def refused(door: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(RooflineError) as caught:
        door(path)
    message = str(caught.value)
    assert message and "\n" not in message
    return message


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices with names")
@pytest.mark.parametrize("name", DOORS)
def test_devices_pipes_and_folders_are_no_files(name: str, tmp_path: Path) -> None:
    door = DOORS[name]
    with patience(30):
        os.mkfifo(tmp_path / name)
        assert "a device or pipe" in refused(door, tmp_path / name)
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("/dev/zero")
        assert "a device or pipe" in refused(door, tmp_path / name)
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
        refused(door, tmp_path / name)


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("stem", ["x" * 300, "\ud800", "a\0b"])
def test_names_that_no_file_has(name: str, stem: str, tmp_path: Path) -> None:
    refused(DOORS[name], tmp_path / f"{stem}{name}")


def test_archives_that_inflate_without_end_are_given_up(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "g.json", "wb", compresslevel=1) as file:
        for _ in range(MOST_BYTES // 2**24 + 1):
            file.write(bytes(2**24))
    assert "inflates to more than" in refused(rf.load_graph, tmp_path / "g.json")
    (tmp_path / "x.csv").write_bytes(gzip.compress(bytes(10**7)))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="inflates to more than 100,000 bytes"):
            read_text(tmp_path / "x.csv", most=100_000)
        assert tracemalloc.get_traced_memory()[1] < 2e6, "what nobody gets is not kept"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("damage", [b"\x1f\x8b", b"\x1f\x8b\x08\x00junk", gzip.compress(b"a,b\n" * 999)[:-9]])
def test_a_damaged_archive_is_one_line(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(damage)
    assert "a damaged gzip file" in refused(read_sheet, tmp_path / "x.csv.gz")
    (tmp_path / "x.csv.gz").write_bytes(b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 20)
    assert "a damaged gzip file" in refused(read_sheet, tmp_path / "x.csv.gz")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 65 + "]" * 65, "nested too deeply"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested too deeply"),
        ("[" + "9" * 5000 + "]", "digits"),
        ('["\\ud800"]', "half of a character"),
        ("{", "not valid JSON"),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_json_without_end_or_sense(text: str, words: str, strict: bool) -> None:
    with pytest.raises(InputError, match=words):
        parse_json(text, "x", strict=strict)


def test_json_that_is_fine() -> None:
    text = '{"a": [1, 2.5, "\\ud83d\\ude00", 18446744073709551615], "b": ' + "[" * 60 + "]" * 60 + "}"
    assert parse_json(text, "x")["a"] == [1, 2.5, "\U0001f600", 2**64 - 1]
    with pytest.raises(InputError, match="given twice"):
        parse_json('{"a": 1, "a": 2}', "x", strict=True)


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000, "9223372036854775808", "-0b1" + "0" * 64])
def test_toml_of_more_than_64_bits_is_one_line(number: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(f"name = 1\n[chip]\ncores = [{{ value = {number} }}]\n")
    assert "not valid TOML" in refused(rf.device, tmp_path / "x.toml")


def test_csv_as_people_and_tools_write_it() -> None:
    columns, rows = parse_csv(' a ,b\r\n1,"x\ny"\r\n\r\n2\r\n', "x.csv")
    assert columns == ("a", "b") and rows == [(3, {"a": "1", "b": "x\ny"}), (5, {"a": "2"})]
    with pytest.raises(InputError, match=r"x.csv: line 2: field larger than field limit"):
        parse_csv("a\n" + "1" * 131_073, "x.csv")
    with pytest.raises(InputError, match="column 'a' appears twice"):
        parse_csv("a,a\n1,2", "x.csv")


def test_a_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbf12345")
    assert read_text(tmp_path / "x") == "12345" and len(read_bytes(tmp_path / "x", most=8)) == 8
    with pytest.raises(InputError, match="more than 7 bytes"):
        read_bytes(tmp_path / "x", most=7)


def test_facts_of_a_device_have_their_types(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"name": "x", "kind": "cpu", "backend": "torch", "vendor": "y", "software": "z"}
    mistakes: tuple[dict[str, Any], ...] = (
        {"name": 1},
        {"threads": []},
        {"caches": 3},
        {"more": 1},
        {"memory_bytes": "all"},
    )
    for wrong in mistakes:
        (tmp_path / "facts.json").write_text(json.dumps(facts | wrong))
        assert "cannot be read" in refused(read_facts, tmp_path)
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    assert read_facts(tmp_path).name == "x"


# names --------------------------------------------------------------------------------


def test_what_a_terminal_obeys_is_shown_instead() -> None:
    hostile = "a\x1b[2J\x9b1m\x07\r\x7f\u202eb\ud800\u2028"
    assert printable(hostile) == r"a\x1b[2J\x9b1m\x07\r\x7f\u202eb\ud800\u2028"
    assert printable("tabs\tand lines\nand 漢字 😀 stay") == "tabs\tand lines\nand 漢字 😀 stay"
    text = json_text({"name": hostile})
    assert json.loads(text)["name"] == hostile, "JSON loses nothing"
    assert printable(text) == text and text.encode()


def test_any_text_can_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / "x.txt", "a\x1b[31m\ud800\n")
    assert (tmp_path / "x.txt").read_text() == "a\\x1b[31m\\ud800\n"
    for name in ("x" * 300, "\ud800", "a\0b"):
        with pytest.raises(InputError, match="cannot write"):
            write_text(tmp_path / name, "")


@pytest.mark.skipif(os.name != "posix", reason="locks of folders")
def test_what_a_killed_run_left_goes_and_what_another_holds_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    left, held = tmp_path / ".writing-left", tmp_path / ".writing-held"
    for folder in (left, held):
        folder.mkdir()
        (folder / "x.txt").write_text("half")
    handle = os.open(held, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    write_text(tmp_path / "x.txt", "whole")
    assert not left.exists() and held.exists()
    os.close(handle)
    monkeypatch.setattr("roofline.files._looked", set())  # another process
    with atomic(tmp_path / "x.txt") as temporary:
        assert not held.exists() and temporary.parent.exists()
        temporary.write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.txt"]
