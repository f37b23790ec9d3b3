"""The oracle against `simulate`, on random genomes, devices, runtimes, precisions and batches; and its files."""

from __future__ import annotations

import csv
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cold import ColdOracle
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline as rf
from roofline.arch.block import out_ports
from roofline.arch.build import instances
from roofline.errors import InputError, RooflineError
from roofline.search.oracle import lut
from roofline.search.oracle.entries import FEW, entries_in
from roofline.search.oracle.keys import key
from roofline.search.oracle.latency import Oracle
from roofline.search.space.base import BaseSpace

#: device -> runtime, precision: one and two cores, systolic and not, fused and op by op, casts that follow the ops
CASES: list[tuple[str, str | None, str | None]] = [
    ("tpu-v3", None, None),
    ("tpu-v4i", None, "int8"),
    ("v100", "pytorch_eager", "amp_fp16"),
    ("a100-40gb", "pytorch_compile", "amp_bf16"),
    ("v100", "tensorflow", "fp16"),
    ("h100-sxm", "tensorrt", "fp16"),
    ("a100-40gb", "xla_gpu", "bf16"),
]
EXACT = 1e-9


@lru_cache(maxsize=2)
def small(name: str) -> BaseSpace:
    """A part of a space with every kind of choice, and tables that are built fast."""
    space = rf.search_space(name)
    if name == "efficientnet-x":
        kept: dict[str, list[Any]] = {f"s{i}_repeats": [2, 3] for i in range(1, 7)} | {"image_size": [192, 224]}
        kept |= {f"s{i}_width": list(space.choices[space.gene(f"s{i}_width")].values[1:2]) for i in range(1, 7)}
        return space.restricted(kept)
    if name == "resnet":
        return space.restricted({"s2_repeats": [2, 4], "image_size": [160, 224], "s1_width": [256], "s2_width": [512]})
    return (
        space.restricted({"width": [192, 256], "image_size": [160, 224], "depth": [6, 7]}) if name == "vit" else space
    )


def agrees(space: str, devices: dict[str, tuple[str | None, str | None]], batch: int, seed: int, count: int) -> None:
    runtime = {d: r for d, (r, _) in devices.items() if r}
    dtype = {d: t for d, (_, t) in devices.items() if t}
    oracle = Oracle(small(space), list(devices), batch=batch, runtime=runtime, dtype=dtype)
    genomes = oracle.space.sample(count, seed=seed)
    latency, traffic = oracle.latency_s(genomes), oracle.traffic_bytes(genomes)
    memory, macs, params = oracle.peak_memory_bytes(genomes), oracle.macs(genomes), oracle.params(genomes)
    cold = ColdOracle(oracle).latency_s(genomes)
    for i, genome in enumerate(genomes):
        arch = oracle.space.decode(genome)
        for d, device in enumerate(devices):
            report = rf.simulate(arch, device, batch=batch, runtime=runtime.get(device), dtype=dtype.get(device))
            wanted = [report.latency_s, report.traffic_bytes, report.peak_memory_bytes, report.macs, report.params]
            found = [latency[i, d], traffic[i, d], memory[i, d], macs[i], params[i]]
            np.testing.assert_allclose(found, wanted, rtol=EXACT)
            assert cold[i, d] == pytest.approx(report.latency_s, rel=EXACT)


@settings(max_examples=20)
@given(
    space=st.sampled_from(["accel-nasbench", "accel-nasbench", "resnet"]),
    case=st.sampled_from(CASES),
    batch=st.sampled_from([1, 2, 7, 33, 128]),
    seed=st.integers(0, 2**31),
)
def test_equals_simulate(space: str, case: tuple[str, str | None, str | None], batch: int, seed: int) -> None:
    device, runtime, dtype = case
    agrees(space, {device: (runtime, dtype)}, batch, seed, 2)


@pytest.mark.parametrize("space", ["efficientnet-x", "vit"])
def test_equals_simulate_in_the_large_spaces(space: str) -> None:
    agrees(space, {"tpu-v3": (None, None), "v100": ("pytorch_eager", "amp_fp16")}, batch=3, seed=11, count=6)


def test_the_paths_of_a_space_are_all_exact() -> None:
    """Every option of every gene at least once, stems that reshape included."""
    oracle = Oracle(small("efficientnet-x"), "tpu-v3", batch=5)
    base = oracle.space.sample(1, seed=8)[0]
    rows = [base]
    for gene, size in enumerate(oracle.space.sizes):
        for option in range(size):
            row = base.copy()
            row[gene] = option
            rows.append(row)
    genomes = np.unique(np.array(rows), axis=0)
    wanted = [
        r.latency_s
        for r in rf.simulate_many([{"model": oracle.space.decode(g), "device": "tpu-v3", "batch": 5} for g in genomes])
    ]
    np.testing.assert_allclose(oracle.latency_s(genomes)[:, 0], wanted, rtol=EXACT)


def test_an_input_size_for_all() -> None:
    oracle = Oracle("accel-nasbench", "tpu-v3", batch=4, image_size=160)
    genome = oracle.space.sample(1)
    report = rf.simulate(oracle.space.decode(genome[0]), "tpu-v3", batch=4, image_size=160)
    assert oracle.latency_s(genome)[0, 0] == pytest.approx(report.latency_s, rel=EXACT)
    with pytest.raises(InputError, match="chooses its own input size"):
        Oracle("efficientnet-x", "tpu-v3", image_size=160).build()


def test_several_devices_and_one_device_agree() -> None:
    both = Oracle("accel-nasbench", ["tpu-v3", "v100"], batch={"tpu-v3": 8, "v100": 4})
    genomes = both.space.sample(50)
    apart = [Oracle("accel-nasbench", d, batch=b).latency_s(genomes) for d, b in (("tpu-v3", 8), ("v100", 4))]
    np.testing.assert_array_equal(both.latency_s(genomes), np.hstack(apart))
    np.testing.assert_array_equal(both.build().only("v100").latency_s(genomes), apart[1])


def test_no_python_per_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many candidates take as many calls as one."""
    oracle = Oracle("accel-nasbench", "tpu-v3").build()
    monkeypatch.setattr(type(oracle.space), "decode", None)
    assert oracle.latency_s(oracle.space.sample(300_000)).shape == (300_000, 1)
    assert oracle.latency_s(oracle.space.sample(0)).shape == (0, 1)


def test_integers_of_any_width_are_taken() -> None:
    oracle = Oracle("accel-nasbench", "tpu-v3")
    genomes = oracle.space.sample(10)
    for kind in (np.uint8, np.int32, np.int64):
        np.testing.assert_array_equal(oracle.latency_s(genomes.astype(kind)), oracle.latency_s(genomes))
    np.testing.assert_array_equal(oracle.latency_s(np.asfortranarray(genomes)), oracle.latency_s(genomes))


def test_the_table_knows_published_parameter_counts() -> None:
    oracle = Oracle("accel-nasbench", "v100")
    genome = oracle.space.encode(rf.model("accel-nasbench-2274"))[None]
    assert oracle.params(genome)[0] == 5_885_624  # as the benchmark publishes it


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch": True}, {"cores": 3}, {"dtype": "fp17"}, {"layout": "x"}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(rf.RooflineError):
        Oracle("accel-nasbench", "tpu-v3", **options)


def test_devices_that_are_not_asked_are_refused() -> None:
    with pytest.raises(InputError, match="batch names device 'tpu-v2', which is not simulated"):
        Oracle("accel-nasbench", ["tpu-v3"], batch={"tpu-v2": 8})
    with pytest.raises(InputError, match="at least one device"):
        Oracle("accel-nasbench", [])


def test_forbidden_genomes_have_no_latency() -> None:
    oracle = Oracle(small("vit"), "tpu-v3")
    mapping = oracle.space.mapping(oracle.space.sample(1)[0]) | {"width": 256, "heads": 3}
    with pytest.raises(InputError, match="forbids"):
        oracle.latency_s(oracle.space.encode(mapping)[None])


# files ------------------------------------------------------------------------------


def test_tables_are_saved_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = Oracle("accel-nasbench", ["tpu-v3", "v100"], batch=8)
    path = oracle.save(tmp_path / "t.npz")
    other = Oracle("accel-nasbench", ["tpu-v3", "v100"], batch=8).load(path)
    monkeypatch.setattr("roofline.search.oracle.latency.walk", None)  # nothing is built again
    genomes = oracle.space.sample(100)
    np.testing.assert_array_equal(other.latency_s(genomes), oracle.latency_s(genomes))
    np.testing.assert_array_equal(other.peak_memory_bytes(genomes), oracle.peak_memory_bytes(genomes))


@pytest.mark.parametrize(
    ("space", "device", "options", "word"),
    [
        ("accel-nasbench", "v100", {"batch": 8}, "devices"),
        ("accel-nasbench", "tpu-v3", {"batch": 16}, "options"),
        ("resnet", "tpu-v3", {"batch": 8}, "space"),
        ("accel-nasbench", "tpu-v3", {"batch": 8, "image_size": 192}, "image size"),
    ],
)
def test_stale_tables_are_refused(tmp_path: Path, space: str, device: str, options: dict[str, Any], word: str) -> None:
    path = Oracle("accel-nasbench", "tpu-v3", batch=8).save(tmp_path / "t.npz")
    with pytest.raises(InputError, match=f"stale: it was built for another .*{word}"):
        Oracle(space, device, **options).load(path)


def test_tables_of_another_version_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Oracle("accel-nasbench", "tpu-v3").save(tmp_path / "t.npz")
    monkeypatch.setattr("roofline.search.oracle.latency.code_hash", lambda *modules: "0.0.0")
    with pytest.raises(InputError, match="another version"):
        Oracle("accel-nasbench", "tpu-v3").load(path)


@pytest.mark.parametrize("content", [b"", b"no table", b"PK\x03\x04 cut short"])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot read"):
        Oracle("accel-nasbench", "tpu-v3").load(path)
    with pytest.raises(InputError, match="cannot read"):
        Oracle("accel-nasbench", "tpu-v3").load(tmp_path / "missing.npz")


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300, -1.0])
def test_columns_that_are_no_times_are_refused(tmp_path: Path, value: float) -> None:
    path = Oracle("accel-nasbench", "tpu-v3").save(tmp_path / "t.npz")
    with np.load(path) as file:
        arrays = dict(file)
    column = next(array for name, array in arrays.items() if name != "head")
    column[0] = value
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"cannot read tables from .* numbers outside 0 to 1e"):
        Oracle("accel-nasbench", "tpu-v3").load(path)


# look-up tables -----------------------------------------------------------------------


def test_blocks_of_a_lut_add_up_to_the_network(tmp_path: Path) -> None:
    """A network by hand: its blocks' keys, looked up and added, and the program."""
    oracle = Oracle("accel-nasbench", "tpu-v3", batch=2)
    lut.write(oracle, tmp_path / "t.json")
    table = json.loads((tmp_path / "t.json").read_text())
    times = {row["key"]: row["device_ms"] for row in table["rows"]}
    assert len(times) == len(table["rows"]), "keys name blocks"
    genome = oracle.space.sample(1, seed=2)
    target = oracle.targets[0]
    placed = instances(oracle.space.decode(genome[0]), target.core_batch)
    total = sum(times[key(i.block, i.inputs, i.outputs)] for i in placed) + table["program_ms"]
    assert total == pytest.approx(oracle.latency_s(genome)[0, 0] * 1e3, rel=1e-9)


def test_luts_are_written_in_every_format(tmp_path: Path) -> None:
    oracle = Oracle("accel-nasbench", "v100")
    count = lut.write(oracle, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open() as file:
        assert len(list(csv.DictReader(file))) == count
    assert lut.write(oracle, tmp_path / "t.yaml") == count
    lines = [line for line in (tmp_path / "t.yaml").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == count + 1  # and the program
    wanted = r'"expanded_conv-input:112x112x32-output:112x112x16-expand:1-kernel:3-stride:1-idskip:0-se:0-act:relu"'
    assert sum(bool(re.match(wanted + r": \{mean: [0-9.e-]+, host: [0-9.e-]+\}$", line)) for line in lines) == 1
    assert lut.write(oracle, tmp_path / "s.csv", by="stage") == 36 * 6 + 48 + 2  # stages' choices, stem and head


def test_bad_lut_requests_are_refused(tmp_path: Path) -> None:
    oracle = Oracle("accel-nasbench", "v100")
    with pytest.raises(InputError, match=r"allowed: \.csv"):
        lut.write(oracle, tmp_path / "t.xlsx")
    with pytest.raises(InputError, match="by='block'"):
        lut.write(oracle, tmp_path / "t.yaml", by="stage")
    with pytest.raises(InputError, match="one device"):
        lut.write(Oracle("accel-nasbench", ["v100", "t4"]), tmp_path / "t.csv")


def test_a_stage_drops_the_genes_it_does_not_hear() -> None:
    oracle = Oracle(rf.search_space("efficientnet-x").restricted({f"s{i}_kernel": [3] for i in range(7)}), "tpu-v3")
    target = oracle.targets[0]
    found = {s.stage: s for s in oracle.walked(target).segments}
    names = [oracle.space.names[g] for g in found["s3"].genes]
    assert "s2_width" in names and "image_size" in names
    assert "stem" not in names and "s1_width" not in names and "s2_op" not in names


@pytest.mark.parametrize("name", rf.models())
def test_blocks_a_period_apart_are_equal(name: str) -> None:
    """What a walk takes for granted from the second block of a stage on: `Stage.period`."""
    arch = rf.model(name)
    inputs = {i.stage: i.inputs for i in reversed(instances(arch, 1))}
    for stage in arch.stages:
        longer = stage.model_copy(update={"repeats": 9})
        try:
            ports = out_ports(longer.make(0, inputs[stage.name]), inputs[stage.name])
            blocks = [longer.make(index, ports) for index in range(1, 8)]
        except RooflineError:  # no block fits behind the first
            continue
        assert all(a == b for a, b in zip(blocks, blocks[stage.period :], strict=False)), stage.name


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint16])
@pytest.mark.parametrize("sizes", [(3, 2, 4, 5, 3, 2, 6, 2), (3, 7, 2), (100, 90, 80, 2), (127, 127, 127, 9, 2)])
def test_entries_are_positions_in_tables(dtype: Any, sizes: tuple[int, ...]) -> None:
    """Turned round as words or as a product, for any length and format: what NumPy itself calls the place."""
    rng = np.random.default_rng(0)
    genomes = np.stack([rng.integers(0, size, 5000) for size in sizes], axis=1).astype(dtype)
    heard: list[tuple[int, ...]] = [(), (0,), tuple(range(len(sizes))), (0, len(sizes) - 1)]
    axes = tuple((genes, tuple(sizes[g] for g in genes)) for genes in heard)
    for most in (FEW, 5000):
        found = entries_in(axes, len(sizes), most)
        for low in range(0, 5000, most):
            part = genomes[low : low + most]
            found.load(part)
            for number, (genes, shape) in enumerate(axes):
                wanted = np.ravel_multi_index(tuple(part[:, g] for g in genes), shape) if genes else np.zeros(len(part))
                np.testing.assert_array_equal(found.of(number), wanted)


def test_what_the_cold_oracle_of_the_benchmark_answers_is_the_same() -> None:
    oracle = Oracle("resnet", ["v100", "tpu-v3"], batch=8)
    genomes = oracle.space.sample(300, seed=4)
    for distinct in (True, False):
        np.testing.assert_allclose(
            ColdOracle(oracle, distinct=distinct).latency_s(genomes), oracle.latency_s(genomes), rtol=EXACT
        )
