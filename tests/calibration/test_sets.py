"""Few sets: each judged by the worst of the others, and training tables read as steps that fit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measured_files import NASBENCH_HEAD, nasbench_row, real, write

import roofline as rf
from roofline.calibration.calibrate import calibrate
from roofline.calibration.intervals import runtime_interval, write_interval
from roofline.calibration.measured import Measurement, Options, load
from roofline.calibration.ratios import LeftOut
from roofline.calibration.sets import by_set, set_scores, witnesses
from roofline.cli import main
from roofline.report.interval import IntervalFile, interval
from roofline.specfile import load_spec

HEAD = "model,image_size,mode,batch,v100_fp32_s,tpuv3_core_bf16_ms,source\n"
ROW = "resnet-rs-50,160,training step,{batch},0.5,100,made up\n"


def network(dataset: str, error: float, group: str = "") -> LeftOut:
    m = Measurement(
        row=1,
        label="a",
        workload=rf.model("resnet-18"),
        device="tpu-v3",
        runtime="xla_tpu",
        dtype="bf16",
        latency_s=1.0,
        family="resnet",
        dataset=dataset,
    )
    return LeftOut(measurement=m, error=error, group=group or dataset)


def test_each_set_is_judged_by_the_worst_of_the_others() -> None:
    networks = [network("small.csv", e) for e in (-0.3, 0.1)]  # too few for a bound: the largest error
    networks += [network("large.csv", 0.01 * i, group=f"{i % 5}") for i in range(1, 21)]  # 0.01 to 0.20
    found = set_scores(by_set(networks), 0.9)
    assert found["small.csv"].rows == 2 and found["small.csv"].half_width == 0.3
    assert found["large.csv"].half_width == pytest.approx(0.19)  # the ceil(21 x 0.9) = 19th smallest of 20
    assert found["small.csv"].covered == 0.5  # 0.1 and not 0.3
    assert found["large.csv"].covered == 1.0
    assert set_scores([network("one.csv", 0.1)], 0.9)["one.csv"].covered is None


def test_training_tables_are_steps_that_fit(tmp_path: Path) -> None:
    path = write(tmp_path, "steps.csv", HEAD + ROW.format(batch="128 (halved until it fits)"))
    gpu, tpu = load(path).measurements
    assert (gpu.device, gpu.dtype, gpu.runtime, tpu.device, tpu.dtype, tpu.cores) == (
        *("v100", "fp32", "tensorflow"),
        *("tpu-v3", "bf16", 1),
    )
    for m, whole_s in ((gpu, 0.5), (tpu, 0.1)):
        assert m.mode == "training" and m.latency_s == pytest.approx(whole_s * m.batch / 128)
        options: dict[str, Any] = {
            "runtime": m.runtime,
            "dtype": m.dtype,
            "cores": m.cores,
            "mode": "training",
            "optimizer": "momentum",
        }
        run = rf.simulate("resnet-rs-50", m.device, batch=m.batch, image_size=160, **options)
        share = run.cores / run.device_spec.cores
        assert run.peak_memory_bytes <= run.memory_capacity_bytes * share
        if m.batch < 128:
            more = rf.simulate("resnet-rs-50", m.device, batch=2 * m.batch, image_size=160, **options)
            assert more.peak_memory_bytes > more.memory_capacity_bytes * share
    fixed = write(tmp_path, "fixed.csv", HEAD + ROW.format(batch="64"))
    assert [m.batch for m in load(fixed).measurements] == [64, 64]
    wrong = write(tmp_path, "wrong.csv", HEAD + ROW.format(batch="64") + ROW.format(batch="many"))
    assert "batch is no number of images: 'many'" in load(wrong).rejected[0].reason


def test_an_interval_of_sets_says_what_it_would_have_covered(tmp_path: Path) -> None:
    made = [(n, e, k) for n in (1, 2, 3) for e in (1, 4, 6) for k in (3, 5)]
    rows = [nasbench_row(f"{8000 - 700 * n - 500 * e},,", b0_l=n, b1_e=e, b2_k=k) for n, e, k in made]
    own = write(tmp_path, "nas.csv", NASBENCH_HEAD + "\n".join(rows) + "\n")
    table = "model,device,batch,latency_ms,runtime,dtype\n"
    guess = rf.simulate("resnet-50", "a100-40gb", runtime="pytorch_eager", dtype="fp16", batch=8).latency_ms
    other = write(tmp_path, "mine.csv", f"{table}resnet-50,a100-40gb,8,{20 * guess},pytorch_eager,fp16\n")
    options = Options(device="a100-40gb")
    found = calibrate([own], "pytorch_eager", options, names=["bandwidth_fraction"], folds=["fifth"])
    seen = witnesses([other], found.runtime)
    assert [n.error for n in seen[1]] == pytest.approx([-math.log(20)])
    width = runtime_interval(found, witnesses=seen)
    assert set(width.sets) == {"nas.csv", "mine.csv"} and width.half_width == pytest.approx(math.log(20), abs=1e-3)
    errors = np.concatenate([np.log(h.predicted_s / found.prepared.measured_s[h.rows]) for h in found.held_out])
    assert width.sets["nas.csv"].half_width == pytest.approx(np.sort(np.abs(errors))[-1], abs=1e-3)  # the 18th of 18
    assert width.sets["mine.csv"].covered == 0.0 and width.sets["nas.csv"].covered == 1.0
    assert width.rows == len(made) + 1 and not width.training and set(width.dtypes) == {"amp_fp16", "fp16"}
    write_interval("pytorch_eager", width, tmp_path / "intervals.toml")
    known = load_spec(tmp_path / "intervals.toml", IntervalFile).runtimes
    assert known == {"pytorch_eager": width}
    run = rf.simulate("resnet-50", "a100-40gb", runtime="pytorch_eager", dtype="fp16", batch=8)
    said = interval(run, known)
    assert said.extrapolating and "2 sets of networks promise nothing of a new one" in said.reasons[0]
    assert "mine 0%" in said.reasons[0] and "nas 100%" in said.reasons[0]


def test_leaving_a_set_out_leaves_its_networks_out(tmp_path: Path) -> None:
    made = [(n, e, k) for n in (1, 2, 3) for e in (1, 4, 6) for k in (3, 5)]
    rows = [nasbench_row(f"{8000 - 700 * n - 500 * e},,", b0_l=n, b1_e=e, b2_k=k) for n, e, k in made]
    files = [
        write(tmp_path, name, NASBENCH_HEAD + "\n".join(part) + "\n")
        for name, part in (("one.csv", rows[:12]), ("two.csv", rows[12:]))
    ]
    options = Options(device="a100-40gb")
    found = calibrate(files, "pytorch_eager", options, names=["bandwidth_fraction"], folds=["set"])
    assert [(h.by, h.name, len(h.rows)) for h in found.held_out] == [("set", "two.csv", 6)]  # 6 rows are too few to fit


def test_witnesses_need_a_file_of_intervals(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write(tmp_path, "x.csv", "model,device,batch,latency_ms\n")
    assert main(["calibrate", str(path), "--runtime", "xla_tpu", "--witness", str(path)]) == 2
    assert "--witness goes with --intervals" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["tpu-v3", "v100"])
def test_published_training_steps_are_read(device: str) -> None:
    rows = load(real("training_v100_tpuv3.csv"), Options(device=device)).measurements
    assert len(rows) == 6 and {m.family for m in rows} == {"resnet-rs"}
