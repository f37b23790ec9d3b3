"""Validation: made-up measurements whose errors are known, baselines by hand, and the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measured_files import CONV_HEAD, GEMM, GEMM_TEXT, NASBENCH_HEAD, XLA_TEXT, nasbench_row, real, write
from places import MEASUREMENTS

from roofline.arch.nasbench import accel_nasbench_arch
from roofline.calibration.ablate import EFFECTS, ablate
from roofline.calibration.baselines import proportional, traffic, two_terms
from roofline.calibration.measured import Options, load
from roofline.calibration.offsets import Call, best_call, with_offsets
from roofline.calibration.predict import prepare
from roofline.calibration.validate import validate
from roofline.cli import main
from roofline.errors import InputError
from roofline.report.run import simulate
from roofline.software.load import runtime

SIZES = (256, 512, 1024, 2048, 4096)


def products(folder: Path, ratio: float, offset_s: float = 0.0, name: str = GEMM) -> Path:
    """Write products that run `ratio` times as long as predicted, and `offset_s` longer."""
    guess = write(folder, name, GEMM_TEXT.splitlines()[0] + "\n" + "".join(_line(n, n, 1.0) for n in SIZES))
    predicted_s = prepare(load(guess).measurements).predict()
    rows = (_line(n, n, float(1e3 * (t * ratio + offset_s))) for n, t in zip(SIZES, predicted_s, strict=True))
    return write(folder, name, GEMM_TEXT.splitlines()[0] + "\n" + "".join(rows))


def _line(m: int, n: int, time_ms: float) -> str:
    return f"NV_V100,train,x,Float,{m},{n},512,N,N,{time_ms!r},\n"


def test_a_simulated_network_is_what_simulate_says(tmp_path: Path) -> None:
    rows = NASBENCH_HEAD + f"{nasbench_row(b0_e=6, b2_se=1)}\n"
    prepared = prepare(load(write(tmp_path, "nas.csv", rows)).measurements)
    cells = dict(zip(NASBENCH_HEAD.split(","), nasbench_row(b0_e=6, b2_se=1).split(","), strict=False))
    network = accel_nasbench_arch({k: v for k, v in cells.items() if k[0] == "b"})
    gpu = simulate(network, "a100-40gb", batch=256, image_size=256, dtype="amp_fp16", runtime="pytorch_eager")
    run: dict[str, Any] = {"dtype": "bf16", "runtime": "pytorch_xla", "cores": 1, "mode": "forward_saving"}
    tpu = simulate(network, "tpu-v2", batch=64, image_size=224, **run)
    assert prepared.predict().tolist() == pytest.approx([gpu.latency_s, tpu.latency_s], rel=1e-12)


def test_errors_are_those_that_were_put_in(tmp_path: Path) -> None:
    found = validate([products(tmp_path, ratio=1 / 1.25)]).comparisons[0].agreement()
    assert found.count == len(SIZES)
    assert (found.mape, found.median, found.bias) == pytest.approx((0.25, 0.25, 0.25))
    assert (found.tau, found.within_10, found.within_20) == (1.0, 0.0, 0.0)


def test_offsets_of_the_measuring_program_are_found(tmp_path: Path) -> None:
    rows = load(products(tmp_path, ratio=1.0, offset_s=30e-6)).measurements
    grouped = [replace(m, offset_group="here") for m in rows]
    prepared = prepare(grouped)
    predicted_s, calls = with_offsets(prepared.measurements, prepared.predict(), prepared.measured_s)
    assert calls["here"].offset_s == pytest.approx(30e-6, rel=0.02)
    assert predicted_s == pytest.approx(prepared.measured_s, rel=0.02)
    assert with_offsets(rows, np.ones(len(rows)), np.ones(len(rows)))[1] == {}


def test_the_time_of_the_host_is_told_from_an_offset() -> None:
    device_s = np.geomspace(1e-6, 1e-3, 60)
    found = best_call(device_s, np.maximum(40e-6, 12e-6 + device_s))
    assert (found.offset_s, found.host_s) == pytest.approx((12e-6, 40e-6), rel=0.02)
    assert found.whole_s(np.array([5e-6, 100e-6])) == pytest.approx([40e-6, 112e-6], rel=0.02)


def test_no_offset_is_larger_than_physical() -> None:
    found = best_call(np.full(5, 1e-6), np.ones(5), 80e-6)
    assert max(found.offset_s, found.host_s) == pytest.approx(80e-6)


def test_rows_that_the_host_decides_are_counted(tmp_path: Path) -> None:
    (clean,) = validate([products(tmp_path, ratio=1.0)]).comparisons
    rows = tuple(replace(m, offset_group="here") for m in clean.measurements)
    half_s = float(np.median(clean.predicted_s))
    calls = {"here": Call(offset_s=0.0, host_s=half_s)}
    found = replace(clean, measurements=rows, calls=calls, predicted_s=calls["here"].whole_s(clean.predicted_s))
    assert found.by_host("here") == pytest.approx(np.mean(clean.predicted_s <= half_s))


def test_rows_apart_do_not_count(tmp_path: Path) -> None:
    row = "NV_V100,train,x,Float,28,28,64,{},128,3,3,1,1,1,1,0.1,{}\n"
    text = CONV_HEAD + "".join(
        row.format(n, kind) for n, kind in [(1, "IMPLICIT_GEMM"), (2, "IMPLICIT_GEMM"), (4, "IMPLICIT_GEMM")]
    )
    text += "".join(row.format(n, "WINOGRAD") for n in (8, 16, 32))
    (found,) = validate([write(tmp_path, "conv.csv", text)]).comparisons
    assert found.agreement().count == 3
    assert list(found.families()) == ["fp32", "winograd (apart)"]


def test_one_comparison_for_each_condition_and_every_row_accounted_for(tmp_path: Path) -> None:
    rows = "".join(f"{nasbench_row(b0_l=n)}\n" for n in (1, 2, 3)) + f"{nasbench_row('8000,,')}\n"
    found = validate([write(tmp_path, "nas.csv", NASBENCH_HEAD + rows), write(tmp_path, "x.csv", XLA_TEXT)])
    assert [(c.device, len(c.measurements)) for c in found.comparisons] == [
        ("a100-40gb", 3),
        ("tpu-v2", 3),
        ("h100-sxm", 1),
        ("h100-sxm", 1),
    ]
    assert [(r.row, r.reason[:15]) for r in found.rejected["nas.csv"]] == [(5, "measured before")]


def test_a_runtime_may_be_adapted_for_all_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "nas.csv", f"{NASBENCH_HEAD}{nasbench_row()}\n")
    options = Options(device="a100-40gb")
    plain = validate([path], options).comparisons[0].predicted_s
    slow = validate([path], options, adapt=lambda r: replace(r, floor_s=1.0)).comparisons[0].predicted_s
    assert slow[0] > plain[0] + 10


def test_baselines_by_hand() -> None:
    assert proportional(np.array([1.0, 2.0, 4.0]), np.array([3.0, 6.0, 100.0])).tolist() == pytest.approx([3, 6, 12])
    macs, written = np.array([1.0, 2.0, 5.0]), np.array([3.0, 1.0, 2.0])
    assert two_terms(macs, written, 2 * macs + 7 * written) == pytest.approx(2 * macs + 7 * written)
    # falling with the second feature: its factor would be negative, so the first alone is taken
    assert two_terms(macs, written, 2 * macs + 0.1 / written) / macs == pytest.approx([2.0] * 3, rel=0.02)


def test_the_plain_roofline_is_the_data_sheet(tmp_path: Path) -> None:
    rows = GEMM_TEXT.splitlines()[0] + "\n" + "".join(_line(n, n, 1.0) for n in (64, 4096, 8192))
    (found,) = validate([write(tmp_path, GEMM, rows)]).comparisons
    bytes_moved = 4 * (8192 * 512 + 512 * 8192 + 8192 * 8192)  # two operands and the result, fp32
    peak, bandwidth = 15.7e12, 900e9  # V100: fp32 and HBM2
    expected = max(2 * 8192 * 8192 * 512 / peak, bytes_moved / bandwidth)
    assert found.baselines["plain roofline"][-1] == pytest.approx(expected, rel=0.02)
    assert prepare(found.measurements).gather(traffic)[-1] == bytes_moved


def test_ops_without_products_have_no_baseline_of_macs(tmp_path: Path) -> None:
    text = "op,device,B,H,latency_ms\n" + "".join(f"relu,Tesla T4,{n},1000,0.05\n" for n in (10, 100, 1000))
    (found,) = validate([write(tmp_path, "v.csv", text)]).comparisons
    assert list(found.baselines) == ["plain roofline"]


def test_no_files_and_nothing_predictable_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one file"):
        validate([])
    with pytest.raises(InputError, match="no row can be predicted; row 2"):
        validate([write(tmp_path, GEMM, GEMM_TEXT)], Options(dtype="bf16"))


# the command ------------------------------------------------------------------


def test_the_command_prints_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = products(tmp_path, ratio=1 / 1.25)
    path.write_text(path.read_text() + "NV_V100,train,x,Float,1,1,1,N,N,,\n")
    assert main(["validate", str(path), "--worst", "2"]) == 0
    out = capsys.readouterr().out
    for text in ("gemm.csv: v100, pytorch_eager, fp32", "25.0 %", "MACs + activations", "plain roofline"):
        assert text in out
    assert "gemm.csv: 1 rows left out\n  row 7: no time_ms" in out
    assert len(re.findall(r"gemm \d+x\d+x\d+ ", out)) == 2  # all are equally wrong: any two of them


def test_the_command_prints_json_and_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(products(tmp_path, ratio=0.5))
    assert main(["validate", path, "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["comparisons"][0]["accuracy"]["mape"] == pytest.approx(1.0)
    assert content["comparisons"][0]["baselines"]["MACs"]["count"] == len(SIZES)
    assert main(["validate", path, "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("dataset,row,workload") and len(lines) == 1 + len(SIZES)


def test_the_command_draws(tmp_path: Path) -> None:
    path = products(tmp_path, ratio=1.1)
    picture = tmp_path / "p.png"
    assert main(["validate", str(path), "--plot", str(picture)]) == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "cannot read 'none.csv'"),
        ([GEMM, "--limit", "0"], "--limit must be at least 1"),
        ([GEMM, "--device", "v1000"], "unknown device 'v1000'"),
        ([GEMM, "--plot", "x.gif"], "cannot write 'x.gif'"),
        ([GEMM, "--layout", "chwn"], "unknown layout 'chwn'"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, GEMM, GEMM_TEXT)
    assert main(["validate", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


# the originals ----------------------------------------------------------------


def test_nasbench_beats_macs_and_activations() -> None:
    """The order of networks on an A100 is predicted better than a regression that is fitted to the very rows."""
    found = validate([real("accel_nasbench.csv.gz")], Options(device="a100-40gb", limit=300)).comparisons[0]
    bars = found.baseline_agreement()
    assert found.agreement().tau > bars["MACs"].tau > 0.5
    assert bars["MACs"].tau == pytest.approx(0.69, abs=0.06)  # 4,612 rows: 0.69


def test_rows_of_the_originals_stay_out_of_the_project(checkout: Path) -> None:
    if not MEASUREMENTS.is_dir():
        pytest.skip("the measurements are not here")
    names = {path.name for path in MEASUREMENTS.rglob("*.csv*")}
    assert not {path.name for path in checkout.rglob("*.csv*") if ".venv" not in path.parts} & names


# ablation ---------------------------------------------------------------------


def test_taking_an_effect_out_moves_only_what_feels_it(tmp_path: Path) -> None:
    rows = load(products(tmp_path, ratio=1.0)).measurements
    found = {a.effect.name: a for a in ablate(rows)}
    assert found["achieved matrix rate"].whole.mape == pytest.approx(0.0, abs=1e-9)
    below_peak = runtime("pytorch_eager", "gpu").matrix_fraction < 1
    assert (found["achieved matrix rate"].without.bias < 0) == below_peak  # at their peak, units are too fast
    assert found["kernel floor"].without.bias < 0
    assert found["CTA tile choice"].without.bias >= 0  # the best of several shapes is no worse than one of them
    assert not found["window loads"].moved and not found["channels-first cost"].moved
    assert "tap folding" not in found  # an effect of systolic arrays


def test_effects_of_fusion_and_mode_lower_again(tmp_path: Path) -> None:
    rows = load(write(tmp_path, "nas.csv", f"{NASBENCH_HEAD}{nasbench_row()}\n"), Options(device="tpu-v2")).measurements
    found = {a.effect.name: a for a in ablate(rows)}
    assert found["fusion"].without.bias > found["fusion"].whole.bias
    assert found["saved activations"].without.bias < found["saved activations"].whole.bias
    assert found["layout padding"].without.bias < found["layout padding"].whole.bias


def test_effects_have_distinct_names_and_name_real_constants() -> None:
    assert len({e.name for e in EFFECTS}) == len(EFFECTS)
    start = runtime("tensorrt", "gpu")
    for effect in EFFECTS:
        changed = effect.adapt(start)
        assert all(getattr(changed, name) == value for name, value in (effect.runtime or {}).items())
