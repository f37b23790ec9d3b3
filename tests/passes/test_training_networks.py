"""Every network trains: counts against its forward graph, blocks against whole graphs, the page, bad input."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
import pytest
from families import SAMPLE, whole
from pages import blocks
from places import ROOT
from training_steps import TRAINING_RUNTIMES, macs, step, traffic, training

import roofline as rf
from roofline.arch.load import model
from roofline.cli import main
from roofline.engine.lowering import lower_arch
from roofline.engine.options import RunOptions
from roofline.errors import InputError
from roofline.graph.builder import GraphBuilder
from roofline.passes.pipeline import program
from roofline.software.load import runtime

# every network -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLE)
def test_every_family_multiplies_three_times_less_the_first_layer(name: str) -> None:
    """By the forward graph alone: twice each product for the gradients of two operands that vary, else once."""
    graph = whole(name)
    run = step(graph, "tensorflow")
    forward = run.phases[0].graph
    expected = 0.0
    varying = {t.id for t in forward.tensors.values() if t.role == "parameter"}
    for op in forward.ops.values():
        products = sum(float(c.macs) for c in op.contractions(*forward.arguments(op)))
        expected += products * sum(t in varying for t in op.inputs[:2])
        if any(t in varying for t in op.inputs):
            varying.update(op.outputs)
    assert macs(run.phases[1]) == pytest.approx(expected, rel=1e-12)
    gradients = {op.inputs[-1] for op in run.phases[2].graph.ops.values()}
    assert len(gradients) == sum(t.role == "parameter" for t in forward.tensors.values())
    run.phases[1].graph.check_shapes()


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("runtime_name", TRAINING_RUNTIMES)
def test_blocks_and_the_whole_graph_train_alike(name: str, runtime_name: str) -> None:
    """Kernel by kernel where nothing fuses; else a whole graph may fuse across a cut, which blocks leave as it is."""
    rules = training(runtime_name, "fp16")
    run = program(whole(name), rules)
    found = lower_arch(model(name), 1, rules)
    k, count = found.table.kernels, found.table.block_count

    def total(column: Any) -> float:
        return float(np.bincount(k.block, weights=column, minlength=count)[found.order].sum())

    updates = len(found.order) - np.sum(found.table.blocks.params[found.order] == 0)  # a kernel for each block
    kernels = total(np.ones_like(k.macs)) - updates
    whole_kernels, whole_traffic = (
        sum(f(phase) for phase in run.phases[:2]) for f in (lambda p: len(p.kernels), traffic)
    )
    assert total(k.macs) == pytest.approx(sum(macs(p) for p in run.phases), rel=1e-12)
    blocks_traffic = total(k.traffic_bytes) - traffic(run.phases[2])
    if rules.epilogue:
        assert kernels == pytest.approx(whole_kernels, rel=0.10)
        assert blocks_traffic == pytest.approx(whole_traffic, rel=0.08)
    else:
        assert kernels == whole_kernels
        assert blocks_traffic == pytest.approx(whole_traffic, rel=1e-12)


@pytest.mark.parametrize("runtime_name", TRAINING_RUNTIMES)
def test_every_family_trains_under_every_runtime(runtime_name: str) -> None:
    device = "tpu-v3" if "tpu" in runtime(runtime_name).device_kinds else "a100-80gb"
    common = {"device": device, "runtime": runtime_name, "batch": 8}
    requests = [{"model": name, "mode": m, **common} for name in SAMPLE for m in ("inference", "training")]
    reports = rf.simulate_many(requests)
    for inference, trained in zip(reports[::2], reports[1::2], strict=True):
        assert (trained.mode, trained.optimizer) == ("training", "adam")
        assert 2 * inference.macs < trained.macs < 3.5 * inference.macs
        assert np.isfinite(trained.latency_s) and trained.latency_s > 2 * (inference.latency_s - inference.program_s)
        assert trained.state_bytes == pytest.approx(3 * inference.params * 2)  # gradient and two moments, 2 bytes each


def test_one_and_many_agree() -> None:
    options: RunOptions = {"mode": "training", "optimizer": "momentum"}
    names = ("efficientnet-b0", "vit-ti-16")
    many = rf.simulate_many([{"model": name, "device": "tpu-v4i", **options} for name in names])
    assert [rf.simulate(name, "tpu-v4i", **options).latency_s for name in names] == [r.latency_s for r in many]


def test_what_was_saved_is_never_found_on_chip() -> None:
    b = GraphBuilder()
    graph = b.graph([b.relu(b.linear(b.input("x", (4, 8)), 8))])
    backward = step(graph).phases[1]
    distances = {a.tensor.id: a.distance_bytes for k in backward.kernels for a in k.accesses if a.role == "read"}
    assert distances["relu:0"] == distances["x"] == np.inf
    assert distances["relu:0.dy"] < np.inf


# bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "trainin"}, "unknown mode 'trainin'; nearest: 'training'"),
        ({"mode": "training", "optimizer": "adan"}, "unknown optimizer 'adan'; nearest: 'adam'"),
        ({"optimizer": "adam"}, "optimizer is for mode 'training', not 'inference'"),
        ({"recompute": True, "mode": "forward_saving"}, "recompute is for mode 'training', not 'forward_saving'"),
        ({"mode": "training", "dtype": "int8"}, "no training in 'int8': weights and gradients need fp32, bf16, fp16"),
        ({"mode": "training", "runtime": "tensorrt"}, "runtime 'tensorrt' does not train: it folds batch norms"),
        ({"mode": "training", "runtime": "vllm"}, "runtime 'vllm' does not train: it serves"),
    ],
)
def test_bad_input(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rf.simulate("resnet-50", "a100-40gb", **options)


def test_a_graph_without_parameters_is_not_trained() -> None:
    b = GraphBuilder("pure")
    graph = b.graph([b.relu(b.input("x", (4, 8)))])
    with pytest.raises(InputError, match="pure: no parameters, so nothing to train"):
        rf.simulate(graph, "a100-40gb", mode="training")


# command line and page -----------------------------------------------------------------------------------------------


def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = ROOT / "docs" / "training.md"
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec"), {})
    assert "recomputing: 1." in capsys.readouterr().out
    for line in "".join(blocks(page, "sh")).splitlines():
        assert main(shlex.split(line)[1:]) == 0
        assert "training with adam, recomputing" in " ".join(capsys.readouterr().out.split())


def test_bad_input_of_the_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "resnet-50", "--device", "v100", "--recompute"]) == 2
    assert capsys.readouterr().err == "error: recompute is for mode 'training', not 'inference'\n"
