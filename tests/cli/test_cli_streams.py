"""Standard output that is full, closed or a terminal, names that a terminal would obey, and Ctrl-C at a bad moment."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import ROOT

import roofline as rf
from roofline.cli import main
from roofline.graph.serial import as_dict

CLI = [sys.executable, "-m", "roofline.cli"]
HOSTILE = "x\x1b[2J\x9b1m\u202e$\\frac{"
POSIX = pytest.mark.skipif(os.name != "posix", reason="streams as POSIX has them")


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command line of a shell, in which R is the command."""
    return subprocess.run(
        ["sh", "-c", f'R="{sys.executable} -m roofline.cli"; {command}'], capture_output=True, text=True, timeout=100
    )


@POSIX
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("$R devices > /dev/full", "No space left on device"),
        ("$R models --format csv >&-", "Bad file descriptor"),
    ],
)
def test_output_that_nobody_gets_is_one_line(command: str, why: str) -> None:
    done = shell(command)
    assert (done.returncode, done.stderr) == (2, f"error: cannot write to standard output: {why}\n")


@POSIX
def test_a_file_is_written_whatever_the_streams_are(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    done = shell(f"$R simulate resnet-18 --device v100 -o {path} <&- >&- 2>&-")
    assert done.returncode == 2 and json.loads(path.read_text())["model"] == "resnet-18"
    assert shell("$R simulate nothing --device v100 2>&-").returncode == 2


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A graph whose names a terminal would obey, and matplotlib take for formulas."""
    b = rf.GraphBuilder("tiny")
    x = b.input("image", (1, 8, 8, 3))
    content = as_dict(b.graph([b.linear(b.mean(b.relu(b.conv(x, 4, kernel=3)), (1, 2), keep=False), 5)]))
    content["name"] = HOSTILE
    for i, op in enumerate(content["ops"]):
        op["id"] = f"{HOSTILE}{i}/y"
    (tmp_path / "g.json").write_text(json.dumps(content))
    return tmp_path / "g.json"


class Terminal(io.StringIO):
    """What a person sees."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("verb", "form"),
    [*((v, f) for v in ("simulate", "compare") for f in ("table", "csv", "json")), ("advise", "table")],
)
def test_no_name_reaches_a_terminal_raw(hostile: Path, verb: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    assert main([verb, str(hostile), "--device", "v100", "--format", form]) == 0
    said = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())  # colours of our own: none of them moves or clears
    assert "x\\x1b[2J" in said or "x\\u001b[2J" in said
    assert not set("\x1b\x9b\u202e") & set(said)
    assert main(["simulate", HOSTILE, "--device", "v100"]) == 2
    assert r"unknown model 'x\x1b[2J\x9b1m\u202e$\\frac{'" in err.getvalue() and "\x1b" not in err.getvalue()


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_names_are_drawn_as_they_are_and_equal_pictures_are_equal_files(hostile: Path, suffix: str) -> None:
    for picture in ("roofline", "waterfall", "kernels") if suffix == ".svg" else ("waterfall",):
        contents = []
        for path in (hostile.with_name(f"a{suffix}"), hostile.with_name(f"b{suffix}")):
            words = ["simulate", str(hostile), "--device", "v100", "--output", str(path), "--plot", picture, "--force"]
            assert main(words) == 0
            contents.append(path.read_bytes())
        assert contents[0] == contents[1]
        assert suffix != ".svg" or b"\x1b" not in contents[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["l2.capacity_bytes=0", "l2.bandwidth_bytes_per_s*=2"], "l2.capacity_bytes=0 takes that memory away"),
        (["hbm.capacity_bytes=0"], "a device needs its main memory"),
        (["cmem.capacity_bytes=1e6"], "unknown field of 'v100': 'cmem.capacity_bytes'"),
    ],
)
def test_memories_that_are_not_there(changes: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = [word for change in changes for word in ("--set", change)]
    assert main(["simulate", "resnet-18", "--device", "v100", *options]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@POSIX
@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/y"])
def test_names_that_no_file_has(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["simulate", "resnet-18", "--device", "v100", "--output", f"{name}.json"],
        ["simulate", "resnet-18", "--device", f"{name}.toml"],
        ["simulate", "--onnx", f"{name}.onnx", "--device", "v100"],
        ["validate", f"{name}.csv"],
        ["sweep", f"{name}.toml", "--output", "a.sqlite"],
        ["lut", "vit", "--device", "v100", "--output", f"{name}.csv"],
    ):
        assert main(words) == 2, words
        assert capsys.readouterr().err.count("\n") == 1


@POSIX
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="the extra 'dask' is not installed")
def test_an_interrupt_while_the_cluster_starts_is_one_line(tmp_path: Path) -> None:
    batches = ", ".join(map(str, range(1, 400)))  # more than is done before it is interrupted
    (tmp_path / "plan.toml").write_text(f'models = ["*"]\ndevices = ["v100"]\nbatch = [{batches}]\n')
    words = ["sweep", str(tmp_path / "plan.toml"), "-o", str(tmp_path / "a.sqlite"), "--workers", "2"]
    process = subprocess.Popen(
        [*CLI, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (tmp_path / "a.sqlite").exists():
        time.sleep(0.02)
    time.sleep(1.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    _, error = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)  # a shell says 130 of either
    assert error.startswith("warning: interrupted") and error.count("\n") == 1, error
