"""Facts with a range: what a file may say, and the devices at the ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import ROOT

from roofline.errors import SpecError
from roofline.hardware.load import device, devices
from roofline.hardware.ranges import open_facts
from roofline.hardware.variant import device_fields, with_overrides
from roofline.software.load import runtime_file

V2 = (ROOT / "hardware_specs" / "tpu-v2.toml").read_text(encoding="utf-8")
HBM = 'low = 600, high = 716, why = "Wikipedia and jax-ml/jax state the two ends"'


def edited(folder: Path, old: str, new: str) -> Path:
    assert V2.count(old) == 1
    path = folder / "mine.toml"
    path.write_text(V2.replace(old, new), encoding="utf-8")
    return path


def test_the_device_at_an_end_is_the_variant_with_that_number() -> None:
    v2 = device("tpu-v2")
    (fact,) = (f for f in open_facts(v2) if f.field == "hbm.bandwidth_bytes_per_s")
    assert (fact.record.low, fact.record.high, fact.record.unit) == (600, 716, "GB/s")
    for end, value in ((fact.at_low, 600e9), (fact.at_high, 716e9)):
        assert device_fields(end) == device_fields(with_overrides(v2, {fact.field: value}))
        assert end.name == v2.name  # what was measured on it stays its own
        assert end.overrides == v2.overrides


def test_an_end_is_of_one_memory_and_the_field_of_all() -> None:
    v2 = device("tpu-v2")
    (fact,) = (f for f in open_facts(v2) if f.field == "vmem.bandwidth_bytes_per_s")
    assert device_fields(fact.at_low)[fact.field] == pytest.approx(8192 * 700e6 * 2)  # B/clk x Hz x cores


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('low = 716, high = 600, why = "x"', "a range goes from low over the value to high, got 716, 700, 600"),
        ('low = 710, high = 716, why = "x"', "a range goes from low over the value to high, got 710, 700, 716"),
        ('low = 600, high = 699, why = "x"', "a range goes from low over the value to high, got 600, 700, 699"),
        ('low = 700, high = 700, why = "x"', "a range goes from low over the value to high"),
        ('low = nan, high = 716, why = "x"', "a range goes from low over the value to high"),
        ('low = 600, high = inf, why = "x"', "a range goes from low over the value to high"),
        ('low = 600, why = "x"', "a range has two ends: give high too"),
        ('high = 716, why = "x"', "a range has two ends: give low too"),
        ("low = 600, high = 716", "a range needs why"),
        ('low = 600, high = 716, why = " "', "a range needs why"),
        ('why = "x"', "why belongs to a range"),
    ],
)
def test_a_range_that_is_none_is_refused_with_file_and_key(tmp_path: Path, said: str, message: str) -> None:
    with pytest.raises(SpecError, match=rf"^mine\.toml: \[memory\.0\.bandwidth\]: {message}") as caught:
        device(edited(tmp_path, HBM, said))
    assert "\n" not in str(caught.value)


def test_a_peak_may_have_one_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    old = 'bf16 = { macs_per_clock = 16384, peak = 46, unit = "TFLOP/s"'
    spec = device(edited(tmp_path, old, f'{old}, low = 40, high = 46, why = "x"'))
    (fact,) = (f for f in open_facts(spec) if f.field == "matrix.rates.bf16.peak_flops_per_s")
    assert fact.at_low.peak_flops_per_s("bf16") == pytest.approx(40e12)
    assert fact.at_low.peak_flops_per_s("fp32") == 46e12
    with pytest.raises(SpecError, match=r"^mine\.toml: \[matrix\.rates\.bf16\]: a range goes from low"):
        device(edited(tmp_path, old, f'{old}, low = 50, high = 46, why = "x"'))


def test_a_range_that_moves_nothing_or_makes_no_device_is_refused(tmp_path: Path) -> None:
    old = 'lanes = { value = 128, source = "jax" }'
    with pytest.raises(SpecError, match=r"mine\.toml: \[vector\.lanes\]: a range moves nothing here; it may stand at "):
        device(edited(tmp_path, old, old.replace(" }", ', low = 64, high = 128, why = "x" }')))
    slow = HBM.replace("716", "99000")
    with pytest.raises(
        SpecError, match=r"mine\.toml: \[memory\.HBM\.bandwidth\]: no such device at 99000: .*must be faster"
    ):
        device(edited(tmp_path, HBM, slow))


def test_a_constant_of_a_runtime_has_none(tmp_path: Path) -> None:
    text = (ROOT / "runtimes" / "xla_tpu.toml").read_text(encoding="utf-8")
    old = "overlap = { value = "
    head, _, tail = text.partition(old)
    number, _, rest = tail.partition(",")
    path = tmp_path / "mine.toml"
    path.write_text(f'{head}{old}{number}, low = 0.1, high = 1.0, why = "x",{rest}', encoding="utf-8")
    with pytest.raises(SpecError, match=r"a range (belongs to a fact of a device|goes from low)"):
        runtime_file(path)


def test_a_chosen_number_has_no_range_any_more_and_one_that_follows_keeps_its_own() -> None:
    v4i = device("tpu-v4i")
    chosen = v4i.with_overrides({"cmem.bandwidth_bytes_per_s": 3e12})
    assert {f.field for f in open_facts(v4i)} - {f.field for f in open_facts(chosen)} == {"cmem.bandwidth_bytes_per_s"}
    gone = v4i.with_overrides({"cmem.capacity_bytes": 0})
    assert not any(f.field.startswith("cmem") for f in open_facts(gone))
    pro = device("rtx-pro-6000-max-q")
    faster = pro.with_overrides({"gddr7.bandwidth_bytes_per_s": pro.main_memory.bandwidth_bytes_per_s / 2})
    assert [str(f.record.low) for f in open_facts(faster)] == [str(f.record.low) for f in open_facts(pro)]


def test_an_end_that_a_variant_rules_out_stays_where_the_number_is() -> None:
    near = device("tpu-v4i").with_overrides({"hbm.bandwidth_bytes_per_s": 3.9e12})  # CMEM: 2 to 4.3 TB/s, now 4
    (fact,) = (f for f in open_facts(near) if f.field == "cmem.bandwidth_bytes_per_s")
    field = fact.field
    assert device_fields(fact.at_low)[field] == device_fields(near)[field]
    assert device_fields(fact.at_high)[field] == pytest.approx(4.3e12)


#: what nobody knows of a device is worth a range where it decides how fast a memory is
EXEMPT = {"hypothetical-cpu", "hypothetical-scalar"}  # what does not exist is what its file says


@pytest.mark.parametrize("name", [n for n in devices() if n not in EXEMPT])
def test_every_estimate_of_a_memory_has_a_range(name: str) -> None:
    bare = [q.path for q in device(name).quantities if q.path.startswith("memory.") and q.estimate and q.low is None]
    assert not bare
