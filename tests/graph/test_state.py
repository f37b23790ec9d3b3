"""What a program keeps from run to run: a role of its own, memory that is there once, bytes that come from far away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import roofline as rf
from roofline.dtypes import DTYPES
from roofline.errors import RooflineError
from roofline.graph.indexing import Update
from roofline.graph.load import from_dict
from roofline.graph.serial import as_dict
from roofline.graph.state import with_state

B, T, C = 8, 1024, 64
CACHE = 4 * B * T * C  # fp32


def decoder(*, in_place: bool, batch: int = B) -> rf.OpGraph:
    """One new token per example; keys are written into a buffer, or come as an input and go longer."""
    b = rf.GraphBuilder("decode")
    x = b.input("x", (batch, 1, C))
    if in_place:
        cache = b.tensor("cache", (batch, T, C), "buffer")
        keys = b.add_op("put", Update, cache, x, into=(cache.id,))
    else:
        cache = b.input("cache", (batch, T - 1, C))
        keys = b.concat([cache, x], axis=1)
    read = b.attention(x, keys, keys, heads=4)
    return with_state(b.graph([read] if in_place else [read, keys]))


@pytest.mark.parametrize("in_place", [True, False])
def test_a_cache_is_no_weight(in_place: bool) -> None:
    graph = decoder(in_place=in_place)
    assert graph.tensors["cache"].role == "cache"
    assert graph.inputs == ("x",) and graph.examples == B
    report = rf.simulate(graph, "v100", dtype="fp32")
    entering = CACHE if in_place else CACHE // T * (T - 1)
    assert report.cache_bytes == entering and report.weight_bytes == 0
    made = 0 if in_place else CACHE  # a concatenation is a second buffer
    assert report.peak_memory_bytes == entering + made + 4 * B * C * (2 if in_place else 1)
    assert sum(report.memory_bytes.values()) == report.peak_memory_bytes
    assert report.to_dict()["cache_bytes"] == entering


def test_what_is_read_of_the_last_run_comes_from_main_memory() -> None:
    report = rf.simulate(decoder(in_place=True), "v100", dtype="fp32")
    kernels = report.kernels.set_index("kernel")
    assert kernels.state_traffic_bytes.to_dict() == {"put": 0, "attention": CACHE}
    assert kernels.weight_traffic_bytes.sum() == 0
    wide = report.device_spec.main_memory.bandwidth_bytes_per_s
    assert kernels.memory_time_s["attention"] > CACHE / wide, "the second-level cache would be faster"


def test_state_grows_with_the_batch_where_an_op_needs_it() -> None:
    for in_place in (True, False):
        grown, built = decoder(in_place=in_place).with_batch(4 * B), decoder(in_place=in_place, batch=4 * B)
        assert {t: v.shape for t, v in grown.tensors.items()} == {t: v.shape for t, v in built.tensors.items()}
        assert grown.macs == built.macs


def test_an_input_stays_one_where_the_examples_would_change() -> None:
    b = rf.GraphBuilder("skip")
    x, t = b.input("x", (8, 16, C)), b.input("t", (1,))
    y = b.concat([x, b.gate(b.relu(b.input("z", (8, 1, C))), t)], axis=1)
    assert with_state(b.graph([b.relu(y), y])).tensors["x"].role == "state", "the examples are those of z"
    b = rf.GraphBuilder("skip")
    x, t = b.input("x", (8, 16, C)), b.input("t", (1,))
    y = b.concat([x, b.expand(b.reshape(t, (1, 1, 1)), (8, 1, C))], axis=1)
    graph = with_state(b.graph([b.relu(y), y]))
    assert graph.tensors["x"].role == "input" and graph.examples == 8


def test_what_is_returned_longer_but_read_by_nobody_is_no_state() -> None:
    b = rf.GraphBuilder("coordinates")
    x, z = b.input("x", (8, 16, C)), b.input("z", (8, 1, C))
    assert with_state(b.graph([b.concat([x, b.relu(z)], axis=1)])).tensors["x"].role == "input"


def chain(*, in_place: bool) -> rf.OpGraph:
    """Linear, relu, add: 8 x 4096 elements each."""
    b = rf.GraphBuilder("chain")
    y = b.linear(b.input("x", (8, 64)), 4096, bias=False)
    made = b.elementwise("relu", y)
    graph = b.graph([b.elementwise("exp", made)])
    if not in_place:
        return graph
    ops = {name: replace(op, into=(op.inputs[0],)) if name != "linear" else op for name, op in graph.ops.items()}
    return rf.OpGraph(ops, graph.tensors, graph.outputs, graph.name)


@pytest.mark.parametrize(("device", "runtime"), [("v100", "pytorch_eager"), ("v100", "tensorrt"), ("tpu-v3", None)])
def test_writing_in_place_saves_memory_and_no_time(device: str, runtime: str | None) -> None:
    plain, over = (
        rf.simulate(chain(in_place=x), device, runtime=runtime, dtype="fp32" if device == "v100" else None)
        for x in (False, True)
    )
    assert plain.latency_s == over.latency_s
    if runtime == "pytorch_eager":
        assert plain.memory_bytes["activations"] == 2 * 4 * 8 * 4096
        assert over.memory_bytes["activations"] == 4 * 8 * (4096 + 64), "one buffer, and the input of the product"


def test_weights_are_written_over_only_where_the_program_says_so() -> None:
    b = rf.GraphBuilder("update")
    target, values = b.parameter("w", 1000), b.input("x", (10,))
    implicit, explicit = (b.add_op("put", Update, target, values, into=into) for into in ((), (target.id,)))
    graph = b.graph([implicit, explicit])
    assert graph.memory(implicit.id) == implicit.id and graph.memory(explicit.id) == "w"


def test_state_and_memory_survive_a_file(tmp_path: Path) -> None:
    graph = decoder(in_place=True)
    graph.save(tmp_path / "graph.json")
    again = rf.load_graph(tmp_path / "graph.json")
    assert as_dict(again) == as_dict(graph) and again.tensors["cache"].role == "cache"
    assert again.memory("put:0") == "cache"
    assert rf.simulate(again, "h100-sxm").to_dict() == rf.simulate(graph, "h100-sxm").to_dict()


@pytest.mark.parametrize("into", ["nobody", "x"])
def test_a_file_cannot_hide_memory(into: str) -> None:
    content = as_dict(decoder(in_place=True))
    content["ops"][0]["into"] = [into]
    with pytest.raises(RooflineError, match="no tensor of that size"):
        from_dict(content)


def test_the_page_and_the_summary_tell_of_it(tmp_path: Path) -> None:
    report = rf.simulate(decoder(in_place=True), "v100", dtype="fp32")
    page = report.save(tmp_path / "report.html").read_text()
    assert "Caches and state" in page
    assert "Caches and state" not in rf.simulate(chain(in_place=True), "v100").save(tmp_path / "b.html").read_text()


def test_an_optimizer_updates_in_place() -> None:
    b = rf.GraphBuilder("layer")
    graph = b.graph([b.linear(b.input("x", (1, 1024), DTYPES["fp32"]), 1024, bias=False)])
    run = rf.simulate(graph, "v100", dtype="fp32", mode="training", optimizer="adam")
    weights = 4 * 1024 * 1024
    assert run.weight_bytes == weights and run.state_bytes == 3 * weights, "a gradient and two moments"
    assert run.memory_bytes["activations"] < 0.01 * weights, "neither weights nor moments are there twice"
