"""The table of experts: how rows are read, what the benchmark's routing is, and how far off predictions are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import MEASUREMENTS

from roofline.calibration.measured import Options, load
from roofline.calibration.measured.expert_ops import ExpertsCall
from roofline.calibration.measured.expert_routing import load_of_rank
from roofline.calibration.validate import validate
from roofline.errors import InputError

HEADER = (
    "system,framework,version,kernel_source,moe_dtype,num_tokens,hidden_size,inter_size,topk,num_experts,moe_tp_size,"
    "moe_ep_size,distribution,latency"
)
GOOD = "h100_sxm,VLLM,0.24.0,triton,bfloat16,64,2048,768,8,128,2,4,balanced,0.2"
MOE = MEASUREMENTS / "llm" / "moe.csv.gz"


def written(folder: Path, *rows: str) -> Path:
    path = folder / "moe.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_row_is_one_ranks_part(tmp_path: Path) -> None:
    (found,) = load(written(tmp_path, GOOD)).measurements
    assert isinstance(found.workload, ExpertsCall)
    assert (found.workload.inner, found.workload.ranks, found.workload.exponent) == (768 // 2, 4, 0.0)
    assert (found.device, found.runtime, found.latency_s) == ("h100-sxm", "vllm", 0.2e-3)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("bfloat16", "fp3", "moe_dtype 'fp3' is none of"),
        ("VLLM", "OTHER", "framework 'OTHER' is none of"),
        (",8,128,", ",9,8,", "top-9 of 8 experts: a token takes at most all of them"),
        ("balanced", "uniform", "distribution 'uniform' is neither"),
        (",2,4,balanced", ",2,3,balanced", "do not divide over 3 x 2 ranks"),
        (",64,2048,", ",65536,2048,", "x the peak"),
    ],
)
def test_rows_that_cannot_be_are_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    found = load(written(tmp_path, GOOD, GOOD.replace(old, new).replace(",0.2", ",0.21")))
    assert len(found.measurements) == 1
    assert reason in found.rejected[0].reason


def naive_rank(tokens: int, top_k: int, experts: int, ranks: int, exponent: float, draws: int = 400) -> np.ndarray:
    """Return rows of the fullest rank and its experts that have any, drawn expert by expert."""
    rng = np.random.default_rng(3)
    low, high = (1.0, 0.8 * tokens) if tokens * top_k > experts else (0.01, 2.0)
    found = []
    for _ in range(draws):
        u = rng.random(experts)
        # the inverse of the distribution whose density is x ** -exponent between low and high
        x = (low ** (1 - exponent) + u * (high ** (1 - exponent) - low ** (1 - exponent))) ** (1 / (1 - exponent))
        counts = np.rint(x / x.sum() * tokens * top_k)
        largest = np.argsort(-counts)
        i = 0
        while counts.sum() != tokens * top_k:
            expert = largest[i % experts]
            counts[expert] = max(0.0, counts[expert] + np.sign(tokens * top_k - counts.sum()))
            i += 1
        by_rank = counts.reshape(ranks, -1)
        fullest = by_rank[by_rank.sum(axis=1).argmax()]
        found.append([fullest.sum(), (fullest > 0).sum(), np.ceil(fullest / 64).sum()])
    return np.asarray(np.mean(found, axis=0))


@pytest.mark.parametrize("arguments", [(16, 8, 256, 4, 1.01), (2048, 8, 256, 8, 1.2), (512, 4, 128, 1, 1.01)])
def test_routing_is_the_benchmarks(arguments: tuple[int, int, int, int, float]) -> None:
    rows, active, tiles = naive_rank(*arguments)
    found = load_of_rank(*arguments)
    assert found.total_rows == pytest.approx(rows, rel=0.08)
    assert found.active == pytest.approx(active, rel=0.08)
    assert found.tiles(64) == pytest.approx(tiles, rel=0.08)


def test_rows_without_a_library_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'pytorch_eager' calls no libraries of experts and products on 'h100-sxm'"):
        validate([written(tmp_path, GOOD)], Options(runtime="pytorch_eager"))


@pytest.mark.skipif(not MOE.is_file(), reason="needs the shared measurements")
def test_experts_are_predicted() -> None:
    found = validate([MOE], Options(limit=3000))
    scores: dict[str, list[np.ndarray[Any, Any]]] = {}
    for c in found.comparisons:
        scores.setdefault(c.device, []).append(np.abs(c.predicted_s / c.measured_s - 1.0))
    every = np.concatenate([e for errors in scores.values() for e in errors])
    assert len(every) > 2500
    assert np.median(every) < 0.12
    for device in ("a100-80gb", "h100-sxm", "l40s"):
        assert np.median(np.concatenate(scores[device])) < 0.14, device
