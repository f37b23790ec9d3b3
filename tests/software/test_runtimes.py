"""Shipped runtimes: they load, say where their numbers are from, and differ as software stacks do."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from families import SAMPLE

import roofline as rf
from roofline.errors import InputError, SpecError, UnknownNameError
from roofline.families import FAMILIES
from roofline.paths import data_files
from roofline.quantity import Quantity
from roofline.software.load import runtime_file
from roofline.software.spec import Runtime

each_runtime = pytest.mark.parametrize("name", rf.runtimes())


@each_runtime
def test_constants_are_possible(name: str) -> None:
    runtime = rf.runtime(name)
    assert runtime.name == name and runtime.title
    for share in ("matrix_fraction", "vector_fraction", "bandwidth_fraction", "nchw_fraction"):
        assert 0 < getattr(runtime, share) <= 1, share
    for share in ("overlap", "residency_share", "tap_folding"):
        assert 0 <= getattr(runtime, share) <= 1, share
    for time in ("program_s", "host_s", "floor_s", "memory_latency_s"):
        assert 0 <= getattr(runtime, time) < 1e-3, f"{time}: launches take microseconds"
    assert set(runtime.epilogue) <= set(FAMILIES) and set(runtime.prologue) <= set(FAMILIES)
    assert set(runtime.device_kinds) <= {"tpu", "gpu", "cpu"} and runtime.device_kinds


def quantities(spec: object) -> list[Quantity]:
    found: list[Quantity] = []
    for value in vars(spec).values():
        if isinstance(value, Quantity):
            found.append(value)
        elif hasattr(value, "model_fields_set"):
            found += quantities(value)
    return found


@each_runtime
def test_every_number_has_a_source_or_a_reason(name: str) -> None:
    file = runtime_file(name)
    found = quantities(file)
    assert len(found) >= 15
    for quantity in found:
        assert (quantity.source in file.sources) != bool(quantity.estimate), quantity
    assert file.fusion.why


@each_runtime
def test_every_device_it_runs_on_simulates(name: str) -> None:
    runtime = rf.runtime(name)
    for device in rf.devices():
        if rf.device(device).kind in runtime.device_kinds:
            assert rf.simulate("resnet-18", device, runtime=name).latency_s > 0
        else:
            with pytest.raises(InputError, match=f"runtime '{name}' does not run on a"):
                rf.simulate("resnet-18", device, runtime=name)


@pytest.mark.parametrize("device", rf.devices())
def test_the_default_runtime_of_a_device_runs_there(device: str) -> None:
    spec = rf.device(device)
    assert spec.kind in rf.runtime(spec.default_runtime, spec.kind).device_kinds
    assert set(spec.overrides) <= set(rf.runtimes()), "an override of a runtime that is not shipped has no effect"


def test_xla_means_the_one_of_the_device() -> None:
    assert rf.runtime("xla", "tpu").name == rf.runtime("XLA").name == "xla_tpu"
    assert rf.runtime("xla", "gpu").name == "xla_gpu"
    assert rf.simulate("resnet-18", "v100", runtime="xla").runtime == "xla_gpu"
    assert rf.simulate("resnet-18", "tpu-v3", runtime="xla").runtime == "xla_tpu"
    with pytest.raises(InputError, match="does not run on a cpu; allowed: 'native'"):
        rf.simulate("resnet-18", "hypothetical-cpu", runtime="xla")


@pytest.mark.parametrize("name", SAMPLE)
def test_compilers_are_faster_than_eager_execution(name: str) -> None:
    """The order that every comparison of these stacks finds at small batches."""
    stacks = ("tensorrt", "pytorch_compile", "pytorch_eager")
    best, compiled, eager = rf.simulate_many(
        [{"model": name, "device": "a100-40gb", "runtime": r, "dtype": "fp16"} for r in stacks]
    )
    assert best.latency_s < compiled.latency_s < eager.latency_s
    assert len(best.kernels) <= len(compiled.kernels) < len(eager.kernels)  # a decoder has nothing more to fold


def test_eager_execution_is_bound_by_its_host_at_batch_one() -> None:
    report = rf.simulate("efficientnet-b0", "a100-40gb", runtime="pytorch_eager")
    assert report.host_s > report.device_s and report.bound == "overhead"
    assert report.latency_s == report.program_s + report.host_s
    large = rf.simulate("efficientnet-b0", "a100-40gb", runtime="pytorch_eager", batch=256)
    assert large.device_s > large.host_s == report.host_s


@pytest.mark.parametrize("device", ["v100", "t4"])
def test_layout_has_an_effect_where_the_runtime_says_so(device: str) -> None:
    last = rf.simulate("resnet-50", device, runtime="pytorch_eager", batch=32, layout="nhwc")
    first = rf.simulate("resnet-50", device, runtime="pytorch_eager", batch=32, layout="nchw")
    assert first.latency_s > last.latency_s and (first.layout, last.layout) == ("nchw", "nhwc")
    on_tpu = [rf.simulate("resnet-50", "tpu-v3", batch=32, layout=x).latency_s for x in ("nhwc", "nchw")]
    assert on_tpu[0] == on_tpu[1], "XLA assigns layouts itself"


def test_a_runtime_is_a_value() -> None:
    names = {f.name for f in fields(Runtime)}
    assert {"epilogue", "matrix_fraction", "overlap"} <= names
    first, second = rf.runtime("xla_tpu"), rf.runtime("xla-tpu")
    assert first == second and hash(first) == hash(second)


# files ---------------------------------------------------------------------------------------------------------------


def edited(tmp_path: Path, old: str, new: str) -> Path:
    text = data_files("runtimes")["xla_tpu"].read_text()
    assert text.count(old) == 1, old
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new))
    return path


def test_a_runtime_of_ones_own(tmp_path: Path) -> None:
    path = edited(tmp_path, 'name = "xla_tpu"', 'name = "mine"')
    shipped, own = rf.simulate("resnet-18", "tpu-v3"), rf.simulate("resnet-18", "tpu-v3", runtime=path)
    assert own.runtime == "mine" and own.latency_s == shipped.latency_s


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("overlap = {", "overlapp = {", "overlapp"),
        ("overlap = { value = 0", "overlap = { value = 1", "1.95"),
        ('residency_share = { value = 0.75, unit = "fraction"', "residency_share = { value = 0.75", "unit"),
        (
            'conversion_ops = { value = 1, source = "scaling"',
            "conversion_ops = { value = 1",
            "source",
        ),
        ('source = "pallas"', 'source = "somebody"', "somebody"),
        ('program = { value = 100, unit = "us"', 'program = { value = 100, unit = "GB"', "GB"),
        ('device_kinds = ["tpu"]', 'device_kinds = ["fpga"]', "device_kinds"),
        ('attention = "decomposed"', 'attention = "flashed"', "attention"),
        ("[launch]\n", "[launch]\nprogram = 1\n", "Cannot overwrite a value"),  # a key twice
        ('title = "XLA on TPU"\n', "", "title"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(SpecError) as caught:
        rf.simulate("resnet-18", "tpu-v3", runtime=path)
    text = str(caught.value)
    assert "mine.toml" in text and message in text and "\n" not in text


def test_an_unknown_runtime_shows_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown runtime 'tensorrrt'; nearest: 'tensorrt'"):
        rf.runtime("tensorrrt")
