"""What verbs print and what they write is the same, and a file's suffix says in which form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import roofline as rf
from roofline.cli import main

VERBS = {
    "compare": ["compare", "resnet-18", "resnet-34", "--device", "v100"],
    "gap": ["gap", "resnet-18", "resnet-34", "--device", "v100"],
    "migrate": ["migrate", "resnet-18", "resnet-34", "--from", "v100", "--to", "t4"],
    "sensitivity": [
        "sensitivity",
        "resnet-18",
        "--device",
        "tpu-v3",
        "--batch",
        "128",
        "--field",
        "hbm.bandwidth_bytes_per_s",
    ],
    "advise": ["advise", "resnet-18", "--device", "v100"],
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_file_holds_what_the_screen_shows(
    verb: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"found.{form.upper()}"
    assert main([*VERBS[verb], "--format", form, "--output", str(file)]) == 0
    shown = capsys.readouterr().out
    assert file.read_text(encoding="utf-8") == shown
    if form == "json":
        content = json.loads(shown)
        assert list(content)[:2] == ["schema_version", "roofline_version"]
        assert all(rows for rows in content.values())
    else:
        assert len(shown.splitlines()) > 1


def test_headlines_are_printed_with_their_conditions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["headlines", "migration", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["headlines"]
    found = rf.headlines("migration").table
    assert [row["predicted"] for row in rows] == list(found["predicted"])
    assert (
        rows[0]["low"] is None and rows[1]["low"] < rows[1]["predicted"] < rows[1]["high"]
    )  # a ratio of peaks is exact
    assert main(["headlines", "migration"]) == 0
    text = capsys.readouterr().out
    assert text.count(" to ") >= 4 and "B0 to B7 per chip, batch 128" in text
    assert main(["headlines", "speed"]) == 2
    assert capsys.readouterr().err == "error: no headlines on 'speed'; allowed: 'gap', 'migration'\n"


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "advise"])
def test_a_picture_does_not_change_what_is_printed(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(VERBS[verb]) == 0
    alone = capsys.readouterr().out
    assert main([*VERBS[verb], "--output", str(tmp_path / "found.svg")]) == 0
    assert capsys.readouterr().out == alone and alone
    assert (tmp_path / "found.svg").read_text(encoding="utf-8").startswith("<?xml")
