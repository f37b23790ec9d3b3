"""What unverified facts do to latencies and ratios, against whole simulations of the devices at the ends."""

from __future__ import annotations

import math

import pytest

import roofline as rf
from roofline.hardware.ranges import open_facts
from roofline.hardware.spec import Device
from roofline.report.ranges import fact_range


def at_ends(name: str, field: str) -> tuple[Device, Device]:
    (fact,) = (f for f in open_facts(rf.device(name)) if f.field == field)
    return fact.at_low, fact.at_high


HBM = "hbm.bandwidth_bytes_per_s"


@pytest.mark.parametrize(
    ("model", "device", "field"),
    [
        ("efficientnet-b0", "tpu-v2", HBM),
        ("efficientnet-x-b3", "tpu-v4i", "cmem.bandwidth_bytes_per_s"),
        ("resnet-50", "rtx-pro-6000-max-q", "clock_hz"),
    ],
)
def test_an_effect_is_that_of_a_simulation_at_the_end(model: str, device: str, field: str) -> None:
    run = rf.simulate(model, device, batch=64)
    (effect,) = (e for e in run.fact_range.effects if e.fact.field == field)
    low, high = (rf.simulate(model, end, batch=64).latency_s for end in at_ends(device, field))
    assert run.latency_s * effect.at_low == pytest.approx(low, rel=1e-12)
    assert run.latency_s * effect.at_high == pytest.approx(high, rel=1e-12)
    assert run.fact_range.low <= min(1.0, effect.at_low, effect.at_high)
    assert run.fact_range.high >= max(1.0, effect.at_low, effect.at_high)


def test_effects_add_up_and_the_strongest_is_named() -> None:
    run = rf.simulate("efficientnet-x-b5", "tpu-v3", batch=64)
    found = run.fact_range
    assert found.high == pytest.approx(math.prod(max(1.0, e.at_low, e.at_high) for e in found.effects))
    assert found.low == pytest.approx(math.prod(min(1.0, e.at_low, e.at_high) for e in found.effects))
    sizes = [e.size for e in found.effects]
    assert sizes == sorted(sizes, reverse=True) and found.decided_by == str(found.effects[0].fact)
    both = found.effects[0].fact.at_low.with_overrides({HBM: 825e9})  # the two that matter, at once
    alone = math.prod(e.at_low for e in found.effects if e.fact.field in (HBM, found.effects[0].fact.field))
    together = rf.simulate("efficientnet-x-b5", both, batch=64).latency_s / run.latency_s
    assert together == pytest.approx(alone, rel=0.01)  # the linear step


def test_a_fact_that_both_runs_share_is_at_one_end_in_both() -> None:
    slow, fast = (rf.simulate(m, "tpu-v2", batch=64) for m in ("efficientnet-b0", "efficientnet-x-b0"))
    of_memory = [{f: e for f, e in run.fact_effects.items() if f.field == HBM} for run in (slow, fast)]
    ratio = fact_range([(of_memory[0], 1.0), (of_memory[1], -1.0)])
    wanted = []
    for end in at_ends("tpu-v2", HBM):
        a, b = (rf.simulate(m, end, batch=64).latency_s for m in ("efficientnet-b0", "efficientnet-x-b0"))
        wanted.append((a / b) / (slow.latency_s / fast.latency_s))
    assert (ratio.low, ratio.high) == pytest.approx((min(1.0, *wanted), max(1.0, *wanted)), rel=1e-9)
    apart = [fact_range([(effects, 1.0)]) for effects in of_memory]
    assert ratio.high / ratio.low < math.prod(r.high / r.low for r in apart)  # what both share cancels
    same = fact_range([(slow.fact_effects, 1.0), (slow.fact_effects, -1.0)])
    assert (same.low, same.high, same.decided_by) == (1.0, 1.0, "")


def test_facts_of_two_devices_have_nothing_in_common() -> None:
    before, after = (rf.simulate("efficientnet-b0", d, batch=8) for d in ("tpu-v2", "tpu-v4i"))
    moved = fact_range([(before.fact_effects, 1.0), (after.fact_effects, -1.0)])
    assert moved.high == pytest.approx(before.fact_range.high / after.fact_range.low)
    assert moved.low == pytest.approx(before.fact_range.low / after.fact_range.high)
    assert {e.fact.device for e in moved.effects} == {"tpu-v2", "tpu-v4i"}


def test_a_device_without_open_facts_has_no_range() -> None:
    found = rf.simulate("resnet-18", "a100-40gb", batch=8).fact_range
    assert (found.low, found.high, found.effects, found.decided_by) == (1.0, 1.0, (), "")


def test_the_report_says_which_fact_decides() -> None:
    from roofline.report.summary import summary_rows

    run = rf.simulate("bert-base", "tpu-v2", batch=64)
    (row,) = (row for row in summary_rows(run) if row[0] == "Unverified facts")
    assert row[2] == "most by memory.HBM.bandwidth 600 to 716 GB/s"
    said = run.to_dict()["unverified_facts"]
    assert said["low_ms"] < run.latency_ms < said["high_ms"]
    assert said["effects"][0]["fact"] == "tpu-v2: memory.HBM.bandwidth" and said["effects"][0]["why"]
    assert not [row for row in summary_rows(rf.simulate("resnet-50", "v100")) if row[0] == "Unverified facts"]
