"""From nothing to predictions of networks that nobody measured: the whole path, on the processor at hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import roofline as rf
from roofline.calibration.constants import fitted_constants
from roofline.calibration.draft import Best, Rate, base_runtime, draft_device
from roofline.calibration.fit import Fit, FlatDirection
from roofline.calibration.own_device import OWN_GPU, TOLD_BY, calibrate_folder, next_measurements, read_rows
from roofline.calibration.validate import validate
from roofline.cli.app import main
from roofline.errors import InputError
from roofline.graph.builder import GraphBuilder
from roofline.measure.facts import Facts
from roofline.measure.store import LEFT_OUT, NETWORKS, OPS, Folder, Row
from roofline.software.spec import Runtime


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that was measured briefly on one core, and calibrated."""
    pytest.importorskip("torch")
    pytest.importorskip("scipy")
    found = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("roofline.measure.run.OP_S", 0.01)
        patch.setattr("roofline.measure.run.NETWORK_S", 0.05)
        patch.setattr("roofline.measure.watch.PAUSE_S", 0.0)
        patch.setattr("roofline.measure.timing.FEWEST", 3)
        patch.setattr("roofline.measure.plan.BATCHES", {"cpu": (1,)})
        assert main(["measure", "--plan", "small", "--threads", "1", "--output", str(found)]) == 0
        assert main(["calibrate", str(found)]) == 0
    return found


def test_the_folder_says_how_far_to_trust_it(folder: Path) -> None:
    result = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    fit = result["runtimes"]["pytorch_eager_cpu"]
    assert {h["by"] for h in fit["held_out"]} == {"family"} and len(fit["held_out"]) >= 10
    assert len(fit["constants"]) <= 10 and all(c["low"] <= c["after"] <= c["high"] * 1.001 for c in fit["constants"])
    assert (folder / "calibration.png").stat().st_size > 10_000
    measured = {row["case"] for row in [*read_rows(folder, OPS), *read_rows(folder, NETWORKS)]}
    assert len(measured) == fit["datasets"]["ops.csv"] + fit["datasets"]["networks.csv"]


def test_the_drafted_files_simulate_any_network(folder: Path) -> None:
    (device,) = (path for path in folder.glob("*.toml") if path.name != "pytorch_eager_cpu.toml")
    report = rf.simulate("resnet-18", device, batch=2)
    assert report.runtime == "pytorch_eager_cpu" and report.dtype == "fp32"
    assert report.achieved_flops_per_s < report.peak_flops_per_s
    for record in rf.device(device).quantities:
        assert record.source in ("driver", "measured") or record.estimate  # nothing claims to be published


def test_networks_that_took_no_part_are_predicted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("resnet50", "mobilenetv2_100", "vit_small_patch16_224")
    from roofline.measure import timm_networks

    try:
        timm_networks.import_timm()
    except InputError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(timm_networks.left_out, "__kwdefaults__", {"names": names, "pixels": 96})
    monkeypatch.setattr("roofline.measure.run.NETWORK_S", 0.05)
    assert main(["measure", "--check", "--plan", "small", "--threads", "1", "--output", str(folder)]) == 0
    (line,) = re.findall(r"6 runs: median error ([\d.]+) %, Kendall tau ([\d.]+)", capsys.readouterr().out)
    assert float(line[0]) < 60 and float(line[1]) > 0.5  # of a calibration of seconds, on a machine that is not quiet
    assert {row["family"] for row in read_rows(folder, LEFT_OUT)} == set(names)
    result = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    assert LEFT_OUT not in result["runtimes"]["pytorch_eager_cpu"]["datasets"]


def test_a_folder_that_is_calibrated_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(folder)]) == 2
    assert "is calibrated: give --force to fit it again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runtime", "pytorch_eager"], "--runtime does not go with a folder"),
        (["--own"], "--own does not go with a folder"),
        ([], "is no folder of measurements: it has no facts.json"),
    ],
)
def test_a_folder_says_what_it_lacks(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err


def test_files_need_a_runtime(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(tmp_path / "rows.csv")]) == 2
    assert "name the runtime to fit with --runtime" in capsys.readouterr().err


# a device that has a file -------------------------------------------------------------------------------------------


def test_constants_of_a_shipped_device_are_found_again(tmp_path: Path) -> None:
    """Rows that are simulated with other constants than the shipped ones give those constants back."""
    pytest.importorskip("scipy")
    truth = {"matrix_fraction": 0.62}
    other = replace(rf.runtime("pytorch_eager"), name="other", **truth)  # type: ignore[arg-type]
    place = Folder(tmp_path)
    place.claim(Facts(name="Tesla V100", kind="gpu", backend="torch", vendor="nvidia", software="", known_as="v100"))
    sizes = [64 * i for i in range(1, 25)]
    for number, size in enumerate([*sizes, *sizes]):
        whole = number >= len(sizes)
        b = GraphBuilder(f"case-{number}")
        x = b.linear(b.input("x", (8, size, 2048)), 2048)
        graph = b.graph([b.relu(x)] if whole else [x])
        report = rf.simulate(graph, "v100", runtime=other, dtype="fp16", layout="nchw")
        row = Row(
            case=f"{number}", family=f"{number % 3}", whole=int(whole), device="v100", runtime="pytorch_eager",
            dtype="fp16", layout="nchw", batch=8, graph=place.add_graph(graph, graph.name), spread=0.0, samples=5,
            outliers=0, clock="event", latency_us=1e6 * (report.latency_s if whole else report.device_s),
        )  # fmt: skip
        place.add(NETWORKS if whole else OPS, row)
    found = calibrate_folder(tmp_path, names=list(truth))
    (path, fit) = found.runtimes["pytorch_eager"]
    assert found.device == "v100" and not found.drafted and path.name == "pytorch_eager_own.toml"
    assert fit.fit.values == pytest.approx(truth, rel=0.02)
    assert {h.agreement.median < 0.02 for h in fit.held_out} == {True}
    own = rf.runtime(path)
    assert own.name == "pytorch_eager_own" and own.matrix_fraction == pytest.approx(0.62, rel=0.05)
    (comparison,) = validate([tmp_path / NETWORKS]).comparisons  # under the fitted file, not the shipped one
    assert comparison.agreement().median < 0.02


# drafts --------------------------------------------------------------------------------------------------------------

GPU = Facts(
    name="NVIDIA Toy 100", kind="gpu", backend="torch", vendor="nvidia", software="torch", units=100, clock_hz=1.5e9,
    memory_bytes=32 * 2.0**30, bandwidth_bytes_per_s=1e12, l2_bytes=40 * 2.0**20, shared_bytes_per_unit=100 * 2.0**10,
    compute_capability="8.0",
)  # fmt: skip
BEST = Best(
    flops_per_s={"fp16": Rate(value=150e12, case="matmul"), "fp32": Rate(value=18e12, case="matmul")},
    transcendentals_per_s=Rate(value=1e12, case="silu"),
    streams=[(8e6, Rate(value=3e12, case="small")), (4e9, Rate(value=0.9e12, case="large"))],
)


def draft(tmp_path: Path, facts: Facts) -> Path:
    import datetime

    path = tmp_path / f"{facts.slug}.toml"
    path.write_text(draft_device(facts, BEST, "pytorch_eager", datetime.date(2026, 1, 1)), encoding="utf-8")
    return path


def test_a_gpu_that_no_file_describes_is_drafted(tmp_path: Path) -> None:
    found = rf.device(draft(tmp_path, GPU))
    assert found.name == "nvidia-toy-100" and found.kind == "gpu"
    assert found.peak_flops_per_s("fp16") == 150e12
    assert found.vector.peak_flops_per_s == 2 * 100 * 64 * 1.5e9  # 64 lanes at compute capability 8.0
    assert [level.name for level in found.memory] == ["device memory", "L2", "shared memory"]
    assert found.main_memory.bandwidth_bytes_per_s == 1e12
    assert rf.simulate("resnet-18", found, batch=8).latency_s > 0


def test_a_driver_that_tells_little_is_helped_by_measurements(tmp_path: Path) -> None:
    silent = replace(GPU, clock_hz=None, bandwidth_bytes_per_s=None, l2_bytes=0.0, shared_bytes_per_unit=0.0)
    found = rf.device(draft(tmp_path, silent))
    assert found.main_memory.bandwidth_bytes_per_s == pytest.approx(1e12)  # the best stream is nine tenths of it
    assert len(found.memory) == 1


def test_a_processor_of_several_cores_shares_its_last_cache(tmp_path: Path) -> None:
    caches = [["L1", 32768.0, 1], ["L2", 2.0**20, 1], ["L3", 2.0**25, 8]]
    facts = replace(GPU, name="Toy", kind="cpu", units=4, threads=4, lanes=8, caches=caches)
    slow = replace(
        BEST,
        streams=[
            (1e6, Rate(value=5e11, case="a")),
            (2e7, Rate(value=2e11, case="b")),
            (1e9, Rate(value=5e10, case="c")),
        ],
    )
    path = tmp_path / "toy.toml"
    import datetime

    path.write_text(draft_device(facts, slow, "pytorch_eager_cpu.toml", datetime.date(2026, 1, 1)), encoding="utf-8")
    found = rf.device(path)
    assert [(level.name, level.capacity_bytes) for level in found.memory[1:]] == [("L3", 2.0**25), ("L2", 4 * 2.0**20)]
    assert found.matrix.cols == 8 and found.matrix.units == 4


def test_a_tpu_is_not_drafted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no shipped file describes 'TPU v99': write one"):
        draft(tmp_path, replace(GPU, name="TPU v99", kind="tpu"))


@pytest.mark.parametrize(
    ("name", "like"),
    [("pytorch_eager_cpu", "pytorch_eager"), ("pytorch_compile_cpu", "pytorch_compile"), ("xla_cpu", "xla_gpu")],
)
def test_a_runtime_on_a_processor_fuses_as_its_sibling(name: str, like: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.toml"
    path.write_text(base_runtime(name), encoding="utf-8")
    found, shipped = rf.runtime(path), rf.runtime(like)
    assert found.device_kinds == ("cpu",) and found.name == name
    fusion = ("fold_batch_norm", "attention", "epilogue", "prologue", "fuse_movement", "epilogue_functions", "split")
    assert all(getattr(found, field) == getattr(shipped, field) for field in fusion)
    for constant in fitted_constants(found):
        assert constant.low <= getattr(found, constant.field) / constant.si <= constant.high, constant.place


def test_no_runtime_to_start_from() -> None:
    with pytest.raises(InputError, match="no runtime file to start from for 'mxnet_cpu'"):
        base_runtime("mxnet_cpu")


def test_what_to_measure_next_is_said_for_every_constant() -> None:
    from types import SimpleNamespace

    for kind, name in (("gpu", "pytorch_eager"), ("tpu", "xla_tpu"), ("cpu", "native")):
        runtime: Runtime = rf.runtime(name)
        assert kind in runtime.device_kinds
        assert {c.field for c in fitted_constants(runtime)} <= set(TOLD_BY)
    assert set(OWN_GPU) <= set(TOLD_BY)
    flat = FlatDirection(effect=0.01, constants=("window_ops", "pool_ops"))
    fit = Fit(runtime=runtime, values={}, calls={}, residual=0.1, edges=("overlap",), flat=(flat,))
    lines = next_measurements(SimpleNamespace(fit=fit))  # type: ignore[arg-type]
    assert lines[0].startswith("overlap ended at an end of its range: measure kernels that compute")
    assert lines[1].startswith("the rows do not determine window_ops, pool_ops: measure depthwise")
