"""Runs of language models have intervals from their kernels, each kind by its share of the time."""

from __future__ import annotations

import math

import pytest

import roofline as rf
from roofline.report.interval import UNKNOWN_HALF_WIDTH, interval, known_intervals
from roofline.report.kernel_interval import KernelInterval, bounded, library_shares

DENSE = {"phase": "decode", "context": 2000, "batch": 8, "runtime": "vllm"}
KNOWN = {
    "products": KernelInterval(devices={"h100-sxm": 0.1}, new_device=0.3, rows=9, source="by hand"),
    "attention": KernelInterval(devices={"h100-sxm": 0.2}, rows=9, source="by hand"),
}


def test_every_kind_of_library_has_its_share() -> None:
    dense = library_shares(rf.simulate("llama-3-8b", "h100-sxm", **DENSE))  # type: ignore[arg-type]
    assert set(dense) == {"products", "attention"}
    assert 0.9 < sum(dense.values()) <= 1.0
    experts = library_shares(rf.simulate("qwen3-30b-a3b", "h100-sxm", **DENSE))  # type: ignore[arg-type]
    assert set(experts) == {"products", "attention", "experts"}
    assert experts["experts"] > experts["products"]
    assert not library_shares(rf.simulate("llama-3-8b", "tpu-v6e", **DENSE | {"runtime": "xla_tpu"}))  # type: ignore[arg-type]


def test_the_width_is_that_of_each_kind_by_its_share() -> None:
    run = rf.simulate("llama-3-8b", "h100-sxm", **DENSE)  # type: ignore[arg-type]
    shares = library_shares(run)
    width, unseen, reasons = bounded(run, KNOWN, UNKNOWN_HALF_WIDTH)
    assert width == pytest.approx(0.1 * shares["products"] + 0.2 * shares["attention"])
    assert list(unseen.values()) == [pytest.approx(1.0 - sum(shares.values()))]
    assert not reasons


def test_a_device_without_kernels_has_the_width_of_devices_left_out() -> None:
    run = rf.simulate("llama-3-8b", "h200", **DENSE)  # type: ignore[arg-type]
    shares = library_shares(run)
    width, _, reasons = bounded(run, KNOWN, UNKNOWN_HALF_WIDTH)
    assert width == pytest.approx(0.3 * shares["products"] + UNKNOWN_HALF_WIDTH * shares["attention"])
    assert reasons == ["no kernel was measured on h200"]


def test_what_ships_is_narrower_than_a_guess_and_wider_off_the_measured_devices() -> None:
    assert "vllm" not in known_intervals()
    near = interval(rf.simulate("llama-3-8b", "h100-sxm", **DENSE))  # type: ignore[arg-type]
    far = interval(rf.simulate("llama-3-8b", "b200", **DENSE))  # type: ignore[arg-type]
    near_width, far_width = (math.log(i.high_s / i.low_s) / 2 for i in (near, far))
    assert 0.05 < near_width < far_width < UNKNOWN_HALF_WIDTH
    assert not near.extrapolating
    assert far.extrapolating
