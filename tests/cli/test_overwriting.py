"""Files that verbs write: what exists stays unless ``--force`` says otherwise, and a bad place is named at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import typer.main

from roofline.cli import main
from roofline.cli.app import app

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
SIMULATE = ["simulate", "efficientnet-b0", "--device", "tpu-v3"]
COMPARE = ["compare", "efficientnet-b0", "--device", "tpu-v3"]
LUT = ["lut", "vit", "--device", "v100"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_that_writes_a_file_has_force(verb: str) -> None:
    options = {name: option for option in COMMANDS[verb].params for name in option.opts}
    file = options.get("--output", options.get("--plot"))
    if file is not None and file.metavar not in ("DIR", "RESULTS"):  # these are filled, not replaced
        assert "--force" in options


@pytest.mark.parametrize(
    ("words", "option", "name"),
    [
        (SIMULATE, "--output", "a.csv"),
        (SIMULATE, "--output", "a.png"),
        (SIMULATE, "--save-graph", "a.json"),
        (COMPARE, "--output", "a.csv"),
        (LUT, "--output", "a.csv"),
        (["validate", "rows.csv"], "--plot", "a.png"),
        (["calibrate", "rows.csv", "--runtime", "pytorch_eager"], "--output", "a.toml"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_what_exists_is_kept(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], option: str, name: str
) -> None:
    Path(name).write_text("mine")
    assert main([*words, option, name]) == 2
    error = capsys.readouterr().err
    assert f"{name!r} exists: give --force to overwrite it" in error and error.count("\n") == 1
    assert Path(name).read_text() == "mine"
    if words[1] != "rows.csv":
        assert main([*words, option, name, "--force"]) == 0
        assert Path(name).read_bytes() != b"mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_without_permission(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("locked").mkdir(mode=0o500)
    assert main([*SIMULATE, "--output", "locked/a.csv"]) == 2
    assert "no permission to write in 'locked'" in capsys.readouterr().err


def test_permission_is_asked_before_anything_is_computed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roofline.cli.output.os.access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr("roofline.cli.frontend.network", lambda *_: pytest.fail("computed"))
    assert main([*SIMULATE, "--output", "a.csv"]) == 2
    assert "no permission" in capsys.readouterr().err


def test_a_file_in_place_of_the_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert main([*SIMULATE, "--output", "file/a.csv"]) == 2
    assert "no folder 'file'" in capsys.readouterr().err
