"""The table of products: how rows are read, what takes turns in a cache, and how far off predictions are."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from places import MEASUREMENTS

from roofline.calibration.kernel_fit import fit_kernels
from roofline.calibration.library_fit import (
    by_library,
    effects,
    fit_library,
    library_constants,
    sampled,
    with_constants,
)
from roofline.calibration.measured import Options, load
from roofline.calibration.measured.product_ops import REPLAYS, ProductCall
from roofline.calibration.predict import Prepared, prepare

HEADER = "system,framework,version,kernel_source,gemm_dtype,m,n,k,latency"
GOOD = "h100_sxm,VLLM,0.24.0,linear,bfloat16,64,4096,4096,0.02"
GEMM = MEASUREMENTS / "llm" / "gemm.csv.gz"


def written(folder: Path, *rows: str) -> Path:
    path = folder / "gemm.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_row_is_a_linear_layer(tmp_path: Path) -> None:
    (found,) = load(written(tmp_path, GOOD)).measurements
    assert isinstance(found.workload, ProductCall)
    assert (found.workload.m, found.workload.n, found.workload.k) == (64, 4096, 4096)
    assert (found.device, found.runtime, found.dtype, found.latency_s) == ("h100-sxm", "vllm", "bf16", 0.02e-3)


@pytest.mark.parametrize(
    ("system", "device"),
    [
        ("a100_sxm", "a100-80gb"),
        ("h200_sxm", "h200"),
        ("b200_sxm", "b200"),
        ("gb200", "b200"),
        ("l40s", "l40s"),
        ("l4", "l4"),
    ],
)
def test_devices_are_told_by_the_names_of_the_table(system: str, device: str, tmp_path: Path) -> None:
    (found,) = load(written(tmp_path, GOOD.replace("h100_sxm", system))).measurements
    assert found.device == device


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("bfloat16", "fp3", "gemm_dtype 'fp3' is none of"),
        ("VLLM", "OTHER", "framework 'OTHER' is none of"),
        ("h100_sxm", "abacus", "device 'abacus' is not known"),
        (",64,", ",65536,", "x the peak"),  # 2 x 65536 x 4096^2 in 20 us are 1.1e17 a second
        (",64,4096,4096,0.02", ",1,65536,65536,0.2", "no processor loads that fast"),  # 8.6 GB in 200 us
    ],
)
def test_rows_that_cannot_be_are_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    found = load(written(tmp_path, GOOD, GOOD.replace(old, new)))
    assert len(found.measurements) == 1
    assert reason in found.rejected[0].reason


def test_weights_take_turns_as_often_as_the_framework_has_layers() -> None:
    mib = 2.0**20
    sizes = np.array([1.0, 24, 48, 60, 96, 500]) * mib
    assert REPLAYS["tensorrt_llm"].turns(sizes, 96 * mib).tolist() == [5, 4, 2, 2, 1, 1]
    assert REPLAYS["vllm"].turns(sizes, 96 * mib).tolist() == [7] * 6


def test_small_weights_come_from_the_cache(tmp_path: Path) -> None:
    # L40S: 864 GB/s of main memory. 5 x 16 MiB fit into 96 MiB, 5 x 28 MiB do not
    rows = [f"l40s,TRTLLM,1,linear,bfloat16,1,4096,{k},0.1" for k in (2048, 3584)]
    near_s, far_s = prepare(load(written(tmp_path, *rows)).measurements).predict()
    assert near_s < 4096 * 2048 * 2 / 864e9 < 4096 * 3584 * 2 / 864e9 < far_s


def test_each_effect_has_constants() -> None:
    known = effects("products")
    assert {"kernel floor", "operand feed", "power", "cuts of K", "epilogue"} <= set(known)
    assert set(known["power"][1]) == {"processor_w", "mac_w"}
    assert len(library_constants("products")) <= 10


@pytest.fixture(scope="module")
def products() -> Prepared:
    if not GEMM.exists():
        pytest.skip(f"no measurements at {GEMM}")
    return prepare(load(GEMM, Options(limit=8500)).measurements)


@pytest.fixture(scope="module")
def bf16(products: Prepared) -> Prepared:
    return products.subset([m.family == "bfloat16" for m in products.measurements])


def test_bf16_products_are_as_accurate_as_they_were(bf16: Prepared) -> None:
    found = by_library(bf16, bf16.predict())
    assert found["all"].median <= 0.069
    for name, most in {"a100-80gb": 0.078, "h100-sxm": 0.062, "l40s": 0.098}.items():
        of_device = [one for label, one in found.items() if label.startswith(name)]
        assert len(of_device) == 2
        for one in of_device:
            assert one.median <= most, (name, one)
            assert one.tau >= 0.92, (name, one)


@pytest.mark.parametrize(
    ("numbers", "most"),
    [("fp8", 0.08), ("fp8_block", 0.09), ("sq", 0.08), ("int8_wo", 0.1), ("int4_wo", 0.11), ("nvfp4", 0.06)],
)
def test_narrow_products_are_as_accurate_as_they_were(numbers: str, most: float, products: Prepared) -> None:
    rows = products.subset([m.family == numbers and m.runtime == "tensorrt_llm" for m in products.measurements])
    found = by_library(rows, rows.predict())["all"]
    assert found.count >= 400
    assert found.median <= most
    assert found.tau >= 0.85


def test_kernels_are_fitted_to_their_own_rows(products: Prepared) -> None:
    rows = products.subset([m.family == "int8_wo" for m in products.measurements])
    (found,) = fit_kernels(rows)
    assert (found.library, found.facts.compute, found.facts.stored) == ("trtllm_gemm", "bf16", "int8")
    assert set(found.values) == {"fraction", "bandwidth_fraction"}
    assert found.values["fraction"] == pytest.approx(found.facts.fraction, abs=0.03)
    assert found.agreement.median <= 0.1


def test_a_fit_finds_what_rows_were_made_with(bf16: Prepared) -> None:
    some = sampled(bf16, 60)
    made = {"launch_cycles": 4000.0, "memory_fraction": 0.9, "feed_bytes_per_s": 60e9}
    times_s = some.predict(with_constants("products", made))
    rows = tuple(replace(m, latency_s=float(t)) for m, t in zip(some.measurements, times_s, strict=True))
    constants = {name: library_constants("products")[name] for name in made}
    found = fit_library(replace(some, measurements=rows), "products", constants)
    assert found.values == pytest.approx(made, rel=0.02)


@pytest.mark.parametrize(
    ("spelled", "device", "most"),
    [("NVIDIA A100 SXM", "a100-80gb", 0.05), ("NVIDIA H100 SXM", "h100-sxm", 0.05), ("NVIDIA B200 SXM", "b200", 0.1)],
)
def test_best_products_of_a_search_over_shapes_are_met_by_constants_that_never_saw_them(
    spelled: str, device: str, most: float, tmp_path: Path
) -> None:
    path = MEASUREMENTS / "max_achievable_matmul_flops.csv"
    if not path.exists():
        pytest.skip(f"no measurements at {path}")
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["dtype"], row["accelerator"]) == ("bf16", spelled)]
    (row,) = rows
    m, n, k = (int(size) for size in row["best_MxNxK"].split("x"))
    best_s = 2.0 * m * n * k / (float(row["mamf_tflops"]) * 1e12)
    asked = f"{device},TRTLLM,1,linear,bfloat16,{m},{n},{k},{1e3 * best_s}"
    (found_s,) = prepare(load(written(tmp_path, asked)).measurements).predict()
    assert found_s == pytest.approx(best_s, rel=most / (1.0 - most))


VIDUR = (
    "device,model,attn_pre_proj_ms,attn_post_proj_ms,mlp_up_proj_ms,mlp_down_proj_ms,n_head,n_kv_head,n_embd,"
    "n_expanded_embd,use_gated_mlp,num_tokens,num_tensor_parallel_workers\n"
    "a100,llama,0.109,0.079,0.555,0.2435,64,8,8192,28672,True,912,8\n"
)


def test_a_layer_is_four_projections_of_one_worker(tmp_path: Path) -> None:
    path = tmp_path / "ops.csv"
    path.write_text(VIDUR, encoding="utf-8")
    found = load(path).measurements
    shapes = {m.family: (m.workload.n, m.workload.k) for m in found if isinstance(m.workload, ProductCall)}
    assert shapes == {
        "attn_pre_proj": ((64 + 2 * 8) * 128 // 8, 8192),
        "attn_post_proj": (8192, 8192 // 8),
        "mlp_up_proj": (2 * 28672 // 8, 8192),
        "mlp_down_proj": (8192, 28672 // 8),
    }
    assert {m.device for m in found} == {"a100-80gb"}


def test_projections_of_layers_are_as_accurate_as_they_were() -> None:
    path = MEASUREMENTS / "llm" / "a100_transformer_ops.csv.gz"
    if not path.exists():
        pytest.skip(f"no measurements at {path}")
    rows = prepare(load(path, Options(limit=500)).measurements)
    found = by_library(rows, rows.predict())["all"]
    assert found.median <= 0.115
    assert found.tau >= 0.96
