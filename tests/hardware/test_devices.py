"""Every file of hardware_specs/ is put through one battery; a new device is tested the day it lands."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from roofline.dtypes import DTYPES
from roofline.errors import InputError, SpecError, UnknownNameError
from roofline.hardware import Device, device, devices
from roofline.names import key
from roofline.paths import data_files

NAMES = devices()
SCALE = {"MHz": 1e6, "GHz": 1e9, "GFLOP/s": 1e9, "TFLOP/s": 1e12, "TOP/s": 1e12}


@cache
def raw(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "hardware_specs" / f"{name}.toml").read_text(encoding="utf-8"))


def si(table: dict[str, Any]) -> float:
    return float(table["value"]) * SCALE[table["unit"]]


def test_the_promised_devices_are_shipped() -> None:
    promised = """tpu-v2 tpu-v3 tpu-v4i tpu-v4 tpu-v5e tpu-v5p tpu-v6e tpu-v7x v100 t4 a100-40gb a100-80gb a10g l4 l40s
        rtx-3090 rtx-4090 rtx-5090 rtx-pro-6000-max-q h100-sxm h100-pcie h200 b200 mi210 mi300x"""
    assert set(promised.split()) <= set(NAMES)


def test_no_two_devices_share_a_spelling() -> None:
    spellings = [key(spelling) for name in NAMES for spelling in (name, *device(name).aliases)]
    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_under_its_file_name(name: str) -> None:
    spec = device(name)
    assert spec.name == name
    assert hash(spec) == hash(device(name))
    assert all(device(alias) is spec for alias in spec.aliases)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_complete(name: str) -> None:
    spec = device(name)
    assert spec.default_dtype in spec.matrix.rates
    assert set(spec.matrix.rates) <= set(DTYPES)
    assert spec.cores >= 1
    assert spec.main_memory.role == "main"
    assert len(spec.memory) > 1 or spec.vendor == "amd"  # something on chip is always known
    assert 0 < spec.vector_transcendental_ops_per_s < spec.vector_simple_ops_per_s
    assert (spec.matrix.rows is None) == (spec.matrix.style == "tensorcore")
    if runtimes := data_files("runtimes"):
        assert spec.default_runtime in runtimes or spec.default_runtime == "xla"


@pytest.mark.parametrize("name", NAMES)
def test_published_peaks_follow_from_units_times_clock(name: str) -> None:
    spec, file = device(name), raw(name)
    cores = file["chip"]["cores"]["value"]
    for dtype, rate in file["matrix"]["rates"].items():
        peak = rate["peak"] * SCALE[rate["unit"]]
        assert spec.peak_flops_per_s(dtype) == peak
        engine = file[rate.get("runs_on", "matrix")]
        if "peak_reason" in rate or "peak_reason" in engine:
            continue
        clock_hz = si(engine.get("clock", file["chip"].get("clock")))
        derived = 2 * rate["macs_per_clock"] * engine["units"]["value"] * cores * clock_hz
        assert peak == pytest.approx(derived, rel=0.01), dtype
    vector = file["vector"]
    assert spec.vector.peak_flops_per_s == si(vector["peak"])
    if "peak_reason" not in vector:
        lanes = cores * vector["units"]["value"] * vector["simple_per_clock"]["value"]
        derived = lanes * vector["flops_per_op"] * si(vector.get("clock", file["chip"].get("clock")))
        assert si(vector["peak"]) == pytest.approx(derived, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_nearer_memory_is_faster_and_smaller(name: str) -> None:
    spec = device(name)
    share = {"chip": 1, "core": spec.cores, "unit": spec.cores * spec.vector.units}
    for far, near in zip(spec.memory, spec.memory[1:], strict=False):
        assert near.bandwidth_bytes_per_s > far.bandwidth_bytes_per_s
        assert near.capacity_bytes / share[near.scope] < far.capacity_bytes / share[far.scope]


# ---- facts by hand


def test_v100_by_hand() -> None:
    v100 = device("v100")
    tensor = 80 * 512 * 2 * 1.53e9  # 80 SM x 8 tensor cores x 64 FMA
    assert tensor == pytest.approx(125.3e12, rel=1e-3)
    assert v100.peak_flops_per_s("fp16") == pytest.approx(tensor, rel=0.01)
    assert v100.vector_simple_ops_per_s == pytest.approx(80 * 64 * 1.53e9, rel=0.01)
    assert v100.vector_transcendental_ops_per_s == pytest.approx(80 * 16 * 1.53e9, rel=0.01)
    local = v100.memory[-1]
    assert local.capacity_bytes == 80 * 96 * 1024
    assert local.bandwidth_bytes_per_s == pytest.approx(80 * 128 * 1.53e9)  # 15.7 TB/s


def test_tpu_v3_by_hand() -> None:
    v3 = device("tpu-v3")
    assert v3.peak_flops_per_s("bfloat16") == 123e12  # 2 cores x 2 MXU x 128 x 128 x 2 x 940 MHz = 123.2
    assert v3.vector_simple_ops_per_s == pytest.approx(
        2 * 8 * 128 * 2 * 940e6, rel=0.01
    )  # cores, sublanes, lanes, ALUs
    assert v3.vector_transcendental_ops_per_s == pytest.approx(2 * 8 * 128 * 940e6, rel=0.01)  # a slot
    assert (v3.cores, v3.main_memory.capacity_bytes, v3.main_memory.bandwidth_bytes_per_s) == (2, 32 * 2**30, 900e9)
    assert v3.shared_memory == ()  # between kernels, tensors are in HBM
    assert [(level.name, level.role) for level in v3.memory] == [("HBM", "main"), ("VMEM", "local")]
    assert v3.memory[1].capacity_bytes == 2 * 16 * 2**20


def test_tpu_v4i_has_more_mxu_and_less_vector_than_v2() -> None:
    v2, v4i = device("tpu-v2"), device("tpu-v4i")
    assert v4i.peak_flops_per_s("bf16") / v2.peak_flops_per_s("bf16") == pytest.approx(3, rel=0.01)
    assert v4i.vector_simple_ops_per_s < v2.vector_simple_ops_per_s
    assert [level.name for level in v4i.shared_memory] == ["CMEM"]


def test_a_megacore_sums_its_tensorcores() -> None:
    v4 = device("tpu-v4")
    assert (v4.cores, v4.matrix.units, v4.vector.units) == (1, 8, 2)


def test_hypothetical_processors_by_hand() -> None:
    scalar, cpu = device("hypothetical-scalar"), device("hypothetical-cpu")
    assert scalar.peak_flops_per_s("fp32") == 2 * 1e9 == 2 * scalar.vector_simple_ops_per_s
    assert cpu.peak_flops_per_s("fp32") == 2 * 16 * 2 * 16 * 2.5e9  # processors x SIMD units x lanes, 2 FLOP each
    assert cpu.memory[-1].bandwidth_bytes_per_s == 16 * 64 * 2.5e9


def test_unpublished_clocks_stay_unknown() -> None:
    for name in ("tpu-v6e", "tpu-v7x"):
        assert device(name).matrix.clock_hz is None
        assert device(name).matrix.peak_reason


def test_geforce_accumulates_in_fp32() -> None:
    assert device("rtx-3090").peak_flops_per_s("fp16") == 71.2e12  # not the advertised 142.3


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("v100", "bf16"), ("t4", "bf16"), ("v100", "tf32"), ("tpu-v2", "int8"), ("tpu-v3", "int8"), ("tpu-v7x", "int8"),
     ("tpu-v3", "fp16"), ("a100-40gb", "fp8")],
)  # fmt: skip
def test_a_dtype_the_device_lacks_is_refused(name: str, dtype: str) -> None:
    with pytest.raises(InputError, match=f"^device '{name}' has no dtype '{dtype}'; it has '(bf16|fp16)'"):
        device(name).peak_flops_per_s(dtype)


# ---- names and paths


@pytest.mark.parametrize("spelling", ["tpu-v3", "TPUv3", "tpu_v3", "TPU V3", "google-tpu-v3"])
def test_any_spelling_will_do(spelling: str) -> None:
    assert device(spelling) is device("tpu-v3")


@pytest.mark.parametrize(
    ("alias", "name"), [("A100", "a100-40gb"), ("h100", "h100-sxm"), ("V100-SXM2", "v100"), ("Trillium", "tpu-v6e")]
)
def test_aliases(alias: str, name: str) -> None:
    assert device(alias).name == name


@pytest.mark.parametrize("name", ["tpu-v33", "h10O", "", "---"])
def test_an_unknown_device_shows_the_nearest(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown device .*; (nearest|allowed): '") as caught:
        device(name)
    assert "\n" not in str(caught.value)


def test_a_device_is_accepted_as_it_is() -> None:
    t4 = device("t4")
    assert device(t4) is t4


@pytest.mark.parametrize("nonsense", [None, 3, 2.5, ["t4"]])
def test_what_is_neither_name_nor_path_is_refused(nonsense: Any) -> None:
    with pytest.raises(InputError, match=r"^device must be a name, a path or a Device, got "):
        device(nonsense)


def test_a_path_is_read_again_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = (ROOT / "hardware_specs" / "t4.toml").read_text(encoding="utf-8").replace('name = "t4"', 'name = "mine"')
    path.write_text(text, encoding="utf-8")
    assert device(path).name == device(str(path)).name == "mine"
    path.write_text(text.replace('name = "mine"', 'name = "other"'), encoding="utf-8")
    assert device(path).name == "other"


def test_a_missing_path_is_one_line() -> None:
    with pytest.raises(SpecError, match=r"cannot read 'nowhere/x.toml': No such file or directory"):
        device("nowhere/x.toml")


def test_a_device_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        device("t4").cores = 2  # type: ignore[misc]


def test_the_example_of_the_docs_loads(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "adding-a-device.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 1
    path = tmp_path / "example-1.toml"
    path.write_text(blocks[0], encoding="utf-8")
    example = device(path)
    assert isinstance(example, Device)
    assert example.peak_flops_per_s("fp16") == 154e12  # 100 x 512 x 2 x 1.5 GHz = 153.6
    assert [record.path for record in example.quantities if record.recalled] == ["memory.shared memory.bandwidth"]
