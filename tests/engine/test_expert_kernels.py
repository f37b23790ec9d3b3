"""Grouped products in a network: what is read, what is only kept, and which kernels the library has."""

from __future__ import annotations

import numpy as np
import pytest

import roofline as rf
from roofline.dtypes import DTYPES
from roofline.errors import ShapeError
from roofline.graph import ops
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.routing import active_experts
from roofline.software.libraries.experts import ExpertsLibrary
from roofline.software.libraries.load import libraries, library

WIDTH, HIDDEN = 2048, 1536


def experts(tokens: int, top_k: int = 8, count: int = 128, skew: float = 0.0) -> OpGraph:
    b = GraphBuilder("experts")
    x = b.input("x", (tokens * top_k, WIDTH))
    ends = b.input("ends", (count,), DTYPES["int32"])
    y = b.add_op("up", ops.GroupedMatMul, x, b.parameter("w", count, WIDTH, HIDDEN), ends, top_k=top_k, skew=skew)
    return b.graph([y])


def run(graph: OpGraph, runtime: str = "vllm", device: str = "h100-sxm") -> rf.Report:
    return rf.simulate(graph, device, runtime=runtime, dtype="bf16")


def test_one_token_reads_the_weights_of_its_experts() -> None:
    report = run(experts(1))
    read = report.kernels["memory_time_s"].iloc[0]
    (kernel,) = (k for k in vllm().facts.kernels if k.compute == "bf16" and k.stored == "bf16" and k.runs_on(9.0))
    least = 8 * WIDTH * HIDDEN * 2 / (3.35e12 * kernel.bandwidth_fraction)  # rows are 0.1 % of it
    assert read == pytest.approx(least, rel=0.01)


def vllm() -> ExpertsLibrary:
    found = library("vllm_experts")
    assert isinstance(found, ExpertsLibrary)
    return found


def test_unread_experts_cost_memory_and_no_time() -> None:
    few, many = run(experts(1, count=64)), run(experts(1, count=256))
    assert few.latency_s == pytest.approx(many.latency_s, rel=1e-3)
    assert many.params == 4 * few.params


def test_unequal_experts_are_fewer() -> None:
    even, skewed = run(experts(64)), run(experts(64, skew=1.0))
    share = float(active_experts(64, 8, 128, 1.0) / active_experts(64, 8, 128, 0.0))
    assert skewed.latency_s < even.latency_s
    memory = [r.kernels["memory_time_s"].iloc[0] for r in (skewed, even)]
    assert memory[0] / memory[1] == pytest.approx(share, rel=0.01)
    assert skewed.macs == pytest.approx(even.macs, rel=1e-12)


def test_a_token_cannot_take_more_experts_than_there_are() -> None:
    with pytest.raises(ShapeError, match=r"top-9 of 8 groups: a token takes at most all of them"):
        experts(4, top_k=9, count=8)


def test_terms_add_up_to_the_latency() -> None:
    for tokens in (1, 4096):
        report = run(experts(tokens))
        frame = report.waterfall()
        assert frame["time_s"].sum() == pytest.approx(report.latency_s, rel=1e-9)
        assert (frame["time_s"] >= -1e-12).all()


def test_runtimes_without_a_library_count_rows_as_they_did() -> None:
    tokens, top_k = 512, 8
    graph = experts(tokens, top_k)
    plain = run(graph, "pytorch_compile")
    assert plain.latency_s != run(graph).latency_s
    assert plain.latency_s > top_k * tokens * WIDTH * HIDDEN * 2 / 989.4e12


@pytest.mark.parametrize("name", [n for n in libraries() if library(n).kind == "experts"])
def test_every_kernel_is_found_by_what_it_multiplies(name: str) -> None:
    found = library(name)
    assert isinstance(found, ExpertsLibrary)
    for kernel in found.facts.kernels:
        assert kernel.compute in DTYPES and kernel.stored in DTYPES
        if kernel.gated:
            capability = kernel.capabilities[0] if kernel.capabilities else 9.0
            taken = found.kernel(kernel.compute, kernel.stored, kernel.blocks, capability=capability)
            assert (taken.compute, taken.stored, taken.blocks) == (kernel.compute, kernel.stored, kernel.blocks)


def test_a_format_without_a_kernel_takes_the_nearest() -> None:
    taken = vllm().kernel("bf16", "int8", False, capability=9.0)
    assert (taken.compute, taken.stored) == ("bf16", "bf16")
    assert np.isfinite(rf.simulate(experts(16), "h100-sxm", runtime="vllm", dtype="fp16").latency_s)
