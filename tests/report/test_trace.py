"""Timelines: the rules of the trace-event format, and times that are the report's."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import roofline as rf
from roofline.cli import main

#: (model, device, runtime, batch): one program; a queue that the device limits; one that the host limits; a graph
RUNS = {
    "compiled": ("efficientnet-x-b0", "tpu-v3", None, 128),
    "device": ("resnet-50", "a100-40gb", "pytorch_eager", 256),
    "host": ("mobilenetv2-1.0", "h100-sxm", "pytorch_eager", 1),
}
NS = 1e-9


@pytest.fixture(scope="module", params=[*RUNS, "graph"])
def report(request: pytest.FixtureRequest) -> rf.Report:
    if request.param == "graph":
        b = rf.GraphBuilder('net <&> "quoted" é')
        x = b.relu(b.linear(b.input("x", (8, 64)), 64, name="a"))
        return rf.simulate(b.graph([b.linear(x, 10, name="b")]), "v100")
    model, device, runtime, batch = RUNS[request.param]
    return rf.simulate(model, device, runtime=runtime, batch=batch)


@pytest.fixture(scope="module")
def trace(report: rf.Report, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = report.save(tmp_path_factory.mktemp("trace") / "trace.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def lanes(trace: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the complete events of each named thread, in the order of the file."""
    names = {e["tid"]: e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
    for event in trace["traceEvents"]:
        if event["ph"] == "X":
            found[names[event["tid"]]].append(event)
    return found


def ns(event: dict[str, Any]) -> tuple[int, int]:
    """Return start and end in whole nanoseconds: what a viewer rounds to."""
    return round(event["ts"] * 1e3), round(event["ts"] * 1e3) + round(event["dur"] * 1e3)


def test_the_format(trace: dict[str, Any]) -> None:
    """The JSON object form: an array of events, each with the members that its phase requires."""
    assert trace["displayTimeUnit"] in ("ms", "ns") and isinstance(trace["otherData"], dict)
    for event in trace["traceEvents"]:
        assert isinstance(event["name"], str) and event["ph"] in ("M", "X")
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int) and isinstance(event["args"], dict)
        if event["ph"] == "X":
            assert event["ts"] >= 0 and event["dur"] > 0 and isinstance(event["cat"], str)
        else:
            assert event["name"] in ("process_name", "thread_name", "thread_sort_index")
            assert set(event["args"]) <= {"name", "sort_index"}
    processes = [e for e in trace["traceEvents"] if e["name"] == "process_name"]
    assert len(processes) == 1 and {e["pid"] for e in trace["traceEvents"]} == {processes[0]["pid"]}


def test_every_lane_has_a_name_and_a_place(trace: dict[str, Any]) -> None:
    assert list(lanes(trace)) == ["host", "kernels", "matrix", "vector", "memory"]
    order = {e["tid"]: e["args"]["sort_index"] for e in trace["traceEvents"] if e["name"] == "thread_sort_index"}
    assert {e["tid"] for e in trace["traceEvents"] if e["ph"] == "X"} <= set(order)
    assert len(set(order.values())) == 5


def test_a_lane_does_one_thing_at_a_time(trace: dict[str, Any]) -> None:
    for name, events in lanes(trace).items():
        for before, after in pairwise(events):
            assert ns(before)[1] <= ns(after)[0], f"{name}: {before['name']} and {after['name']}"


def test_kernels_and_waits_make_up_the_latency(trace: dict[str, Any], report: rf.Report) -> None:
    found = lanes(trace)
    kernels = found["kernels"]
    assert [e["name"] for e in kernels] == list(report.kernels["kernel"])
    assert ns(kernels[-1])[1] * NS == pytest.approx(report.latency_s, abs=2 * NS)
    busy_s = sum(e["dur"] for e in kernels) * 1e-6
    assert busy_s == pytest.approx(report.device_s, abs=len(kernels) * NS)
    dispatch_s = sum(e["dur"] for e in found["host"] if e["name"] != "program") * 1e-6
    assert dispatch_s == pytest.approx(report.host_s, abs=len(kernels) * NS)
    ends = [ns(e)[1] for lane in found.values() for e in lane]
    assert max(ends) * NS <= report.latency_s + 2 * NS


def test_engines_work_inside_their_kernel_as_long_as_they_need(trace: dict[str, Any], report: rf.Report) -> None:
    found = lanes(trace)
    spans = {e["name"]: ns(e) for e in found["kernels"]}
    for engine in ("matrix", "vector", "memory"):
        for event in found[engine]:
            start, end = ns(event)
            first, last = spans[event["name"]]
            assert first <= start < end <= last
        total_s = sum(e["dur"] for e in found[engine]) * 1e-6
        assert total_s == pytest.approx(report.kernels[f"{engine}_time_s"].sum(), abs=2 * NS * len(report.kernels))


def test_the_host_limits_one_run_and_not_the_other() -> None:
    """The cases above would not differ if no queue waited."""
    reports = {name: rf.simulate(m, d, runtime=r, batch=b) for name, (m, d, r, b) in RUNS.items()}
    assert reports["host"].host_s > reports["host"].device_s
    assert 0 < reports["device"].host_s < reports["device"].device_s
    assert reports["compiled"].host_s == 0


@pytest.mark.parametrize(("name", "is_trace"), [("trace.json", True), ("a.trace.json", True), ("mytrace.json", False)])
def test_the_name_of_the_file_decides(tmp_path: Path, name: str, is_trace: bool) -> None:
    assert main(["simulate", "resnet-18", "--device", "v100", "--output", str(tmp_path / name)]) == 0
    assert ("traceEvents" in json.loads((tmp_path / name).read_text())) == is_trace
