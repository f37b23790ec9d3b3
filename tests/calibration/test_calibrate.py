"""Calibration: constants that made the measurements are found again, and what data cannot tell is said."""

from __future__ import annotations

import datetime
import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from measured_files import GEMM, GEMM_TEXT, NASBENCH_HEAD, nasbench_row, real, write
from places import MEASUREMENTS

from roofline.calibration.calibrate import Calibration, calibrate, gather_rows, labels
from roofline.calibration.constants import DEFAULT, MOST_FITTED, fitted_constants, fitted_on
from roofline.calibration.fit import bare_devices, fit, flat_directions, row_weights
from roofline.calibration.measured import Options, load
from roofline.calibration.predict import Prepared, prepare
from roofline.calibration.runtime_file import rewritten, write_runtime
from roofline.cli import main
from roofline.errors import InputError, UnknownNameError
from roofline.paths import data_files
from roofline.software.load import runtime
from roofline.software.spec import Runtime

pytest.importorskip("scipy", reason="SciPy is not installed")
EAGER = "pytorch_eager"
TODAY = datetime.date(2026, 1, 2)


def products(folder: Path, truth: Runtime, offset_s: float = 0.0, noise: float = 0.0) -> Path:
    """Write products of many shapes as a device under `truth` would run them."""
    rng = np.random.default_rng(3)
    shapes = [(m, n, k) for m in (32, 200, 1000, 4000) for n in (64, 500, 3000) for k in (64, 700, 5000)]
    head = GEMM_TEXT.splitlines()[0] + "\n"
    line = "NV_V100,train,x,{},{},{},{},N,N,{!r},\n"
    kinds = ("Float", '"16 bit inputs, 16 bit multiplication, 32 bit addition"')
    text = head + "".join(line.format(kind, *shape, 1.0) for kind in kinds for shape in shapes)
    prepared = prepare(load(write(folder, GEMM, text)).measurements)
    true_s = prepared.predict(lambda _: truth, bare_devices(prepared)) + offset_s
    true_s = true_s * np.exp(noise * rng.standard_normal(len(true_s)))
    times = dict(zip([m.row for m in prepared.measurements], true_s, strict=True))
    rows = [line.format(kind, *shape, 0.0) for kind in kinds for shape in shapes]
    timed = (row.replace("0.0,", f"{float(1e3 * times[i])!r},") for i, row in enumerate(rows, 2))
    return write(folder, GEMM, head + "".join(timed))


def truth(**values: float) -> Runtime:
    return replace(runtime(EAGER, "gpu"), **values)  # type: ignore[arg-type]


def rows_of(path: Path) -> Prepared:
    return prepare(gather_rows([path], runtime(EAGER, "gpu"))[0])


def test_constants_that_made_the_measurements_are_found(tmp_path: Path) -> None:
    made = truth(matrix_fraction=0.66, floor_s=2.5e-6, bandwidth_fraction=0.71)
    prepared = rows_of(products(tmp_path, made))
    start = runtime(EAGER, "gpu")
    constants = fitted_constants(start, ["matrix_fraction", "floor_s", "bandwidth_fraction"])
    found = fit(prepared, start, constants, bare_devices(prepared))
    assert found.values["matrix_fraction"] == pytest.approx(0.66, rel=0.02)
    assert found.values["floor_s"] == pytest.approx(2.5e-6, rel=0.03)
    assert found.values["bandwidth_fraction"] == pytest.approx(0.71, rel=0.05)
    assert found.residual < 0.01
    assert found.predict(prepared, bare_devices(prepared)) == pytest.approx(prepared.measured_s, rel=0.03)


def test_an_offset_of_the_measuring_program_is_found_beside_the_constants(tmp_path: Path) -> None:
    made = truth(matrix_fraction=0.7)
    clean = rows_of(products(tmp_path, made, offset_s=35e-6))
    grouped = [replace(m, offset_group="gemm v100") for m in clean.measurements]
    start = runtime(EAGER, "gpu")
    found = fit(prepare(grouped), start, fitted_constants(start, ["matrix.fraction"]))
    assert found.calls["gemm v100"].offset_s == pytest.approx(35e-6, rel=0.03)
    assert found.values["matrix_fraction"] == pytest.approx(0.7, rel=0.03)


def test_outliers_do_not_carry_the_fit_away(tmp_path: Path) -> None:
    prepared = rows_of(products(tmp_path, truth(matrix_fraction=0.7)))
    wrong = [replace(m, latency_s=m.latency_s * (5 if i % 12 == 0 else 1)) for i, m in enumerate(prepared.measurements)]
    start = runtime(EAGER, "gpu")
    found = fit(prepare(wrong), start, fitted_constants(start, ["matrix_fraction"]))
    assert found.values["matrix_fraction"] == pytest.approx(0.7, rel=0.08)


def test_constants_stay_in_their_range_and_an_edge_is_told(tmp_path: Path) -> None:
    prepared = rows_of(products(tmp_path, truth(matrix_fraction=0.3)))  # no better kernel would be used below 0.5
    start = runtime(EAGER, "gpu")
    found = fit(prepared, start, fitted_constants(start, ["matrix_fraction"]))
    assert found.values["matrix_fraction"] == pytest.approx(0.5, abs=0.005)
    assert found.edges == ("matrix_fraction",)


def test_constants_without_data_keep_their_values_and_are_named(tmp_path: Path) -> None:
    prepared = rows_of(products(tmp_path, truth()))  # products say nothing of depthwise convolutions
    start = runtime(EAGER, "gpu")
    found = fit(prepared, start, fitted_constants(start, ["matrix_fraction", "window_ops"]))
    assert found.values["window_ops"] == pytest.approx(start.window_ops, rel=0.01)
    assert [f.constants for f in found.flat] == [("window_ops",)]
    assert found.flat[0].effect < 1e-6


def test_a_combination_that_cancels_is_named() -> None:
    slope = np.linspace(1.0, 2.0, 50)
    jacobian = np.stack([slope, -slope, np.ones(50)], axis=1)  # only the difference of the first two is seen
    (flat,) = flat_directions(jacobian, np.ones(50), ["a", "b", "c"])
    assert set(flat.constants) == {"a", "b"}


def test_files_count_equally_and_so_do_the_conditions_in_a_file(tmp_path: Path) -> None:
    rows = list(rows_of(products(tmp_path, truth())).measurements)
    long, short = [m for m in rows if m.dtype == "fp32"][:30], [m for m in rows if m.dtype == "fp16"][:10]
    other = [replace(m, dataset="other.csv") for m in short[:5]]
    rows = [*long, *short, *other]
    rows[0] = replace(rows[0], apart="for a reason")
    weight = row_weights(rows)
    assert weight[0] == 0.0
    assert weight[:30].sum() == pytest.approx(weight[30:40].sum())
    assert weight[:40].sum() == pytest.approx(weight[40:].sum())


def test_the_table_of_constants_is_complete() -> None:
    for c in (c for kind in DEFAULT for c in fitted_on(kind).values()):
        assert c.low < c.high and len(c.why) > 20, c
        assert c.value_si(c.position(0.5 * (c.low + c.high) * c.si)) == pytest.approx(0.5 * (c.low + c.high) * c.si)
    for name in data_files("runtimes"):
        chosen = fitted_constants(runtime(data_files("runtimes")[name]))
        assert 0 < len(chosen) <= MOST_FITTED
    assert all(len(names) <= MOST_FITTED for names in DEFAULT.values())


def test_shipped_constants_lie_in_their_ranges() -> None:
    for name, path in data_files("runtimes").items():
        found = runtime(path)
        for c in fitted_constants(found):
            value = getattr(found, c.field) / c.si
            assert c.low - 1e-9 <= value <= c.high + 1e-9, f"{name}: {c.place} = {value}"


@pytest.mark.parametrize(
    ("names", "message"),
    [(["bandwith_fraction"], "unknown constant"), (list(fitted_on("gpu")), "too many")],
)
def test_constants_that_cannot_be_fitted_are_refused(names: list[str], message: str) -> None:
    with pytest.raises((UnknownNameError, InputError), match=message):
        fitted_constants(runtime(EAGER, "gpu"), names)


def test_too_few_rows_are_refused_with_the_number_needed(tmp_path: Path) -> None:
    path = write(tmp_path, GEMM, GEMM_TEXT)
    with pytest.raises(InputError, match="1 rows are too few to fit 3 constants: 30 are needed"):
        calibrate([path], EAGER, names=["matrix_fraction", "floor_s", "overlap"])


def test_rows_of_other_machines_and_runtimes_are_left_out_with_a_reason(tmp_path: Path) -> None:
    path = write(tmp_path, "nas.csv", f"{NASBENCH_HEAD}{nasbench_row()}\n")
    good, rejected = gather_rows([path, write(tmp_path, GEMM, GEMM_TEXT)], runtime("tensorrt", "gpu"))
    assert [m.dataset for m in good] == [GEMM] and good[0].runtime == "tensorrt"
    assert [r.reason for r in rejected["nas.csv"]] == [
        "a network under pytorch_eager, not tensorrt",
        "tensorrt does not run on tpu-v2",
    ]


def test_ways_to_leave_rows_out(tmp_path: Path) -> None:
    prepared = rows_of(products(tmp_path, truth()))
    assert set(labels(prepared, "family")) == {"fp32", "fp16"}
    assert set(labels(prepared, "device")) == {"v100"}
    fifths = labels(prepared, "fifth")
    assert set(fifths) == {"1", "2", "3", "4", "5"}
    largest = np.array([name is not None for name in labels(prepared, "largest")])
    assert largest.mean() == pytest.approx(0.2, abs=0.03)
    with pytest.raises(InputError, match="cannot be left out by 'colour'"):
        labels(prepared, "colour")


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    path = products(tmp_path_factory.mktemp("fit"), truth(matrix_fraction=0.7, floor_s=3e-6), noise=0.02)
    return calibrate([path], EAGER, names=["matrix_fraction", "floor_s"], folds=["family"])


def test_what_is_left_out_is_predicted_by_a_fit_without_it(calibration: Calibration) -> None:
    assert {h.name for h in calibration.held_out} == {"fp32", "fp16"}
    for held_out in calibration.held_out:
        assert held_out.agreement.count == 36
        assert held_out.agreement.median < 0.03
        assert held_out.values["matrix_fraction"] == pytest.approx(0.7, rel=0.05)
        names = {calibration.prepared.measurements[i].family for i in held_out.rows}
        assert names == {held_out.name}


def test_the_runtime_file_loads_and_says_where_its_numbers_come_from(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "fitted.toml"
    write_runtime(calibration, path, TODAY)
    found, start = runtime(path), runtime(EAGER, "gpu")
    assert found.matrix_fraction == pytest.approx(calibration.fit.values["matrix_fraction"], rel=1e-3)
    assert found.floor_s == pytest.approx(calibration.fit.values["floor_s"], rel=1e-3)
    assert replace(found, matrix_fraction=0, floor_s=0) == replace(start, matrix_fraction=0, floor_s=0)
    text = path.read_text()
    assert 'fit = "roofline calibrate, 2026-01-02, on gemm.csv (72 rows); root mean square log error 0.0' in text
    assert rewritten(text, calibration, TODAY) == text  # writing it again changes nothing


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = products(tmp_path, truth(matrix_fraction=0.7))
    out = tmp_path / "out.toml"
    arguments = ["calibrate", str(path), "--runtime", EAGER, "--constants", "matrix_fraction,window_ops"]
    assert main([*arguments, "--leave-out", "family", "--own", "--output", str(out)]) == 0
    text = capsys.readouterr().out
    for part in (
        "matrix.fraction",
        "the rows do not determine window_ops",
        "family fp16",
        "[runtime.pytorch_eager]",
    ):
        assert part in text
    assert runtime(out).matrix_fraction == pytest.approx(0.7, rel=0.03)
    assert main([*arguments, "--leave-out", "none", "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["constants"][0]["place"] == "matrix.fraction" and content["held_out"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runtime", EAGER], "too few to fit"),
        (["--runtime", "pytorch"], "unknown runtime 'pytorch'"),
        (["--runtime", EAGER, "--format", "csv"], "prints a table or json"),
        (["--runtime", EAGER, "--output", "x.json"], "cannot write 'x.json'"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["calibrate", str(write(tmp_path, GEMM, GEMM_TEXT)), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_h100_table_is_fitted_better_than_it_was_before() -> None:
    rows = Options(limit=200)
    found = calibrate([real("h100_matmul.csv.gz")], "xla_gpu", rows, folds=["largest"])
    medians = [sum(a.median for a in part.values()) / len(part) for part in (found.before, found.after)]
    assert medians[1] <= medians[0] + 0.02
    assert found.held_out[0].agreement.count == pytest.approx(40, abs=3)


def test_the_documented_calibrations_name_what_exists(checkout: Path) -> None:
    found = list(runpy.run_path(str(checkout / "tools" / "accuracy.py"))["recipes"]())
    assert {recipe.runtime for recipe in found} <= set(data_files("runtimes"))
    for recipe in found:
        constants = fitted_constants(runtime(data_files("runtimes")[recipe.runtime]), recipe.constants)
        assert len(constants) <= MOST_FITTED
        assert set(recipe.folds) <= {"family", "device", "fifth", "largest", "set"}
        assert f"--output runtimes/{recipe.runtime}.toml" in recipe.text
        for name in (*recipe.files, *recipe.witnesses):
            assert name.startswith("$M/") or (checkout / name).is_file()
            if name.startswith("$M/") and MEASUREMENTS.is_dir():
                assert (MEASUREMENTS / name.removeprefix("$M/")).is_file()


def test_what_every_device_has_for_itself_is_fitted_all_the_same(tmp_path: Path) -> None:
    prepared = rows_of(products(tmp_path, truth(matrix_fraction=0.7)))
    (own,) = {tuple(g.device.overrides[EAGER]) for g in prepared.groups}
    start = runtime(EAGER, "gpu")
    found = fit(prepared, start, fitted_constants(start, ["matrix_fraction", "floor_s"]))
    assert "matrix_fraction" in own and "floor_s" not in own
    assert found.ignored == {"matrix_fraction"} and found.values["matrix_fraction"] == pytest.approx(0.7, rel=0.03)
