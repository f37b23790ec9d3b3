"""Every number of a device has a source, and equals the reference table where that lies beside the checkout."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from places import ROOT

from roofline.hardware import device, devices

REFERENCE = ROOT.parent / "shared" / "reference" / "hardware.csv"
NAMES = devices()
REAL = [name for name in NAMES if device(name).vendor != "hypothetical"]
MEGACORE = {"tpu-v4", "tpu-v5p"}  # two TensorCores run one program: counts per core are sums over both
SCALE = {
    "Hz": 1, "MHz": 1e6, "GHz": 1e9, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "GB": 1e9, "GB/s": 1e9, "B/clk": 1,
    "TFLOP/s": 1e12, "TOP/s": 1e12, "W": 1, "USD/h": 1, "USD/chip-h": 1, "fraction": 1, "frac": 1,
}  # fmt: skip
CSV_NAMES = {
    "v100": "V100_SXM2_16GB", "a100-40gb": "A100_SXM_40GB", "a100-80gb": "A100_SXM_80GB", "h200": "H200_SXM",
    "h100-pcie": "H100_PCIe", "b200": "B200_SXM", "rtx-pro-6000-max-q": "RTX_PRO_6000_MaxQ",
}  # fmt: skip
SAME_CHIP = {"rtx-pro-6000-max-q": "RTX_PRO_6000_Blackwell"}
FIELDS = {
    r"chip\.clock": "clock_boost",
    r"chip\.tdp": "tdp",
    r"chip\.price": "price_on_demand.*",
    r"chip\.capability": "compute_capability",
    r"matrix\.units": "mxu_per_core|cores_per_chip",
    r"matrix\.(rows|cols)": r"mxu_\1",
    r"matrix\.clock": "clock_matrix",
    r"matrix\.rates\.fp32": "peak_matrix_bf16|peak_vector_fp32|peak_matrix_fp32",  # TPU | NVIDIA | AMD
    r"matrix\.rates\.fp64": "peak_matrix_fp64|peak_vector_fp64",
    r"matrix\.rates\.fp16": "peak_matrix_fp16|peak_matrix_fp16_fp32acc",
    r"matrix\.rates\.(nv|mx)fp4": "peak_matrix_fp4",
    r"matrix\.rates\.(\w+)": r"peak_matrix_\1",
    r"matrix\.rates\.fp16\.macs_per_clock": "matrix_fma_per_clk_per_core_fp16",
    r"matrix\.rates\.fp32\.macs_per_clock": "fp32_lanes_per_core",
    r"vector\.units": "cores_per_chip",
    r"vector\.(lanes|sublanes)": r"vpu_\1",
    r"vector\.simple_per_clock": "vector_ops_per_clk_per_core|fp32_lanes_per_core|vector_fma_per_clk_per_core_fp32",
    r"vector\.transcendental_per_clock": "sfu_per_clk_per_core",
    r"vector\.(loads|stores|transposes)_per_clock": "nowhere",
    r"vector\.peak": "peak_vector_fp32",
    r"memory\.(HBM|GDDR.*)\.capacity": "mem_capacity",
    r"memory\.(HBM|GDDR.*)\.bandwidth": "mem_bw",
    r"memory\.CMEM\.capacity": "cmem",
    r"memory\.CMEM\.bandwidth": "cmem_bw",
    r"memory\.VMEM\.capacity": "vmem_per_core",
    r"memory\.VMEM\.bandwidth": "vmem_bw",
    r"memory\.infinity cache\.capacity": "l3_infinity_cache",
    r"memory\.infinity cache\.bandwidth": "l3_bw",
    r"memory\.L2\.capacity": "l2",
    r"memory\.L2\.bandwidth": "l2_bw|l2_bw_theoretical|l2_bw_measured_Jia",
    r"memory\.shared memory\.capacity": "smem_max_per_core",
    r"memory\.shared memory\.bandwidth": "smem_bw_per_clk_per_core",
    r"matrix\.(batched_lane_tile|operand_sharing)": "nowhere",
    r"runtime\.\w+\.(lane|convolution)_fraction": "nowhere",
    r"runtime\.\w+\.matrix_fraction": "mamf_frac_bf16|gemm_frac_best_fp16|gemm_frac_8192cube_bf16",
    r"runtime\.\w+\.bandwidth_fraction": "hbm_achieved_frac",
}


@cache
def raw(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "hardware_specs" / f"{name}.toml").read_text(encoding="utf-8"))


def si(table: dict[str, Any]) -> float:
    return float(table["value"] if "value" in table else table["peak"]) * SCALE.get(table.get("unit", ""), 1)


def numbers(table: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path, inline table) of every sourced number of a raw file."""
    if isinstance(table, dict) and ("value" in table or "peak" in table) and ("source" in table or "estimate" in table):
        yield path, table
        if "macs_source" in table:
            macs = {"value": table["macs_per_clock"], "source": table["macs_source"]}
            yield f"{path}.macs_per_clock", {**macs, "recalled": table.get("macs_recalled", False)}
    elif isinstance(table, dict):
        for name, inner in table.items():
            yield from numbers(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(table, list):
        for inner in table:
            yield from numbers(inner, f"{path}.{inner['name'] if isinstance(inner, dict) else ''}")


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source(name: str) -> None:
    spec = device(name)
    assert len(spec.quantities) == len(list(numbers(raw(name))))
    assert {record.source for record in spec.quantities if record.source} == set(spec.sources)  # none is unused
    for record in spec.quantities:
        assert (record.source is None) != (record.estimate is None), record.path


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(REAL)))
def test_what_does_not_exist_says_so(name: str) -> None:
    spec = device(name)
    assert spec.name.startswith("hypothetical-") and spec.title.startswith("Hypothetical ")
    assert set(spec.sources) == {"definition"} and spec.sources["definition"].startswith("by definition: ")


@cache
def reference() -> dict[str, dict[str, dict[str, str]]]:
    table: dict[str, dict[str, dict[str, str]]] = {}
    with REFERENCE.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            table.setdefault(row["device"], {})[row["field"]] = row
    return table


def fields(path: str) -> str:
    found = [match.expand(f) for pattern, f in FIELDS.items() if (match := re.fullmatch(pattern, path))]
    assert found, f"no field of the reference table for {path}"
    return found[0]


def candidates(rows: dict[str, dict[str, str]], path: str) -> list[tuple[float, bool]]:
    """Return (SI value, recalled) of the reference rows that a number may equal."""
    found = []
    for field, row in rows.items():
        if re.fullmatch(fields(path), field):
            recalled = row["confidence"] == "recalled"
            if field == "vector_ops_per_clk_per_core":  # as sure as its factors
                recalled = recalled or rows["vpu_alus_per_lane_sublane"]["confidence"] == "recalled"
            found.append((float(row["value"]) * SCALE.get(row["unit"], 1), recalled))
    return found


@cache
def compiled_slots() -> dict[str, list[str]]:
    """Return row -> cells of v2 / v3, v4i, v5e and v6e of the table of slots in compiled programs."""
    lines = REFERENCE.with_name("tpu_compiler.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


def slots(name: str, path: str) -> set[float]:
    """Return the words per clock that the slots of compiled programs make of a rate of a TPU."""
    column = {"tpu-v2": 0, "tpu-v3": 0, "tpu-v4i": 1, "tpu-v5e": 2, "tpu-v6e": 3}[name]
    rate = path.removeprefix("vector.").removesuffix("_per_clock")
    if rate == "transcendental":
        cell = compiled_slots()["transcendental slot"][column]
        return {1024.0 * int(cell[0]) / (2 if "twice as long" in cell else 1)}
    cells = compiled_slots()["vector load / store slots"][column].split(" / ")
    return {1024.0 * int(cells[("loads", "stores").index(rate)][0])}


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference table is not beside this checkout")
@pytest.mark.parametrize("name", REAL)
def test_every_sourced_number_equals_the_reference_table(name: str) -> None:
    tpu, mega = device(name).kind == "tpu", name in MEGACORE
    rows = reference()[f"TPU_{name[4:]}" if tpu else CSV_NAMES.get(name, name.upper().replace("-", "_"))]
    for path, number in numbers(raw(name)):
        if path == "chip.cores":
            assert number["value"] == (float(rows["cores_per_chip"]["value"]) if tpu and not mega else 1)
        elif path == "vector.units" and tpu:
            assert number["value"] == (2 if mega else 1)
        elif number.get("source", "").endswith("-fit"):  # fitted to latencies of this very device
            assert path.startswith("runtime.") and "fitted to" in raw(name)["sources"][number["source"]]
        elif number.get("source") == "libtpu":
            assert number["value"] in slots(name, path), path
        elif "estimate" in number:
            assert not candidates(rows, path), f"{path} is known, not to be estimated"
        else:
            expected = candidates(rows, path) or candidates(reference()[SAME_CHIP[name]], path)
            value = si(number) / (2 if mega and path in {"matrix.units", "memory.VMEM.capacity"} else 1)
            recalled = number.get("recalled", False)
            assert any(value == pytest.approx(x) and recalled == r for x, r in expected), (path, value, expected)
