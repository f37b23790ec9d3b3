"""Hypothetical devices: what follows from a change, by hand, and what is no device."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

import roofline as rf
from roofline.cli import main
from roofline.errors import InputError, SpecError, UnknownNameError
from roofline.hardware.variant import Change, device_fields, parse_change

HBM = "hbm.bandwidth_bytes_per_s"


# what follows from a change ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", rf.devices())
def test_every_field_can_be_set_and_set_back(name: str) -> None:
    device = rf.device(name)
    for field, value in device_fields(device).items():
        changed = 2.0 * value if value.is_integer() and value < 1e6 else 1.001 * value
        variant = device.with_overrides({field: changed})
        assert device_fields(variant)[field] == pytest.approx(changed)
        assert variant.variant_of == name and variant.name == f"{name} [{field}={changed:.6g}]"
        back = variant.with_overrides({field: value})
        assert device_fields(back) == pytest.approx(device_fields(device))
        assert back.vector.peak_flops_per_s == pytest.approx(device.vector.peak_flops_per_s)


def test_an_override_with_the_same_number_is_the_device_itself() -> None:
    device = rf.device("tpu-v3")
    assert device.with_overrides({HBM: 900e9}) is device
    assert device.with_overrides({}) is device
    with pytest.raises(InputError, match="overrides map the name of a field"):
        device.with_overrides([HBM])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", rf.devices())
def test_peaks_stay_units_times_work_per_clock_times_clock(name: str) -> None:
    device = rf.device(name)
    fields = device_fields(device)
    changes: dict[str, float] = {
        field: 2.0 * fields[field]
        for field in ("matrix.units", "vector.simple_per_clock", "clock_hz")
        if field in fields
    }
    variant = device.with_overrides(changes)
    for dtype, rate in variant.matrix.rates.items():
        old = device.matrix.rates[dtype]
        factor = rate.peak_flops_per_s / old.peak_flops_per_s
        engine, before = (getattr(d, rate.runs_on) for d in (variant, device))
        per_clock = (rate.macs_per_clock or 1.0) / (old.macs_per_clock or 1.0)
        clock = engine.clock_hz / before.clock_hz if engine.clock_hz else 1.0
        assert factor == pytest.approx(engine.units / before.units * per_clock * clock), dtype


def test_a_larger_array_does_more_per_clock() -> None:
    device = rf.device("tpu-v3").with_overrides({"matrix.rows": 256, "matrix.cols": 256})
    assert device.peak_flops_per_s("bf16") == 4 * 123e12
    assert device.matrix.rates["bf16"].macs_per_clock == 4 * 128 * 128
    assert device.vector.peak_flops_per_s == rf.device("tpu-v3").vector.peak_flops_per_s
    one = rf.device("tpu-v4i").with_overrides({"matrix.units": 1, "matrix.rows": 256, "matrix.cols": 256})
    assert one.peak_flops_per_s("bf16") == rf.device("tpu-v4i").peak_flops_per_s("bf16")


def test_the_order_of_overrides_does_not_matter() -> None:
    device, peak = rf.device("tpu-v3"), "matrix.rates.bf16.peak_flops_per_s"
    first = device.with_overrides({peak: 1e15, "matrix.units": 8, "clock_hz": 1e9})
    second = device.with_overrides({"clock_hz": 1e9, "matrix.units": 8, peak: 1e15})
    assert first == second and first.peak_flops_per_s("bf16") == 1e15
    assert first.matrix.rates["fp32"].peak_flops_per_s == pytest.approx(123e12 * 4 * 1e9 / 940e6)


def test_more_processors_bring_their_caches_and_vector_units() -> None:
    v100, more = rf.device("v100"), rf.device("v100").with_overrides({"matrix.units": 160})
    assert (more.vector.units, more.matrix.units) == (160, 160)
    assert more.vector.peak_flops_per_s == 2 * v100.vector.peak_flops_per_s
    assert more.peak_flops_per_s("fp32") == 2 * v100.peak_flops_per_s("fp32")  # CUDA cores
    assert more.memory[-1].capacity_bytes == 2 * v100.memory[-1].capacity_bytes
    assert more.main_memory == v100.main_memory


def test_the_clock_takes_along_what_runs_on_it() -> None:
    v3, fast = rf.device("tpu-v3"), rf.device("tpu-v3").with_overrides({"clock_hz": 1.88e9})
    assert fast.peak_flops_per_s("bf16") == 2 * 123e12
    assert fast.vector_simple_ops_per_s == 2 * v3.vector_simple_ops_per_s
    assert fast.memory[1].bandwidth_bytes_per_s == 2 * v3.memory[1].bandwidth_bytes_per_s  # stated in bytes per clock
    assert fast.main_memory == v3.main_memory


def test_no_capacity_takes_a_memory_away() -> None:
    bare = rf.device("tpu-v4i").with_overrides({"cmem.capacity_bytes": 0})
    assert bare.shared_memory == () and [q for q in bare.quantities if "CMEM" in q.path] == []
    with pytest.raises(InputError, match="needs its main memory"):
        bare.with_overrides({"hbm.capacity_bytes": 0})


def test_provenance_says_what_is_hypothetical() -> None:
    device = rf.device("tpu-v3").with_overrides({"matrix.rows": 256})
    records = {q.path: q for q in device.quantities}
    assert records["matrix.rows"].value == 256 and records["matrix.rows"].source is None
    assert records["matrix.rows"].estimate == "hypothetical: chosen; tpu-v3 has 128"
    peak = records["matrix.rates.bf16.peak"]
    assert (peak.value, peak.unit) == (246, "TFLOP/s")
    assert peak.estimate == "hypothetical: follows from what is chosen; tpu-v3 has 123 TFLOP/s"
    untouched = [q for q in rf.device("tpu-v3").quantities if q in device.quantities]
    assert len(untouched) == len(device.quantities) - 3  # rows and the two peaks
    report = rf.simulate("resnet-18", device)
    assert report.device == "tpu-v3 [matrix.rows=256]" and report.interval.extrapolating


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"hmb.bandwidth_bytes_per_s": 1e12}, UnknownNameError, "nearest: 'hbm.bandwidth_bytes_per_s'"),
        ({"cmem.capacity_bytes": 1e6}, UnknownNameError, "unknown field of 'tpu-v3': 'cmem.capacity_bytes'"),
        ({HBM: -1.0}, InputError, "hbm.bandwidth_bytes_per_s must be in 1e"),
        ({HBM: math.nan}, InputError, "takes a finite number"),
        ({HBM: "fast"}, InputError, "takes a finite number, got 'fast'"),
        ({HBM: 900.0}, InputError, "must be in 1e"),  # GB/s, not bytes
        ({"matrix.rows": 128.5}, InputError, "must be a whole number"),
        ({"cores": 0}, InputError, "must be a whole number"),
        ({HBM: 1e14}, InputError, "nearer memory must be faster"),
        ({"vmem.capacity_bytes": 1e12}, InputError, "nearer memory must be smaller, per core"),
    ],
)
def test_what_is_no_device(overrides: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        rf.device("tpu-v3").with_overrides(overrides)
    assert message in str(caught.value)


def test_files_keep_their_order_of_memories(tmp_path: Path) -> None:
    source = ROOT / "hardware_specs" / "tpu-v5e.toml"
    (tmp_path / "slow.toml").write_text(source.read_text().replace("value = 819, unit", "value = 90000, unit"))
    with pytest.raises(SpecError, match=r"slow.toml: \[memory.VMEM.bandwidth\]: nearer memory must be faster"):
        rf.device(tmp_path / "slow.toml")


# changes as text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("cores=4", (None, "cores", "=", 4.0)),
        ("hbm.bandwidth_bytes_per_s *= 2", (None, "hbm.bandwidth_bytes_per_s", "*=", 2.0)),
        ("TPUv3:clock_hz/=1e1", ("TPUv3", "clock_hz", "/=", 10.0)),
    ],
)
def test_changes_are_read(text: str, change: tuple[Any, ...]) -> None:
    assert parse_change(text) == Change(device=change[0], field=change[1], operator=change[2], value=change[3])


@pytest.mark.parametrize("text", ["", "cores", "=3", "cores==3", "cores=", "cores+=1", "cores=many"])
def test_other_texts_are_not(text: str) -> None:
    with pytest.raises(InputError):
        parse_change(text)


RUN = ["simulate", "efficientnet-b0", "-d", "tpu-v3", "-b", "8", "-f", "json"]


def test_set_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--set", f"{HBM}*=2", "--set", f"{HBM}/=4", "--set", "matrix.units=4"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["device"] == f"tpu-v3 [matrix.units=4, {HBM}=4.5e+11]"
    device = rf.device("tpu-v3").with_overrides({HBM: 450e9, "matrix.units": 4})
    assert shown["latency_ms"] == rf.simulate("efficientnet-b0", device, batch=8).latency_ms


def test_set_for_one_of_several_devices(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-f", "json", "--set", "TPUv4i:cmem.capacity_bytes=0", "--dtype", "tpu-v4i=bf16"]
    assert main(["compare", "resnet-18", "-d", "tpu-v3,tpu-v4i", *words]) == 0
    devices = [run["device"] for run in json.loads(capsys.readouterr().out)["runs"]]
    assert devices == ["tpu-v3", "tpu-v4i [cmem.capacity_bytes=0]"]
    assert main(["migrate", "resnet-18", "--from", "tpu-v4i", "--to", "v100", *words[:4]]) == 0
    assert main(["gap", "resnet-18,resnet-50", "-d", "tpu-v4i", *words]) == 0
    shown = json.loads(capsys.readouterr().out.split("\n}\n")[0] + "\n}")
    assert shown["migration"].startswith("tpu-v4i [cmem.capacity_bytes=0] (xla_tpu")


def test_one_device_against_its_own_variant(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["migrate", "resnet-18", "--from", "tpu-v3", "--to", "tpu-v3", "-b", "32", "-f", "json"]
    assert main([*words, "--set", f"to:{HBM}*=2"]) == 0
    (family,) = json.loads(capsys.readouterr().out)["families"]
    assert (family["peak_ratio"], family["bandwidth_ratio"], family["peak_share"]) == (1, 2, None)
    assert 1 < family["speedup"] < 2
    assert main(words) == 2
    assert "between two devices" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "hbm.bandwith=1"], "nearest: 'hbm.bandwidth_bytes_per_s'"),
        (["--set", "v100:cores=1"], "--set names device 'v100', which is not simulated"),
        (["--set", "cores"], "a change is [DEVICE:]FIELD=VALUE"),
        (["--set", f"{HBM}=fast"], "takes a number in SI units, got 'fast'"),
        (["--set", f"{HBM}/=0"], "cannot be divided by 0"),
    ],
)
def test_bad_sets_are_one_line(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main([*RUN, *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
