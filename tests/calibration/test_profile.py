"""Traces of PyTorch's profiler: which op owns which time, what is predicted for it, and what is not a trace."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import roofline as rf
from roofline.calibration.profile import compare_profile, read_trace
from roofline.cli.app import main
from roofline.errors import InputError, UnknownOpError

torch = pytest.importorskip("torch")

from roofline.frontends.torch.replay import graph_of_call  # noqa: E402

CONV: dict[str, Any] = {
    "Input Dims": [[8, 64, 56, 56], [128, 64, 3, 3], [], [], [], [], []],
    "Input type": ["c10::Half", "c10::Half", "", "ScalarList", "ScalarList", "ScalarList", "Scalar"],
    "Concrete Inputs": ["", "", "", "[1, 1]", "[1, 1]", "[1, 1]", "1"],
}
RELU = {"Input Dims": [[8, 128, 56, 56]], "Input type": ["c10::Half"], "Concrete Inputs": [""]}


def op(name: str, start: float, end: float, number: int, **args: Any) -> dict[str, Any]:
    args = {"External id": number, **args}
    return {"ph": "X", "cat": "cpu_op", "name": name, "ts": start, "dur": end - start, "pid": 1, "tid": 1, "args": args}


def kernel(start: float, duration: float, number: int | None) -> dict[str, Any]:
    args = {} if number is None else {"External id": number}
    return {"ph": "X", "cat": "kernel", "name": "k", "ts": start, "dur": duration, "pid": 0, "tid": 7, "args": args}


def write(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"traceEvents": [{"ph": "M", "name": "process_name"}, *events]}), encoding="utf-8")
    return path


@pytest.fixture
def gpu_trace(tmp_path: Path) -> Path:
    """A convolution whose inner op launched two kernels, two activations, and a kernel that nobody launched."""
    events = [
        op("aten::conv2d", 0, 50, 1, **CONV), op("aten::convolution", 5, 45, 2, **CONV),
        op("aten::relu", 60, 70, 3, **RELU),
        op("aten::relu", 80, 90, 4, **RELU), op("aten::_local_scalar_dense", 95, 99, 5, **RELU),
        kernel(30, 200, 2), kernel(240, 100, 2), kernel(350, 40, 3), kernel(400, 60, 4), kernel(470, 9, None),
        kernel(480, 5, 5),
    ]  # fmt: skip
    return write(tmp_path / "trace.json", events)


def test_kernels_belong_to_the_outermost_op_that_launched_them(gpu_trace: Path) -> None:
    trace = read_trace(gpu_trace)
    assert trace.on_device and trace.unowned_s == pytest.approx(9e-6)
    calls, times_s = {o.name: o.calls for o in trace.ops}, {o.name: o.time_s for o in trace.ops}
    assert calls == {"aten::conv2d": 1, "aten::relu": 2, "aten::_local_scalar_dense": 1}
    assert times_s == pytest.approx({"aten::conv2d": 300e-6, "aten::relu": 100e-6, "aten::_local_scalar_dense": 5e-6})


def test_without_a_gpu_the_time_is_that_of_the_op(tmp_path: Path) -> None:
    path = write(tmp_path / "t.json", [op("aten::relu", 0, 12, 1, **RELU), op("aten::clamp_min", 2, 10, 2, **RELU)])
    zipped = tmp_path / "t.json.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    for place in (path, zipped):
        (found,) = read_trace(place).ops
        assert found.name == "aten::relu" and found.time_s == pytest.approx(12e-6)


def test_an_op_is_predicted_as_the_same_op_of_a_network(gpu_trace: Path) -> None:
    found = compare_profile(gpu_trace, "v100")
    lines = {line.op: line for line in found.lines}
    network = torch.nn.Conv2d(64, 128, 3, padding=1, bias=False, device="meta")
    report = rf.simulate(rf.from_torch(network, (8, 64, 56, 56)), "v100", dtype="fp16", layout="nchw")
    assert lines["aten::conv2d"].predicted_s == pytest.approx(report.device_s)  # neither host nor program
    relu = rf.simulate(rf.from_torch(torch.nn.ReLU(), (8, 128, 56, 56)), "v100", dtype="fp16").device_s
    assert lines["aten::relu"].predicted_s == pytest.approx(2 * relu)
    assert [abs(line.gap_s) for line in found.lines] == sorted((abs(x.gap_s) for x in found.lines), reverse=True)
    (lost,) = found.unmatched
    assert lost.op == "aten::_local_scalar_dense" and lost.measured_s == pytest.approx(5e-6) and lost.why


def test_a_call_is_rebuilt_with_its_constants() -> None:
    graph = graph_of_call("aten::conv2d", *CONV.values())
    assert graph.macs == 8 * 56 * 56 * 128 * 64 * 9
    assert graph.params == 128 * 64 * 9  # the weight is stored, the image is not
    add = ([[4, 8], [4, 8], []], ["float", "float", "Scalar"], ["", "", "1"])
    assert [o.kind for o in graph_of_call("aten::add", *add).ops.values()] == ["elementwise"]  # alpha goes by name
    cat = ([[[2, 3], [2, 5]], []], ["TensorList", "Scalar"], ["", "1"])
    assert [o.kind for o in graph_of_call("aten::cat", *cat).ops.values()] == ["concat"]


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("my::op", ([[2]], ["float"], [""]), "'my::op' is no ATen op"),
        ("aten::relu", ([[2], []], ["float", "Scalar"], ["", "1"]), "'aten::relu' has no overload for float, Scalar"),
    ],
)
def test_calls_that_nobody_knows(name: str, inputs: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UnknownOpError, match=message):
        graph_of_call(name, *inputs)
    with pytest.raises(InputError, match="no tensor goes in"):
        graph_of_call("aten::ones", [[], [], [], [], []], ["ScalarList", "", "", "", ""], ["[2]", "", "", "", ""])


def test_a_real_profile_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from torch.profiler import ProfilerActivity, profile

    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(7200, 10)
    )
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        network(images)
    found.export_chrome_trace(str(tmp_path / "trace.json"))
    comparison = compare_profile(tmp_path / "trace.json", "hypothetical-cpu")
    assert {"aten::conv2d", "aten::relu", "aten::linear"} <= {line.op for line in comparison.lines}
    arguments = ["validate", "--torch-profile", str(tmp_path / "trace.json"), "--device", "hypothetical-cpu"]
    for form in ("table", "csv", "json"):
        assert main([*arguments, "--format", form]) == 0
        assert "aten::conv2d" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a trace in Chrome's format"),
        ("[1, 2]", "no ops: not a trace of PyTorch's profiler"),
        ('{"traceEvents": [{"cat": "cpu_op", "name": "aten::relu", "ts": 0, "dur": 1}]}', "recorded without shapes"),
    ],
)
def test_what_is_no_trace_is_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text, encoding="utf-8")
    assert main(["validate", "--torch-profile", str(path), "--device", "v100"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--torch-profile", "missing.json", "--device", "v100"], "cannot read 'missing.json'"),
        (["--torch-profile", "missing.json"], "--torch-profile goes with --device"),
        ([], "give files of measurements, or --torch-profile with a trace"),
    ],
)
def test_a_profile_needs_a_device(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", *arguments]) == 2
    assert message in capsys.readouterr().err
