"""What a reader that is not a terminal gets: no colour, no spinner, no bar; and a terminal that wants no colour."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from places import ROOT

import roofline as rf
from roofline.cli import main

RUN = ["--device", "v100", "--batch", "2"]
COMMANDS = {
    "simulate": ["simulate", "resnet-18", *RUN, "--explain"],
    "compare": ["compare", "resnet-18,resnet-34", *RUN],
    "gap": ["gap", "resnet-18,resnet-34", *RUN],
    "advise": ["advise", "resnet-18", *RUN],
    "search": ["search", "vit", *RUN, "--accuracy", "params", "--evaluations", "200", "--no-baselines"],
    "devices": ["devices"],
    "a device": ["devices", "tpu-v3"],
    "help": ["simulate", "--help"],
    "mistake": ["simulate", "nonsense", *RUN],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_gets_plain_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(COMMANDS[name])
    captured = capsys.readouterr()
    assert status == (2 if name == "mistake" else 0)
    for text in (captured.out, captured.err):
        assert "\x1b" not in text and "\r" not in text
    assert (captured.err == "") == (name != "mistake")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_bold_titles_unless_it_wants_none() -> None:
    """The test above can fail: on a terminal there are escape codes."""
    import pty

    shown = {}
    for wish in ({}, {"NO_COLOR": "1", "TERM": "dumb"}):
        ours, theirs = pty.openpty()
        words = [sys.executable, "-m", "roofline.cli", *COMMANDS["gap"]]
        plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
        place = str(ROOT)
        environment = plain | {"TERM": "xterm", "COLUMNS": "200", "PYTHONPATH": place} | wish
        with subprocess.Popen(words, stdout=theirs, stderr=theirs, env=environment) as process:
            os.close(theirs)
            pieces = []
            while True:
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
                if not piece:
                    break
                pieces.append(piece)
            assert process.wait() == 0
        os.close(ours)
        shown["NO_COLOR" in wish] = b"".join(pieces)
    assert b"\x1b[" in shown[False] and b"\x1b[" not in shown[True]


def test_a_slow_device_does_not_run_nothing_per_second() -> None:
    """Write the throughput of what takes seconds as a number that is not 0."""
    report = rf.simulate("resnet-18", "hypothetical-scalar")
    assert 0.1 < report.throughput_per_s < 1.0
    assert f"{report.throughput_per_s:.3g} examples/s" in str(report)
