"""The command line, as a user meets it: what it prints, what it writes, and what it says to a mistake."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import roofline as rf
from roofline.cli import main

RUN = ["simulate", "efficientnet-b0", "--device", "tpu-v3", "--batch", "8"]


@dataclass
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        content = json.loads(self.out)
        assert isinstance(content, dict)
        return content

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.out)))


@pytest.fixture
def roofline(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        status = main(list(words))
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return run


def process(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "roofline.cli", *words], capture_output=True, text=True, **options)


def test_simulate_prints_the_report(roofline: Callable[..., Result]) -> None:
    result = roofline(*RUN)
    report = rf.simulate("efficientnet-b0", "tpu-v3", batch=8)
    assert result.status == 0 and result.err == ""
    for word in ("Latency", "Throughput", "MACs", "FLOPs", "Parameters", "Traffic", "Peak memory", "fits", "Bound"):
        assert word in result.out
    for word in ("Intensity I", "Attainable", "Efficiency E", "ridge", "Slowest of", "batch 8", "bf16"):
        assert word in result.out
    latency_ms = re.search(r"Latency\s+([\d.,]+) ms", result.out)
    assert latency_ms is not None
    assert float(latency_ms[1].replace(",", "")) == pytest.approx(report.latency_ms, rel=1e-3)
    assert "…" not in result.out  # nothing truncated


def test_simulate_as_json(roofline: Callable[..., Result]) -> None:
    content = roofline(*RUN, "--format", "json").json
    report = rf.simulate("efficientnet-b0", "tpu-v3", batch=8)
    assert content["latency_ms"] == report.latency_ms  # full precision
    assert content["schema_version"] >= 1
    assert rf.__version__ in content.values()
    assert (content["model"], content["device"], content["batch"]) == ("efficientnet-b0", "tpu-v3", 8)


def test_simulate_as_csv_has_a_row_per_kernel(roofline: Callable[..., Result]) -> None:
    rows = roofline(*RUN, "--format", "csv").rows
    report = rf.simulate("efficientnet-b0", "tpu-v3", batch=8)
    assert len(rows) == len(report.kernels)
    assert sum(float(row["time_s"]) for row in rows) == pytest.approx(report.kernels["time_s"].sum(), rel=1e-12)


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.json", b"{"), ("a.csv", b"kernel,")])
def test_simulate_writes_what_the_suffix_says(roofline: Callable[..., Result], name: str, start: bytes) -> None:
    result = roofline(*RUN, "--output", name)
    assert result.status == 0
    assert Path(name).read_bytes().startswith(start)
    assert os.listdir() == [name]


def test_names_in_any_spelling(roofline: Callable[..., Result]) -> None:
    assert roofline("simulate", "EfficientNet_B0", "-d", "TPUv3", "-b", "8").out == roofline(*RUN).out


def test_options_reach_the_simulator(roofline: Callable[..., Result]) -> None:
    options = ["--image-size", "128", "--cores", "1", "--dtype", "fp32"]
    content = roofline(*RUN, *options, "--format", "json").json
    report = rf.simulate("efficientnet-b0", "tpu-v3", batch=8, image_size=128, cores=1, dtype="fp32")
    assert content["latency_ms"] == report.latency_ms
    assert (content["image_size"], content["cores"], content["dtype"]) == (128, 1, "fp32")


MISTAKES = {
    "model": ["simulate", "efficientnet-b00", "-d", "tpu-v3"],
    "device": ["simulate", "efficientnet-b0", "-d", "tpu-v33"],
    "runtime": [*RUN, "--runtime", "xlaa"],
    "dtype": [*RUN, "--dtype", "bf17"],
    "dtype the device lacks": [*RUN, "--dtype", "fp8"],
    "batch zero": ["simulate", "efficientnet-b0", "-d", "tpu-v3", "-b", "0"],
    "batch negative": ["simulate", "efficientnet-b0", "-d", "tpu-v3", "-b=-3"],
    "batch huge": ["simulate", "efficientnet-b0", "-d", "tpu-v3", "-b", "9" * 40],
    "batch no number": ["simulate", "efficientnet-b0", "-d", "tpu-v3", "-b", "x"],
    "cores": [*RUN, "--cores", "99"],
    "image size": [*RUN, "--image-size", "0"],
    "layout": [*RUN, "--layout", "nchwx"],
    "mode": [*RUN, "--mode", "guessing"],
    "format": [*RUN, "--format", "xml"],
    "strict": ["simulate", "efficientnet-b7", "-d", "tpu-v2", "-b", "65536", "--strict"],
    "suffix": [*RUN, "--output", "a.doc"],
    "folder": [*RUN, "--output", "missing/a.png"],
    "no model": ["simulate", "-d", "tpu-v3"],
    "no device": ["simulate", "efficientnet-b0"],
    "no file": ["simulate", "efficientnet-b0", "-d", "missing.toml"],
    "verb": ["simulat"],
    "option": ["--bogus"],
    "devices": ["devices", "tpu-v33"],
    "models": ["models", "resnet-51x"],
    "runtimes": ["runtimes", "xlaa"],
    "two devices": ["simulate", "efficientnet-b0", "-d", "tpu-v3", "--device", "v100"],
    "compare nothing": ["compare", ",", "-d", "tpu-v3"],
    "compare other device": ["compare", "efficientnet-b0", "-d", "tpu-v3", "--dtype", "v100=fp16"],
    "compare batch": ["compare", "efficientnet-b0", "-d", "tpu-v3", "--batch", "many"],
}


@pytest.mark.parametrize("words", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_status_2(roofline: Callable[..., Result], words: list[str]) -> None:
    result = roofline(*words)
    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.err
    assert os.listdir() == []


def test_a_bad_file_is_named(roofline: Callable[..., Result]) -> None:
    Path("broken.toml").write_text('name = "x"\nname = "y"\n')
    for words in (["simulate", "efficientnet-b0", "-d", "broken.toml"], ["devices", "broken.toml"]):
        result = roofline(*words)
        assert result.status == 2
        assert "broken.toml" in result.err


def test_a_failed_write_leaves_the_old_file(roofline: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.json").write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    result = roofline("compare", "efficientnet-b0", "-d", "tpu-v3", "-o", "a.json", "--force")
    assert result.status == 2
    assert "No space left" in result.err
    assert Path("a.json").read_text() == "old"
    assert os.listdir() == ["a.json"]


def test_what_does_not_fit_is_a_warning(roofline: Callable[..., Result]) -> None:
    result = roofline("simulate", "efficientnet-b7", "-d", "tpu-v2", "-b", "65536")
    assert result.status == 0
    assert result.err.startswith("warning: ")
    assert "DOES NOT FIT" in result.out


def test_compare_has_a_row_per_run(roofline: Callable[..., Result]) -> None:
    models = ["efficientnet-b0", "efficientnet-x-b0"]
    words = ["compare", *models, "-d", "tpu-v3,v100", "-d", "tpu-v2", "--batch", "8", "--runtime", "v100=tensorflow"]
    rows = roofline(*words, "--format", "csv").rows
    assert [(row["device"], row["model"]) for row in rows] == [
        (device, model) for device in ("tpu-v3", "v100", "tpu-v2") for model in models
    ]
    for row in rows:
        runtime = "tensorflow" if row["device"] == "v100" else None
        report = rf.simulate(row["model"], row["device"], batch=8, runtime=runtime)
        assert float(row["latency_ms"]) == report.latency_ms
        assert row["bound"] == report.bound
        shares = [float(row[f"{name}_share"]) for name in ("matrix", "vector", "memory", "overhead")]
        assert sum(shares) == pytest.approx(1)
    assert roofline(*words, "--format", "json").json["runs"][0]["model"] == "efficientnet-b0"
    table = roofline(*words).out
    assert table.count("efficientnet-x-b0") == 3
    assert "v100 tensorflow" in table


@pytest.mark.parametrize("name", ["a.png", "a.csv", "a.json"])
def test_compare_writes(roofline: Callable[..., Result], name: str) -> None:
    assert roofline("compare", "efficientnet-b0,efficientnet-x-b0", "-d", "tpu-v3", "-o", name).status == 0
    assert Path(name).stat().st_size > 100


@pytest.mark.parametrize(
    ("verb", "key", "names"),
    [("devices", "device", rf.devices), ("models", "model", rf.models), ("runtimes", "runtime", rf.runtimes)],
)
def test_lists_name_everything(
    roofline: Callable[..., Result], verb: str, key: str, names: Callable[[], list[str]]
) -> None:
    result = roofline(verb)
    assert result.status == 0
    assert all(name in result.out for name in names())
    assert [row[key] for row in roofline(verb, "--format", "csv").rows] == names()
    assert [row[key] for row in roofline(verb, "-f", "json").json[verb]] == names()


@pytest.mark.parametrize("device", rf.devices())
def test_a_device_is_shown_with_every_number_and_source(roofline: Callable[..., Result], device: str) -> None:
    out, spec = roofline("devices", device).out, rf.device(device)
    for quantity in spec.quantities:
        assert quantity.path in out
        assert quantity.source is None or spec.sources[quantity.source].split()[0] in out
    assert ("recalled" in out) >= any(q.recalled for q in spec.quantities)
    assert ("ESTIMATE" in out) == any(q.estimate is not None for q in spec.quantities)
    assert len(roofline("devices", device, "-f", "csv").rows) == len(spec.quantities)


@pytest.mark.parametrize("runtime", rf.runtimes())
def test_a_runtime_is_shown_with_every_number(roofline: Callable[..., Result], runtime: str) -> None:
    result = roofline("runtimes", runtime)
    assert result.status == 0
    assert "fraction" in result.out
    assert len(roofline("runtimes", runtime, "-f", "json").json["quantities"]) >= 5


def test_a_model_is_shown_with_its_counts(roofline: Callable[..., Result]) -> None:
    out = roofline("models", "efficientnet-b0").out
    assert "5,288,548" in out  # timm's efficientnet_b0
    assert "stem" in out and "published" in out and "px" in out
    content = roofline("models", "efficientnet-b0", "-f", "json").json
    assert content["params"] == 5_288_548
    assert content["stages"][0]["name"] == "stem"


def test_help_and_version(roofline: Callable[..., Result]) -> None:
    assert roofline("--version").out == f"roofline {rf.__version__}\n"
    for words in ([], ["--help"], ["-h"]):
        assert "simulate" in roofline(*words).out
    for verb in ("simulate", "compare", "devices", "models", "runtimes"):
        result = roofline(verb, "--help")
        assert result.status == 0
        assert "--format" in result.out


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from roofline.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"'numpy'", "'pandas'", "'matplotlib'", "'networkx'", "'pydantic'"} & set(
        done.stderr.strip("[]\n").split(", ")
    )


def test_the_exit_status_reaches_the_shell() -> None:
    assert process("devices", "tpu-v33").returncode == 2
    assert process("devices", "tpu-v3").returncode == 0


def test_the_package_is_the_command() -> None:
    for words, status in ((["devices", "tpu-v3"], 0), (["devices", "tpu-v33"], 2)):
        command = [sys.executable, "-m", "roofline", *words]
        done, same = subprocess.run(command, capture_output=True, text=True), process(*words)
        assert (done.returncode, done.stdout, done.stderr) == (status, same.stdout, same.stderr)


def test_a_closed_pipe_is_no_traceback() -> None:
    command = [sys.executable, "-m", "roofline.cli", "models", "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
        assert reader.stdout is not None and reader.stderr is not None
        reader.stdout.close()
        assert reader.stderr.read() == b""
    assert reader.returncode == 1


def test_a_narrow_ascii_stream_loses_no_number() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "40"}
    done = process(*RUN, env=environment)
    assert done.returncode == 0
    latency_ms = rf.simulate("efficientnet-b0", "tpu-v3", batch=8).latency_ms
    assert f"{latency_ms:.3f} ms" in done.stdout
