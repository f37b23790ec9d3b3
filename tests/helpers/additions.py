"""What is seen of everything that the pages add, in a copy of the project that has it all: ``additions.py FOLDER``.

The package is imported from the copy, so this is a program of its own; it prints what failed, by what was added.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import roofline as rf

CHECKS: dict[str, Callable[[], None]] = {}


def check(what: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Return what files a check under the words that the table of the page has for what is added."""

    def file(run: Callable[[], None]) -> Callable[[], None]:
        return CHECKS.setdefault(what, run)

    return file


def simulate(model: Any = "resnet-18", device: str = "b200", **options: Any) -> rf.Report:
    return rf.simulate(model, device, **options)


@check("a device")
def device() -> None:
    assert simulate(device="example-1").latency_s > 0 and "example-1" in rf.devices()


@check("a runtime")
def runtime() -> None:
    assert simulate(runtime="example").runtime == "example" and "example" in rf.runtimes()


@check("a kernel library")
def kernel_library() -> None:
    from roofline.software.libraries.load import libraries, library

    mine: Any = library("my_attention")
    assert "my_attention" in libraries() and mine.visit_s == 1.5e-6  # 1.5 us in the page's file
    assert mine.runs_on("tpu", None) and not mine.runs_on("gpu", 9.0)


@check("a constant of runtimes")
def constant() -> None:
    from dataclasses import replace

    eager: Any = rf.runtime("pytorch_eager")
    assert eager.warp_ops == 2.0
    fewer: Any = replace(eager, warp_ops=0.0)
    assert simulate(runtime=fewer, batch=256).latency_s < simulate(runtime=eager, batch=256).latency_s


@check("a number format")
def number_format() -> None:
    assert "w4a8" in rf.formats()
    wide, narrow = (simulate("gpt2", format=name) for name in (None, "w4a8"))
    blocks = 12 * 12 * 768**2  # weights of 12 layers: four products of attention, and two four times as wide
    scales = 12 * (768 // 128 * (3 + 1 + 4) * 768 + 4 * 768 // 128 * 768)
    assert wide.weight_bytes - narrow.weight_bytes == blocks * (2 - 0.5) - scales * 2
    assert narrow.warnings == ()


@check("a model")
def model() -> None:
    assert rf.model("my-net-l").image_size == 96
    assert simulate("my-net-s").params == 23_156  # as the page's file says that somebody counted


@check("a block")
def block() -> None:
    from roofline.arch.block import stage_class

    stages = (
        '{ name = "s", block = "separable", channels = 8 }, { name = "h", block = "head", channels = 8, classes = 2 }'
    )
    rest = '[sources]\nme = "by hand"\n[variants.toy]\nimage_size = 8\n'
    Path("toy.toml").write_text(f'family = "toy"\ntitle = "Toy"\nstages = [{stages}]\n{rest}')
    # 3 x 3 taps of 3 channels, 3 to 8 channels, 8 to 8 channels and 8 to 2 classes; biases and norms have none
    assert simulate("toy.toml").macs_per_example == 64 * (9 * 3 + 3 * 8) + 64 * 8 * 8 + 8 * 2
    assert stage_class("separable").__module__ == "roofline.arch.blocks.separable"


@check("an op")
def op() -> None:
    hadamard = importlib.import_module("hadamard")
    b = rf.GraphBuilder("spectrum")
    graph = b.graph([b.add_op("hadamard", hadamard.Hadamard, b.input("signal", (8, 4096)))])
    assert simulate(graph).vector_ops == 8 * 4096 * 12


@check("a pass")
def copies() -> None:
    from roofline.engine.setting import resolve
    from roofline.passes.pipeline import lower

    b = rf.GraphBuilder("copied")
    graph = b.graph([b.relu(b.elementwise("identity", b.input("x", (8, 4096))))])
    assert [op.kind for op in lower(graph, resolve("b200").policy)[0].ops.values()] == ["elementwise"]


@check("a search space")
def space() -> None:
    assert "mine" in rf.search_spaces()
    oracle = rf.Oracle("mine", "b200")
    genomes = oracle.space.sample(2)
    expected = [simulate(oracle.space.decode(genome)).latency_s for genome in genomes]
    assert list(oracle.latency_s(genomes)[:, 0]) == expected


@check("an option of a run")
def option() -> None:
    from typer.testing import CliRunner

    from roofline.cli.app import app
    from roofline.cluster.plan import Plan
    from roofline.serve.schemas import Simulation
    from roofline.serve.service import Service

    fused, apart = (simulate(runtime="xla_gpu", unfused=unfused) for unfused in (False, True))
    assert apart.traffic_bytes > fused.traffic_bytes and apart.macs == fused.macs
    for verb in ("simulate", "compare", "gap", "migrate", "sensitivity", "advise"):
        assert "--unfused" in CliRunner().invoke(app, [verb, "--help"], terminal_width=200, color=False).output, verb
    more: Any = {"runtime": "xla_gpu", "unfused": True}
    answer = Service().simulate(Simulation(device="b200", model="resnet-18", **more))
    assert answer["traffic_bytes"] == apart.traffic_bytes
    assert list(rf.compare(["resnet-18"], ["b200"], **more)["traffic_bytes"]) == [apart.traffic_bytes]
    assert rf.Request(model="resnet-18", device="b200", **more) != rf.Request(model="resnet-18", device="b200")
    assert "unfused" in Plan.model_fields


@check("a dtype")
def dtype() -> None:
    four, eight = (simulate(dtype=name, batch=256) for name in ("fp4", "fp8"))
    assert 2 * four.weight_bytes == eight.weight_bytes and four.latency_s < eight.latency_s
    assert four.peak_flops_per_s == 9000e12


@check("an engine")
def engine() -> None:
    report = simulate()
    assert "scalar" in report.bound_shares and report.kernels["scalar_time_s"].min() >= 1e-7
    terms = report.waterfall().set_index("term")["time_s"]
    assert terms["addresses"] > 0 and abs(terms.sum() - report.latency_s) < 1e-12
    for name in ("roofline.png", "report.html", "trace.json"):
        report.save(name)
    assert all("scalar" in Path(name).read_text(encoding="utf-8") for name in ("report.html", "trace.json"))


@check("a format of measurements")
def measurements() -> None:
    from roofline.calibration.measured import load

    Path("ours.csv").write_text("network,chip,examples,median_us\nresnet-18,b200,8,700\nresnet-18,b200,16,\n")
    found = load("ours.csv")
    assert (found.format, found.measurements[0].latency_s, len(found.rejected)) == ("laboratory", 700e-6, 1)


@check("a file format of reports")
def table() -> None:
    simulate().save("kernels.tsv")
    assert "\t" in Path("kernels.tsv").read_text()


def main() -> None:
    failed: dict[str, str | None] = {}
    assert Path(rf.__file__).is_relative_to(Path(sys.argv[1])), rf.__file__
    for what, run in CHECKS.items():
        try:
            run()
            failed[what] = None
        except Exception:
            failed[what] = traceback.format_exc()
    print(json.dumps(failed))


if __name__ == "__main__":
    main()
