"""Predictions beside compiled programs: what matches, who fuses what, and the figures of both sides."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from xla_wheel import needs_wheel

import roofline as rf
from roofline.errors import InputError
from roofline.graph.builder import GraphBuilder
from roofline.studies import witness as asking
from roofline.studies.beside import Compared, Witness
from roofline.studies.matched import Group, Pair, groups, pairs, places_of
from roofline.xla.compile import Compiled
from roofline.xla.kernels import CompiledKernel
from roofline.xla.programs import Exported
from roofline.xla.targets import target_of


def kernel(name: str, cycles: float, *ops: str, serves: tuple[str, ...] = ()) -> CompiledKernel:
    return CompiledKernel(
        name=name, opcode="fusion", emitter="", cycles=cycles, ops=ops, named=(*ops, *serves), layout="{0}", space=0
    )


def graph() -> rf.OpGraph:
    """Return conv -> swish -> mean -> linear, where the swish is also added to what the convolution gives."""
    b = GraphBuilder("tiny")
    x = b.input("image", (2, 8, 8, 16))
    y = b.conv(x, 16, kernel=1)
    z = b.activation("swish", y)
    mean = b.reshape(b.mean(z, (1, 2)), (2, 16))
    return b.graph([b.linear(mean, 10, bias=False), b.add(y, z)])


MEMBERS = (("conv", "swish"), ("mean",), ("linear",), ("add",))
COMPILED = (
    kernel("copy.1", 100.0),
    kernel("fusion.1", 50.0, "conv", "swish", "mean"),
    kernel("copy.2", 5.0, serves=("swish",)),
    kernel("fusion.2", 20.0, "linear", serves=("mean",)),
    kernel("fusion.3", 10.0, "swish", "add"),
    kernel("copy-start", 0.0),
)


def test_places_go_by_what_passes_called_their_parts() -> None:
    members = [("attn/attention/scores", "attn/attention/softmax"), ("attn/attention/context", "fc.cast"), ("(new)",)]
    assert places_of(members, {"attn", "attn/attention", "fc"}) == {"attn/attention": (0, 1), "fc": (1,)}


def test_kernels_match_by_the_ops_that_they_hold() -> None:
    found = groups(places_of(MEMBERS, graph().ops), len(MEMBERS), COMPILED)
    assert found == [
        Group(ours=(0, 1), compiled=(1, 2)),  # the copy serves the swish
        Group(ours=(2,), compiled=(3,)),
        Group(ours=(3,), compiled=(4,)),  # the swish that is computed again joins nothing
        Group(ours=(), compiled=(0,)),  # the image as it comes in
    ]


def test_neighbours_are_pairs_through_views_and_agree_or_not() -> None:
    found = pairs(graph(), places_of(MEMBERS, graph().ops), COMPILED)
    assert {(pair.producer, pair.consumer): (pair.ours, pair.compiled) for pair in found} == {
        ("conv", "swish"): (True, True),
        ("conv", "add"): (False, False),
        ("swish", "mean"): (False, True),
        ("swish", "add"): (False, True),  # recomputed there: one kernel holds both
        ("mean", "linear"): (False, False),  # seen through the reshape
    }
    assert [pair.agree for pair in found] == [pair.ours == pair.compiled for pair in found]
    without = [replace(COMPILED[1], ops=("conv", "swish")), *COMPILED[2:]]
    assert ("swish", "mean") not in {
        (p.producer, p.consumer) for p in pairs(graph(), places_of(MEMBERS, graph().ops), without)
    }


def compared(device: str, times_s: tuple[float, ...], compiled: tuple[CompiledKernel, ...] = COMPILED) -> Compared:
    """Return a run whose four kernels take these times."""
    import pandas as pd

    frame = pd.DataFrame({"kernel": [ops[0] for ops in MEMBERS], "time_s": times_s})
    spec = rf.device(device)
    report: Any = SimpleNamespace(model="tiny", device=device, batch=2, dtype="bf16", kernels=frame, device_spec=spec)
    return Compared(
        report=report, graph=graph(), members=MEMBERS, compiled=compiled, examples=2, target=target_of(spec)
    )


def test_the_figures_of_a_run() -> None:
    run = compared("tpu-v5e", (20e-9, 10e-9, 10e-9, 5e-9))  # 1.5 GHz: 30 + 15, 15, 7.5 cycles
    found = run.summary()
    assert found["compiled_kernels"] == 5
    assert found["predicted_ms"] == pytest.approx(45e-6)
    assert found["compiled_ms"] == pytest.approx(185 / 1.5e9 * 1e3)
    assert found["unmatched_share"] == pytest.approx(100 / 185)
    assert found["ratio"] == pytest.approx(67.5 / 85)  # of what matches: 55, 20, 10 cycles
    assert found["spearman"] == 1.0
    assert (found["pairs"], found["same_share"]) == (5, 3 / 5)
    swapped = compared("tpu-v5e", (20e-9, 10e-9, 5e-9, 10e-9)).summary()
    assert swapped["spearman"] == pytest.approx(0.5)  # two of three ranks exchanged: 1 - 6 * 2 / 24


def test_one_factor_per_device() -> None:
    slow, fast = (compared("tpu-v5e", tuple(np.array([20, 10, 10, 5]) * f * 1e-9)) for f in (1.0, 1.5))
    other = compared("tpu-v2", (20e-9, 10e-9, 10e-9, 5e-9))
    found = Witness(runs=(slow, fast, other), versions={"jax": "1", "libtpu": "2"})
    of = found.devices.set_index("device")
    assert list(found.summary["factor_error"]) == pytest.approx([-0.2, 0.2, 0.0])  # 1 and 1.5 about their median 1.25
    assert of.loc["tpu-v5e", "median_error"] == pytest.approx(0.2)
    assert of.loc["tpu-v2", "runs"] == 1 and of.loc["tpu-v2", "worst_error"] == 0
    assert found.source == "compiled ahead of time with libtpu 2 and jax 1"


def test_the_tables() -> None:
    found = Witness(runs=(compared("tpu-v5e", (20e-9, 10e-9, 10e-9, 5e-9)),), versions={})
    first, *_, last = found.table.to_dict("records")
    assert (first["kernels"], first["compiled_kernels"], first["ops"]) == (
        "conv | mean",
        "fusion.1 | copy.2",
        "conv + swish + mean",
    )
    assert (first["cycles"], first["compiled_cycles"]) == (pytest.approx(45), pytest.approx(55))
    assert (last["kernels"], last["compiled_kernels"], last["cycles"], last["ratio"]) == ("", "copy.1", 0, 0)
    assert list(found.kernels["kernel"]) == ["copy.1", "fusion.1", "copy.2", "fusion.2", "fusion.3"]
    assert list(found.pairs["kinds"]) == [
        "conv -> swish",
        "conv -> add",
        "swish -> mean",
        "swish -> add",
        "mean -> matmul",
    ]
    assert "tiny" in repr(found)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Let every program be compiled to a kernel for each op; return what was asked for, by program and chip."""
    asked: list[tuple[str, str]] = []
    lines = [
        f'  %op.{i} = f32[8]{{0}} add(), metadata={{op_name="jit(f)/{op}/add"}}, {{"estimated_cycles":"70"}}'
        for i, op in enumerate(rf.op_graph("efficientnet-b0").ops)
    ]
    text = "\n".join(["ENTRY %main (x: f32[8]) -> f32[8] {", *lines, "}"])

    def answer(program: Exported, target: Any, cache: Any) -> Compiled:
        asked.append((program.key, target.topology))
        if target.topology.startswith("v3"):
            raise InputError("the compiler refuses the program for 'v3:1x1': too large")
        return Compiled(text=text, memory={}, seconds=1.0)

    monkeypatch.setattr(asking, "versions", lambda: {"jax": "1", "libtpu": "2"})
    monkeypatch.setattr(asking, "exported", lambda function, specs: Exported(content=b"", key=str(specs[1].shape)))
    monkeypatch.setattr(asking, "compiled", answer)
    return asked


@pytest.mark.usefixtures("no_compiler")
def test_a_network_is_compiled_for_what_one_program_of_a_chip_runs(no_compiler: list[tuple[str, str]]) -> None:
    pytest.importorskip("jax")
    told: list[tuple[int, int, str]] = []
    found = rf.witness(
        "efficientnet-b0", ["tpu-v2", "tpu-v5e"], batch=[8, 1], progress=lambda *what: told.append(what), cache=None
    )
    images = [("(4, 224, 224, 3)", "v2:1x1"), ("(1, 224, 224, 3)", "v2:1x1")]
    images += [("(8, 224, 224, 3)", "v5e:1x1"), ("(1, 224, 224, 3)", "v5e:1x1")]
    assert no_compiler == images
    assert told[1] == (1, 4, "efficientnet-b0 on tpu-v2 at batch 1") and told[-1] == (4, 4, "")
    first = found.runs[0]
    assert first.report.latency_s == rf.simulate("efficientnet-b0", "tpu-v2", batch=8).latency_s
    assert len(first.compiled) == len(first.graph.ops) == 238
    assert found.summary["compiled_ms"].iloc[0] == pytest.approx(238 * 70 / 700e6 * 1e3)
    assert not found.pairs["compiled"].any() and found.pairs["predicted"].any()


@pytest.mark.usefixtures("no_compiler")
def test_what_is_refused_is_missing_among_many_and_an_error_alone() -> None:
    pytest.importorskip("jax")
    found = rf.witness("efficientnet-b0", ["tpu-v3", "tpu-v5e"])
    assert found.refused == (
        ("efficientnet-b0", "tpu-v3", 1, "the compiler refuses the program for 'v3:1x1': too large"),
    )
    assert list(found.summary["device"]) == ["tpu-v5e"]
    for devices in ("tpu-v3", ["tpu-v3"]):
        with pytest.raises(InputError, match="too large"):
            rf.witness("efficientnet-b0", devices)


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": ["tpu-v5e", "v100"]}, "'v100' is a GPU"),
        ({"devices": []}, "give at least one model"),
        ({"dtype": "int8"}, "programs are written in bf16, fp32, fp16, not 'int8'"),
        ({"inputs": [1]}, "inputs belong to a function"),
        ({"models": lambda x: x}, "a function needs inputs"),
        ({"models": "efficientnet-b99"}, "unknown model"),
        ({"batch": 0}, "batch"),
    ],
)
def test_bad_input(options: dict[str, Any], message: str) -> None:
    pytest.importorskip("jax")
    asked: dict[str, Any] = {"models": "efficientnet-b0", "devices": "tpu-v5e"} | options
    with pytest.raises(rf.RooflineError, match=message):
        rf.witness(**asked)


def test_pairs_know_whether_sides_agree() -> None:
    assert Pair(producer="a", consumer="b", ours=False, compiled=False).agree
    assert not Pair(producer="a", consumer="b", ours=True, compiled=False).agree


@needs_wheel
def test_a_function_of_ones_own() -> None:
    jax = pytest.importorskip("jax")

    def block(p: Any, x: Any) -> Any:
        return x + jax.nn.silu(x @ p["up"]) @ p["down"]

    up, down, x = (jax.ShapeDtypeStruct(s, "bfloat16") for s in ((256, 1024), (1024, 256), (512, 256)))
    found = rf.witness(block, "tpu-v5e", inputs=({"up": up, "down": down}, x))
    (row,) = found.summary.to_dict("records")
    assert (row["model"], row["dtype"], row["batch"]) == ("block", "bf16", 512)
    assert row["compiled_ms"] > 1e3 * 2 * 512 * 256 * 1024 * 2 / 197e12 * 0.5  # products alone, at twice the peak
    held = {op for kernel in found.runs[0].compiled for op in kernel.ops}
    assert held == set(found.runs[0].graph.ops)  # each op of ours was found in XLA's program
    assert math.isfinite(row["ratio"])
