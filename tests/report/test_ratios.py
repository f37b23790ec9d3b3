"""Intervals of ratios: which pairs speak for which runs, by hand; and what cancels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from places import ROOT

import roofline as rf
from roofline.calibration.measured import Measurement
from roofline.calibration.ratios import LeftOut, by_kind, coverages, ratio_widths
from roofline.report.interval import RatioWidth, RuntimeInterval, interval, known_intervals
from roofline.report.ratios import KINDS, RatioInterval, mean_ratio, ratio_interval
from roofline.report.report import Report
from roofline.stats import geometric_mean

SAME = {"runtime": "pytorch_eager", "dtype": "fp16", "batch": 8}
RESNET, DEEPER, MOBILE = (rf.simulate(m, "v100", **SAME) for m in ("resnet-50", "resnet-101", "efficientnet-b0"))  # type: ignore[arg-type]
ELSEWHERE = rf.simulate("resnet-50", "t4", **SAME)  # type: ignore[arg-type]
KINDS_OF_KERNELS = ("attention", "conv", "depthwise", "matmul", "movement", "pointwise", "pool", "reduction")


def width(half_width: float) -> RatioWidth:
    return RatioWidth(half_width=half_width, pairs=100)


EAGER = RuntimeInterval(
    coverage=0.9,
    half_width=0.2,
    new_device=0.3,
    rows=100,
    families=("resnet",),
    devices=("v100", "t4"),
    dtypes=("fp16",),
    kinds=KINDS_OF_KERNELS,
    source="made up",
    ratios={"same_family": width(0.05), "other_family": width(0.1), "devices": width(0.15)},
    ratios_new_device={"same_family": width(0.09)},
)


def half(over: Report, under: Report, known: dict[str, RuntimeInterval]) -> float:
    found = ratio_interval(over, under, known)
    assert math.sqrt(found.low * found.high) == pytest.approx(over.latency_s / under.latency_s)
    return math.log(found.high / found.low) / 2


@pytest.mark.parametrize(
    ("over", "under", "shared", "wanted"),
    [
        (DEEPER, RESNET, "same_family", 0.05),
        (MOBILE, RESNET, "other_family", 0.1),
        (RESNET, ELSEWHERE, "devices", 0.15),
        (DEEPER, ELSEWHERE, None, math.hypot(0.2, 0.2)),
    ],
)
def test_what_two_runs_have_in_common_decides(over: Report, under: Report, shared: str | None, wanted: float) -> None:
    found = ratio_interval(over, under, {"pytorch_eager": EAGER})
    assert isinstance(found, RatioInterval) and found.shared == shared and found.reasons == ()
    assert half(over, under, {"pytorch_eager": EAGER}) == pytest.approx(wanted)
    assert half(under, over, {"pytorch_eager": EAGER}) == pytest.approx(wanted)


def test_other_formats_and_runtimes_share_nothing() -> None:
    for other in (
        rf.simulate("resnet-101", "v100", runtime="pytorch_eager", dtype="fp32", batch=8),
        rf.simulate("resnet-101", "v100", runtime="tensorrt", dtype="fp16", batch=8),
    ):
        found = ratio_interval(other, RESNET)
        assert found.shared is None
        widths = [math.log(run.interval.high_s / run.latency_s) for run in (other, RESNET)]
        assert half(other, RESNET, known_intervals()) == pytest.approx(math.hypot(*widths))


def test_a_new_device_has_the_width_of_pairs_on_left_out_devices_too() -> None:
    known = {"pytorch_eager": EAGER.model_copy(update={"devices": ("t4",)})}
    assert half(DEEPER, RESNET, known) == pytest.approx(0.09)  # 0.05 on known devices
    assert half(MOBILE, RESNET, known) == pytest.approx(0.1)
    assert "no network on v100" in ratio_interval(DEEPER, RESNET, known).reasons[0]


def test_a_runtime_without_pairs_has_the_widest_of_those_with() -> None:
    other = EAGER.model_copy(update={"ratios": {"same_family": width(0.2)}, "ratios_new_device": {}})
    known = {"tensorrt": EAGER, "pytorch_compile": other}
    assert half(DEEPER, RESNET, known) == pytest.approx(0.2)
    assert half(MOBILE, RESNET, known) == pytest.approx(0.1)
    assert half(MOBILE, RESNET, {}) == pytest.approx(math.log(2) * math.sqrt(2))  # nothing known: independent
    assert "too few networks were measured" in ratio_interval(DEEPER, RESNET, known).reasons[0]


def test_kinds_without_data_count_by_their_difference() -> None:
    known = {"pytorch_eager": EAGER.model_copy(update={"kinds": tuple(k for k in KINDS_OF_KERNELS if k != "conv")})}
    from roofline.report.interval import kind_shares

    shares = [kind_shares(run)["conv"] for run in (DEEPER, RESNET)]
    assert half(DEEPER, RESNET, known) == pytest.approx(0.05 + abs(math.log((1 + shares[0]) / (1 + shares[1]))))


def test_the_mean_is_that_of_the_ends_and_a_ratio_of_itself_is_sure_of_its_facts() -> None:
    pairs = [(MOBILE, RESNET), (DEEPER, RESNET)]
    found, single = mean_ratio(pairs), [ratio_interval(*pair) for pair in pairs]
    assert found.ratio == pytest.approx(geometric_mean([a.latency_s / b.latency_s for a, b in pairs]))
    assert found.low == pytest.approx(math.sqrt(single[0].low * single[1].low))
    assert found.high == pytest.approx(math.sqrt(single[0].high * single[1].high))
    assert found.facts_low <= found.ratio <= found.facts_high
    moved = [
        (rf.simulate(m, "tpu-v2", batch=8), rf.simulate(m, "tpu-v4i", batch=8)) for m in ("resnet-50", "resnet-18")
    ]
    mean, each = mean_ratio(moved), [mean_ratio([pair]) for pair in moved]
    assert mean.facts_high == pytest.approx(math.sqrt(each[0].facts_high * each[1].facts_high))
    assert mean.decided_by


# ---- from left-out networks to widths


def left_out(model: str, error: float, family: str, device: str = "v100", group: str = "") -> LeftOut:
    m = Measurement(
        row=1,
        label=model,
        workload=rf.model("resnet-18"),
        device=device,
        runtime="pytorch_eager",
        dtype="fp16",
        latency_s=1.0,
        family=family,
        dataset=f"{device}.csv",
    )
    return LeftOut(measurement=m, error=error, group=group or family)


def test_pairs_by_hand() -> None:
    networks = [
        left_out("a", 0.1, "x"),
        left_out("b", 0.3, "x"),
        left_out("c", -0.2, "y"),
        left_out("a", 0.5, "x", "t4"),
    ]
    found = {kind: sorted(float(e) for p in pairs for e in p.errors) for kind, pairs in by_kind(networks).items()}
    assert found["same_family"] == pytest.approx([0.2])  # a and b on v100; a on t4 has nobody
    assert found["other_family"] == pytest.approx([0.3, 0.5])
    assert found["devices"] == pytest.approx([0.4])


def test_an_error_that_all_share_cancels_and_coverage_is_judged_by_others() -> None:
    rng = np.random.default_rng(0)
    networks = [
        left_out(f"{family}{i}", 0.5 + 0.1 * float(rng.standard_normal()), family)
        for family in "xyz"
        for i in range(80)
    ]
    found = ratio_widths(networks, 0.9)
    # |difference of two normals of 0.1|: its 90 % quantile is 1.645 x 0.1 x sqrt(2)
    assert found["same_family"].half_width == pytest.approx(1.645 * 0.1 * math.sqrt(2), rel=0.1)
    assert found["other_family"].half_width == pytest.approx(1.645 * 0.1 * math.sqrt(2), rel=0.1)
    assert found["same_family"].pairs == 3 * 80 * 79 / 2 and found["other_family"].pairs == 3 * 80 * 80
    for width_ in found.values():
        assert width_.covered == pytest.approx(0.9, abs=0.05)
    for pairs in by_kind(networks).values():
        assert set(coverages(pairs, 0.9)) == set("xyz")


def test_a_family_that_is_easy_makes_no_other_so() -> None:
    networks = [left_out(f"easy{i}", 0.001 * (i % 2), "easy") for i in range(60)]
    networks += [left_out(f"hard{i}", 0.5 * (i % 2), "hard") for i in range(20)]
    assert ratio_widths(networks, 0.9)["same_family"].half_width == 0.5  # most pairs are easy
    assert ratio_widths(networks, 0.9)["same_family"].covered < 0.95  # type: ignore[operator]


def test_a_single_family_is_judged_by_nobody() -> None:
    networks = [left_out(str(i), 0.01 * i, "x") for i in range(30)]
    found = ratio_widths(networks, 0.9)
    assert set(found) == {"same_family"} and found["same_family"].covered is None


def test_the_shipped_widths_of_ratios_cover_what_they_say() -> None:
    for name, known in known_intervals().items():
        assert ("same_family" in known.ratios) == (name != "jax_serving")  # which rests on kernels: nothing to pair
        for kind, found in known.ratios.items():
            assert kind in KINDS and 0 < found.half_width < math.log(2)
            assert found.covered is None or found.covered >= known.coverage - 0.05
    assert "devices" in known_intervals()["pytorch_eager"].ratios
    assert (ROOT / "roofline" / "report" / "intervals.toml").is_file()


def test_reports_and_intervals_agree() -> None:
    assert interval(RESNET).low_s == RESNET.interval.low_s
