"""Tensors without elements: nothing is launched for them, or the program is refused; no number is ever none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from op_examples import EXAMPLES

import roofline as rf
from roofline.cli.app import main
from roofline.errors import InputError, RooflineError, ShapeError
from roofline.graph import indexing, movement, ops, resampling
from roofline.graph.empty import without_empty
from roofline.graph.load import from_dict
from roofline.graph.serial import as_dict

Build = Callable[[rf.GraphBuilder], list[Any]]

#: program -> (MACs, kernels in an eager runtime): what is empty in it costs nothing
COSTS_THE_REST: dict[str, tuple[Build, float, int]] = {
    "an empty past": (
        lambda b: [b.linear(b.concat([b.input("p", (2, 0, 8)), b.input("x", (2, 3, 8))], axis=1), 4, bias=False)],
        2 * 3 * 8 * 4,
        2,
    ),
    "the rest of a split": (
        lambda b: [b.concat([b.part(b.input("x", (4, 8)), 0, start=8), b.input("y", (4, 8))], axis=1)],
        0,
        1,
    ),
    "an empty branch": (
        lambda b: [b.relu(b.slice(x := b.input("x", (4, 8)), 0)), b.relu(x)],
        0,
        1,
    ),
    "a product over nothing": (
        lambda b: [b.add(b.linear(b.input("x", (4, 0)), 8), b.input("y", (4, 8)))],
        0,
        2,
    ),
    "attention over no keys": (
        lambda b: [
            b.add(
                b.attention(q := b.input("q", (2, 4, 8)), k := b.input("k", (2, 0, 8)), k, heads=2),
                q,
            )
        ],
        0,
        2,
    ),
    "a sum of nothing": (
        lambda b: [
            b.gate(
                b.input("x", (4, 8)),
                b.add_op("sum", ops.Reduce, b.input("e", (4, 0)), axes=(1,), function="sum"),
            )
        ],
        0,
        2,
    ),
    "an update with nothing": (
        lambda b: [b.relu(b.add_op("put", indexing.Update, b.input("x", (4, 8)), b.input("v", (0, 8))))],
        0,
        1,
    ),
    "a border around nothing": (
        lambda b: [
            b.add(
                b.add_op("pad", resampling.Pad, b.input("e", (4, 0)), before=(0, 1), after=(0, 1)), b.input("x", (4, 2))
            )
        ],
        0,
        2,
    ),
}
REFUSED: dict[str, Build] = {
    "no examples": lambda b: [b.linear(b.input("x", (0, 8)), 4)],
    "only empty results": lambda b: [b.relu(b.slice(b.input("x", (4, 8)), 0))],
    "a mean of nothing": lambda b: [b.gate(b.input("x", (4, 8)), b.mean(b.input("e", (4, 0)), (1,)))],
    "rows of an empty table": lambda b: [
        b.add_op("look", movement.Embedding, b.input("i", (4,)), b.parameter("t", 0, 8))
    ],
    "a pick from nothing": lambda b: [
        b.add_op("pick", indexing.Gather, b.input("x", (4, 0)), b.input("i", (3,)), shape=(3,))
    ],
}


def built(build: Build) -> rf.OpGraph:
    b = rf.GraphBuilder("program")
    return b.graph(build(b))


@pytest.mark.parametrize("name", COSTS_THE_REST)
def test_an_empty_op_costs_nothing(name: str) -> None:
    build, macs, kernels = COSTS_THE_REST[name]
    graph = built(build)
    assert graph.macs == without_empty(graph).macs == macs
    for device in ("v100", "tpu-v3"):
        report = rf.simulate(from_dict(as_dict(graph)), device)
        assert all(math.isfinite(x) for x in report.to_dict().values() if isinstance(x, float))
        assert report.kernels.select_dtypes("number").notna().all(axis=None)
    assert len(rf.simulate(graph, "v100").kernels) == kernels


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_defined_of_nothing_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = built(REFUSED[name])
    for device in ("v100", "tpu-v3"):
        with pytest.raises(ShapeError, match=r"of nothing there is no|nothing to run"):
            rf.simulate(graph, device)
    with pytest.raises(ShapeError):
        from_dict(as_dict(graph))
    graph.save(tmp_path / "graph.json")
    assert main(["simulate", str(tmp_path / "graph.json"), "--device", "v100", "--format", "csv"]) == 2
    out, error = capsys.readouterr()
    assert not out and error.startswith("error: ") and error.count("\n") == 1


def test_the_graph_itself_where_nothing_is_empty() -> None:
    graph = rf.op_graph("resnet-18")
    assert without_empty(graph) is graph


def test_a_sweep_says_which_network_has_nothing_to_run() -> None:
    good, bad = (built(COSTS_THE_REST["an empty past"][0]), built(REFUSED["no examples"]))
    rows = rf.sweep([good, bad], ["v100", "tpu-v3"], keep_errors=True)
    assert rows["latency_ms"].notna().tolist() == [True, True, False, False]
    assert rows["error"].fillna("").str.contains("nothing to run").tolist() == [False, False, True, True]


@pytest.mark.parametrize("wrong", [{"latency_s": math.nan}, {"macs": math.inf}, {"latency_s": 0.0}])
def test_no_report_without_a_finite_latency(wrong: dict[str, Any]) -> None:
    report = rf.simulate("resnet-18", "v100")
    with pytest.raises(InputError, match=r"no finite|nothing to time"):
        replace(report, **wrong)


def test_the_doors_agree() -> None:
    """The same programs in PyTorch and JAX: the same MACs, or both refuse."""
    torch, jnp = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    x, past, w = np.ones((4, 8), np.float32), np.ones((4, 0), np.float32), np.ones((8, 8), np.float32)
    programs: dict[str, tuple[Any, Any, tuple[Any, ...], float | None]] = {
        "concatenation": (
            lambda p, x, w: torch.cat([p, x[:, 8:], x], 1) @ w,
            lambda p, x, w: jnp.concatenate([p, x[:, 8:], x], 1) @ w,
            (past, x, w),
            4 * 8 * 8,
        ),
        "product": (
            lambda x, w: x @ w + x[:, 8:] @ w[8:],
            lambda x, w: x @ w + x[:, 8:] @ w[8:],
            (x, w),
            4 * 8 * 8,
        ),
        "sum": (lambda x: x * x[:, 8:].sum(), lambda x: x * x[:, 8:].sum(), (x,), 0),
        "mean": (lambda x: x * x[:, 8:].mean(), lambda x: x * x[:, 8:].mean(), (x,), None),
        "all": (lambda p: p + 1, lambda p: p + 1, (past,), None),
    }
    for in_torch, in_jax, given, macs in programs.values():
        tensors = tuple(map(torch.from_numpy, given))
        for lower in (partial(rf.from_torch, in_torch, tensors), partial(rf.from_jax, in_jax, *given)):
            if macs is None:
                with pytest.raises(RooflineError, match="nothing"):
                    lower()
            else:
                assert lower().macs == macs
                assert rf.simulate(lower(), "tpu-v3").latency_s > 0


def test_every_op_with_a_size_of_0_is_refused_or_costs_a_finite_time() -> None:
    found = 0
    for example in EXAMPLES.values():
        for i in range(len(example.sizes)):
            sizes = [0 if j == i else size for j, size in enumerate(example.sizes)]
            for device in ("v100", "tpu-v3"):
                try:
                    report = rf.simulate(example.graph(*sizes), device)
                except RooflineError:
                    continue
                assert report.kernels.select_dtypes("number").notna().all(axis=None)
                found += 1
    assert found, "a product over nothing is zeros"
