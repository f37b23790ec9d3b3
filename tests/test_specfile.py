"""What a person gets wrong in a TOML file, and the one line that tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from roofline.errors import SpecError
from roofline.hardware import device

GOOD = """\
name = "mine"
title = "Mine"
vendor = "me"
kind = "tpu"
year = 2026
default_runtime = "xla"
default_dtype = "bf16"

[sources]
sheet = "datasheet of mine"

[chip]
cores = { value = 2, source = "sheet" }
clock = { value = 1000, unit = "MHz", source = "sheet" }

[matrix]
style = "systolic"
units = { value = 1, source = "sheet" }
rows = { value = 128, source = "sheet" }
cols = { value = 128, source = "sheet" }

[matrix.rates]
bf16 = { macs_per_clock = 16384, peak = 65.5, unit = "TFLOP/s", source = "sheet" }

[vector]
units = { value = 1, source = "sheet" }
lanes = { value = 128, source = "sheet" }
sublanes = { value = 8, source = "sheet" }
flops_per_op = 1
simple_per_clock = { value = 2048, source = "sheet" }
transcendental_per_clock = { value = 1024, source = "sheet" }
peak = { value = 4.1, unit = "TOP/s", source = "sheet" }

[[memory]]
name = "HBM"
role = "main"
scope = "chip"
capacity = { value = 16, unit = "GiB", source = "sheet" }
bandwidth = { value = 800, unit = "GB/s", source = "sheet" }

[[memory]]
name = "VMEM"
role = "shared"
scope = "core"
capacity = { value = 16, unit = "MiB", source = "sheet" }
bandwidth = { value = 12000, unit = "B/clk", source = "sheet" }

[runtime.xla_tpu]
matrix_fraction = { value = 0.9, unit = "fraction", source = "sheet" }
"""
CLOCK = 'clock = { value = 1000, unit = "MHz", source = "sheet" }'


def message(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        device(path)
    return str(caught.value)


def test_the_starting_point_is_good(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    mine = device(path)
    assert mine.peak_flops_per_s("bf16") == 65.5e12  # 2 x 1 x 16384 x 2 x 1 GHz = 65.54
    assert mine.memory[1].bandwidth_bytes_per_s == 2 * 12000 * 1e9
    assert mine.overrides == {"xla_tpu": {"matrix_fraction": 0.9}}


# (what to replace, by what, the whole message)
MISTAKES: dict[str, tuple[str, str, str]] = {
    "unknown key": (CLOCK, f"{CLOCK}\nclok = 1", "mine.toml: [chip]: unknown key 'clok'; nearest: 'clock'"),
    "unknown table": ("[vector]", "[vectr]\na = 1\n[vector]", "mine.toml: unknown key 'vectr'; nearest: 'vector'"),
    "unknown key in a rate": (
        "macs_per_clock",
        "mac_per_clock",
        "mine.toml: [matrix.rates.bf16]: unknown key 'mac_per_clock'; nearest: 'macs_per_clock'",
    ),
    "unknown key in a number": (
        CLOCK,
        CLOCK.replace("source", "sources"),
        "mine.toml: [chip.clock]: unknown key 'sources'; nearest: 'source'",
    ),
    "unknown key in a memory": (
        "role =",
        "rolle =",
        "mine.toml: [memory.0]: unknown key 'rolle'; nearest: 'role' (and 1 more)",
    ),
    "missing key": (
        'default_dtype = "bf16"\n',
        "",
        "mine.toml: missing key 'default_dtype'",
    ),
    "missing unit": (
        CLOCK,
        CLOCK.replace(' unit = "MHz",', ""),
        "mine.toml: [chip.clock]: frequency needs Hz, kHz, MHz, GHz; found no unit",
    ),
    "unit of another dimension": (
        CLOCK,
        CLOCK.replace("MHz", "W"),
        "mine.toml: [chip.clock]: frequency needs Hz, kHz, MHz, GHz; found unit 'W'",
    ),
    "unit of a count": (
        "value = 2, source",
        'value = 2, unit = "Hz", source',
        "mine.toml: [chip.cores]: count needs no unit (it is a count); found unit 'Hz'",
    ),
    "unknown unit": (
        CLOCK,
        CLOCK.replace("MHz", "Mhz"),
        "mine.toml: [chip.clock]: unknown unit 'Mhz'; nearest: 'MHz', 'Hz', 'kHz'",
    ),
    "unit of a rate": (
        '"TFLOP/s"',
        '"GB/s"',
        "mine.toml: [matrix.rates.bf16]: rate needs FLOP/s, GFLOP/s, TFLOP/s, TOP/s; found unit 'GB/s'",
    ),
    "fraction over 1": (
        "value = 0.9",
        "value = 1.2",
        "mine.toml: [runtime.xla_tpu.matrix_fraction]: a fraction may not exceed 1, got 1.2",
    ),
    "fraction of nothing": (
        "value = 0.9",
        "value = 0",
        "mine.toml: [runtime.xla_tpu.matrix_fraction]: must be above 0, got 0.0",
    ),
    "no source": (
        CLOCK,
        CLOCK.replace(', source = "sheet"', ""),
        "mine.toml: [chip.clock]: give either source (a key of [sources]) or estimate (the reasoning)",
    ),
    "a bare number": (
        CLOCK,
        "clock = 940",
        "mine.toml: [chip.clock]: a number needs its source: { value = ..., unit = ..., source = ... }, got 940",
    ),
    "unknown source": (
        CLOCK,
        CLOCK.replace("sheet", "sheat"),
        "mine.toml: [chip.clock]: unknown source 'sheat'; nearest: 'sheet'",
    ),
    "unknown source of a rate": (
        'unit = "TFLOP/s", source = "sheet"',
        'unit = "TFLOP/s", source = "paper"',
        "mine.toml: [matrix.rates.bf16.peak]: unknown source 'paper'; allowed: 'sheet'",
    ),
    "text for a number": (
        "value = 1000",
        'value = "1000"',
        "mine.toml: [chip.clock.value]: Input should be a valid number, got '1000'",
    ),
    "negative": (
        "value = 1000",
        "value = -1000",
        "mine.toml: [chip.clock]: value must be finite and not negative, got -1000.0",
    ),
    "not a number": (
        "value = 1000",
        "value = nan",
        "mine.toml: [chip.clock]: value must be finite and not negative, got nan",
    ),
    "half a core": ("value = 2,", "value = 2.5,", "mine.toml: [chip.cores]: must be a whole number, got 2.5"),
    "no array": (
        'rows = { value = 128, source = "sheet" }\n',
        "",
        "mine.toml: [matrix]: style 'systolic' needs rows and cols",
    ),
    "an array of a tensor core": (
        '"systolic"',
        '"tensorcore"',
        "mine.toml: [matrix]: style 'tensorcore' has no rows and cols",
    ),
    "half a tile": (
        'sublanes = { value = 8, source = "sheet" }\n',
        "",
        "mine.toml: [vector]: lanes and sublanes are stated together, or neither where memory is linear",
    ),
    "no tile": (
        'lanes = { value = 128, source = "sheet" }\nsublanes = { value = 8, source = "sheet" }\n',
        "",
        "mine.toml: [vector]: kind 'tpu' needs lanes and sublanes, the tile of its memory layout (128 and 8 up to "
        "TPU v7x)",
    ),
    "unknown style": (
        '"systolic"',
        '"systolik"',
        "mine.toml: [matrix.style]: Input should be 'systolic' or 'tensorcore', got 'systolik'",
    ),
    "unknown dtype": ("\nbf16 =", "\nbf61 =", "mine.toml: [matrix]: unknown dtype 'bf61' in rates; nearest: 'bf16'"),
    "default without rate": (
        'default_dtype = "bf16"',
        'default_dtype = "fp16"',
        "mine.toml: default_dtype 'fp16' has no rate; nearest: 'bf16'",
    ),
    "peak off by 5 %": (
        "peak = 65.5",
        "peak = 68.8",
        "mine.toml: [matrix.rates.bf16]: peak 68.8 TFLOP/s is +5.0 % off cores x units x macs_per_clock x 2 x clock = "
        "65.54 TFLOP/s; correct one of them (1 % is allowed) or give a peak_reason",
    ),
    "vector peak off": (
        "value = 4.1,",
        "value = 8.2,",
        "mine.toml: [vector.peak]: peak 8.2 TFLOP/s is +100.2 % off cores x units x simple_per_clock x flops_per_op x "
        "clock = 4.096 TFLOP/s; correct one of them (1 % is allowed) or give a peak_reason",
    ),
    "no clock": (
        f"{CLOCK}\n",
        "",
        "mine.toml: [matrix.rates.bf16]: the peak cannot be checked: give a clock, or a peak_reason",
    ),
    "no rate per clock": (
        "macs_per_clock = 16384, ",
        "",
        "mine.toml: [matrix.rates.bf16]: the peak cannot be checked: give macs_per_clock, or a peak_reason",
    ),
    "array and rate disagree": (
        "rows = { value = 128",
        "rows = { value = 182",
        "mine.toml: [matrix.rates.bf16]: macs_per_clock must be a multiple or a fraction of rows x cols, got 0.7033 x",
    ),
    "slow near memory": (
        "value = 12000,",
        "value = 120,",
        "mine.toml: [memory.VMEM.bandwidth]: nearer memory must be faster, per chip: VMEM 240 GB/s, HBM 800 GB/s",
    ),
    "large near memory": (
        'value = 16, unit = "MiB"',
        'value = 16, unit = "GiB"',
        "mine.toml: [memory.VMEM.capacity]: nearer memory must be smaller, per core: VMEM 1.718e+10 B, HBM 1.718e+10 B",
    ),
    "near before far": (
        'role = "shared"',
        'role = "main"',
        "mine.toml: [memory]: the first level, and no other, has role 'main'; got 'main', 'main'",
    ),
    "recalled estimate": (
        CLOCK,
        CLOCK.replace('source = "sheet"', 'estimate = "as others", recalled = true'),
        "mine.toml: [chip.clock]: recalled goes with a source, not with an estimate",
    ),
    "override of nothing": (
        "runtime.xla_tpu",
        "runtime.xla_tpuu",
        "mine.toml: [runtime.xla_tpuu]: unknown runtime 'xla_tpuu'; nearest: 'xla_tpu', 'xla_gpu'",
    ),
    "a fact as override": (
        "matrix_fraction",
        "clock_fraction",
        "mine.toml: [runtime.xla_tpu]: unknown key 'clock_fraction'; nearest: 'clock_ratio', 'lane_fraction', "
        "'convolution_fraction'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_was_allowed(mistake: str, tmp_path: Path) -> None:
    old, new, expected = MISTAKES[mistake]
    assert old in GOOD
    assert message(tmp_path, GOOD.replace(old, new, 1)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD.replace(CLOCK, f"{CLOCK}\n{CLOCK}"), "Cannot overwrite a value (at line 15"),  # a key listed twice
        (GOOD + "\n[chip]\n", "Cannot declare ('chip',) twice (at line"),
        ("name = ", "Invalid value (at"),
    ],
)
def test_what_is_not_toml_is_one_line(text: str, expected: str, tmp_path: Path) -> None:
    found = message(tmp_path, text)
    assert found.startswith("mine.toml: not valid TOML: ")
    assert expected in found
    assert "\n" not in found


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match=r"^cannot read .*mine\.toml': not a text file$"):
        device(path)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.toml").mkdir()
    with pytest.raises(SpecError, match=r"^cannot read .*x\.toml': Is a directory$"):
        device(tmp_path / "x.toml")


def test_a_peak_reason_lets_the_published_peak_rule(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = GOOD.replace("peak = 65.5", 'peak_reason = "why", peak = 70').replace(
        "[vector]\n", '[vector]\npeak_reason = "why"\n'
    )
    path.write_text(text, encoding="utf-8")
    assert device(path).peak_flops_per_s("bf16") == 70e12
