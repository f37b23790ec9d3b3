"""Compound scaling against brute force over simulated networks, and against the published ones."""

from __future__ import annotations

import csv
import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import roofline as rf
from roofline.errors import InputError, UnknownNameError
from roofline.numeric import Array
from roofline.search.scaling.compound import compound_scale
from roofline.search.scaling.family import ScaledFamily
from roofline.search.scaling.forms import Limits
from roofline.search.scaling.grid import Grid, scaling_grid
from roofline.search.scaling.pick import Pick, pick_free
from roofline.search.scaling.promise import flops_scaled, settled, trades
from roofline.search.scaling.targets import networks

NEAR = Limits(depth=(1, 2), width=(1, 1.5), resolution=(1, 1.5), width_step=0.1, resolution_step=16)
TINY = Limits(depth=(1, 1.5), width=(1, 1.4), resolution=(1, 1.15), width_step=0.2, resolution_step=16)
DEVICES = ["tpu-v3", "v100"]


@pytest.fixture(scope="module")
def tiny() -> Grid:
    return scaling_grid(rf.model("efficientnet-x-b0"), DEVICES, TINY, batch=8)


@pytest.fixture(scope="module")
def family() -> ScaledFamily:
    return compound_scale("efficientnet-x-b0", DEVICES, times=[1.5, 2.5, 4], limits=NEAR, batch=128)


def gain(depth: Any, width: Any, pixels: Any) -> Array:
    """Return an accuracy that anybody can follow: everything counts the same."""
    return np.asarray(70.0 + 4.0 * (np.log(depth) + np.log(width) + np.log(pixels / 224)))


def test_every_point_of_the_grid_is_what_simulate_says(tiny: Grid) -> None:
    assert len(tiny) == math.prod(tiny.oracle.space.sizes) >= 20
    for row in range(0, len(tiny), 5):
        arch = tiny.arch(row, "x")
        for d, device in enumerate(DEVICES):
            report = rf.simulate(arch, device, batch=8)
            assert tiny.latency_s[row, d] == pytest.approx(report.latency_s, rel=1e-9)
        assert (tiny.macs[row], tiny.params[row]) == (report.macs_per_example, report.params)


@pytest.mark.parametrize("name", ["vit-b-16", "swin-t", "convnext-t", "resnet-50", "mobilenetv3-large", "inception-v3"])
def test_blocks_of_every_kind_scale_to_what_simulate_says(name: str) -> None:
    base = rf.model(name)
    step = 224 if name == "swin-t" else 32
    limits = Limits(depth=(1, 2.5), width=(1, 1.5), resolution=(1, 2), width_step=0.5, resolution_step=step)
    grid = scaling_grid(base, "v100", limits, batch=4)
    for row in {0, len(grid) // 2, len(grid) - 1}:
        report = rf.simulate(grid.arch(row, "x"), "v100", batch=4)
        assert grid.latency_s[row, 0] == pytest.approx(report.latency_s, rel=1e-9)
        assert grid.params[row] == report.params


@pytest.mark.parametrize(("name", "pixels"), [("efficientnet-b3", 300), ("efficientnet-x-b4", 380)])
def test_published_coefficients_give_the_published_network(name: str, pixels: int) -> None:
    base, other = rf.model(name[:-1] + "0"), rf.model(name)
    depth, width = {"efficientnet-b3": (1.4, 1.2), "efficientnet-x-b4": (1.8, 1.4)}[name]
    size = pixels / 224
    limits = Limits(depth=(depth, depth), width=(width, width), resolution=(size, size), resolution_step=4)
    grid = scaling_grid(base, "tpu-v3", limits)
    (made,) = (grid.arch(row, "x") for row in range(len(grid)))
    assert [s.repeats for s in made.stages] == [s.repeats for s in other.stages]
    assert made.image_size == pixels
    assert [getattr(s, "channels", 0) for s in made.stages] == [getattr(s, "channels", 0) for s in other.stages]


def test_depths_that_round_to_one_network_are_one_point(tiny: Grid) -> None:
    repeats = [tuple(s.repeats for s in tiny.arch(row, "x").stages) for row in range(len(tiny))]
    assert len(set(repeats)) == len(set(tiny.depth.tolist())) == len(tiny.depth_tops)
    assert list(tiny.depth_tops) == [1.0, 1.25, 1.33, 1.5]  # repeats are 1, 2, 3, 4: ceil(d x r) steps at k / r
    assert list(tiny.named(np.array([1.0, 1.01, 1.25, 1.26]))) == [1.0, 1.13, 1.13, tiny.axes[0][2]]


def free_by_hand(costs: Array, target: Array, accuracy: Array, tie: float) -> tuple[int, int]:
    """Return the best row and the recommended one, in plain loops."""
    load = [max(c / t for c, t in zip(row, target, strict=True)) for row in costs]
    inside = [i for i in range(len(load)) if load[i] <= 1 + 1e-9]
    top = max(accuracy[i] for i in inside)
    best = min((i for i in inside if accuracy[i] == top), key=lambda i: load[i])
    return best, min((i for i in inside if accuracy[i] >= top - tie), key=lambda i: load[i])


@pytest.mark.parametrize("objective", ["latency", "flops"])
@pytest.mark.parametrize("tie", [0.0, 0.25, 2.0])
def test_free_members_against_loops(objective: Any, tie: float) -> None:
    found = compound_scale("efficientnet-x-b0", DEVICES, times=[1.4, 2, 3], objective=objective, accuracy=gain,
                           coefficients="free", tie_pp=tie, limits=NEAR, batch=128)  # fmt: skip
    grid = found.grid
    costs = grid.latency_s if objective == "latency" else grid.macs[:, None]
    accuracy = gain(grid.depth, grid.width, grid.resolution)
    for pick, target in zip(found.answer.picks, found.targets, strict=True):
        assert (pick.best, pick.start) == free_by_hand(costs, target, accuracy, tie)
        assert set(pick.tied) >= {pick.best, pick.start}


def common_by_hand(grid: Grid, target: float, accuracy: Array) -> float:
    """Return the highest accuracy of one member over all directions: loops over (d, w, r) = exp(step x direction)."""
    rows = {(d, w, r): i for i, (d, w, r) in enumerate(zip(grid.depth, grid.width, grid.resolution, strict=True))}
    widths, sizes = sorted(set(grid.width)), sorted(set(grid.resolution))
    best = -math.inf
    for i, j in itertools.product(range(25), repeat=2):
        if i + j > 24:
            continue
        for step in np.arange(0, 1.6, 0.01):
            d, w, r = (math.exp(step * part / 24) for part in (i, j, 24 - i - j))
            if d > grid.depth_tops[-1] + 1e-9 or w > widths[-1] + 1e-9 or r * 224 > sizes[-1] + 1e-9:
                break
            width = min(widths, key=lambda x: abs(math.log(x / w)))
            size = min(sizes, key=lambda x: abs(math.log(x / 224 / r)))
            row = rows[float(grid.named(np.array([d]))[0]), width, size]
            if grid.latency_s[row, 0] <= target:
                best = max(best, accuracy[row])
    return best


def test_common_coefficients_of_one_member_against_loops() -> None:
    found = compound_scale("efficientnet-x-b0", "tpu-v3", times=[2.2], accuracy=gain, limits=NEAR, batch=128)
    accuracy = found.answer.prediction.mean
    by_hand = common_by_hand(found.grid, float(found.targets[0, 0]), accuracy)
    assert accuracy[found.answer.picks[0].best] == pytest.approx(by_hand, abs=1e-12)


def test_members_share_their_coefficients_and_keep_their_targets(family: ScaledFamily) -> None:
    triple, grid = family.answer.triple, family.grid
    assert triple is not None and [len(a.picks) for a in family.answers.values()] == [3, 3]
    logs = np.log([triple.alpha, triple.beta, triple.gamma])
    for pick, target in zip(family.answer.picks, family.targets, strict=True):
        assert (grid.latency_s[[pick.start, pick.row]] <= target * (1 + 1e-9)).all()
        depth, width, size = np.exp(logs * pick.phi)
        assert grid.depth[pick.start] == grid.named(np.array([depth]))[0]
        assert abs(grid.width[pick.start] / width - 1) < 0.06
        assert abs(grid.resolution[pick.start] / 224 / size - 1) < 0.06
        assert family.answer.prediction.mean[pick.start] >= family.answer.prediction.mean[pick.best] - family.tie_pp
    phis = [pick.phi for pick in family.answer.picks]
    assert phis == sorted(phis) and all(a <= b for a, b in zip(triple.lowest, triple.highest, strict=True))


def test_doubling_the_cost_is_phi_one() -> None:
    def wide(depth: Any, width: Any, pixels: Any) -> Array:
        return np.asarray(70.0 + np.log(width) - 9 * (depth > 1) - 9 * (pixels > 224))

    found = compound_scale(
        "efficientnet-b0",
        "tpu-v3",
        times=[2, 4, 8],
        objective="flops",
        accuracy=wide,
        tie_pp=0,
        limits=Limits(depth=(1, 2), width=(1, 4), resolution=(1, 1.5)),
    )
    triple = found.answer.triple
    assert triple is not None and (triple.alpha, triple.gamma) == (1.0, 1.0)
    assert triple.beta == pytest.approx(math.sqrt(2), abs=0.04)  # MACs go with the square of the width


def test_two_devices_must_both_be_kept() -> None:
    one = {d: compound_scale("efficientnet-b0", d, times=[2], limits=NEAR, batch=128, accuracy=gain) for d in DEVICES}
    limits = {d: [float(found.targets[0, 0] * 1e3)] for d, found in one.items()}
    both = compound_scale("efficientnet-b0", DEVICES, limits, limits=NEAR, batch=128, accuracy=gain)
    (pick,) = both.answer.picks
    assert (both.grid.latency_s[pick.row] * 1e3 <= [limits[d][0] + 1e-9 for d in DEVICES]).all()
    tops = [found.answer.prediction.mean[found.answer.picks[0].best] for found in one.values()]
    assert both.answer.prediction.mean[pick.best] <= min(tops) + 1e-9


def test_written_members_simulate_to_what_the_family_says(family: ScaledFamily, tmp_path: Path) -> None:
    made = family.save(tmp_path / "out")
    assert {p.name for p in made} >= {"family.csv", "summary.json", "path.png", "accuracy-v100.png"}
    rows = list(csv.DictReader((tmp_path / "out" / "family.csv").read_text().splitlines()))
    for row, arch in zip(rows, family.members, strict=True):
        path = tmp_path / "out" / "architectures" / f"{arch.name}.toml"
        for device in DEVICES:
            found = rf.simulate(path, device, batch=128).latency_ms
            assert float(row[f"latency_ms_{device}"]) == pytest.approx(found, rel=1e-9)
        assert "+-" in row["figure"] and "out of domain" in row["figure"]  # no calibration has seen EfficientNet-X
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(content["answers"]) == {"all-families", "efficientnet"}
    assert all(a["error_of_families_left_out_pp"] > 0 for a in content["answers"].values())
    assert list(family.table()["member"]) == list(family.names)


def test_what_flops_would_take_is_as_accurate_and_has_no_more_macs(family: ScaledFamily) -> None:
    table = family.table()
    assert (table["flops_scaled_accuracy"] >= table["accuracy"] - 1e-9).all()
    assert (table["flops_scaled_macs"] <= table["macs"]).all() and (table["flops_scaled_macs"] < table["macs"]).any()
    for row, member in table.iterrows():
        enough = family.answer.prediction.mean >= member["accuracy"]
        assert member["flops_scaled_macs"] == min(family.grid.macs[enough]), row


@pytest.mark.parametrize("device", ["tpu-v2", "tpu-v3", "v100", "a100-80gb"])
@pytest.mark.parametrize("coefficients", ["common", "free"])
def test_no_network_of_equal_accuracy_is_faster_than_a_member(device: str, coefficients: Any) -> None:
    """However the other one is scaled: looked for among all networks, in plain loops."""
    found = compound_scale("efficientnet-x-b0", device, times=[1.5, 2.5, 4], coefficients=coefficients, limits=NEAR,
                           batch=128)  # fmt: skip
    latency, moved = found.grid.latency_s[:, 0].tolist(), 0
    for name, answer in found.answers.items():
        accuracy = answer.prediction.mean.tolist()
        for pick, target in zip(answer.picks, found.targets[:, 0], strict=True):
            as_accurate = [i for i in range(len(latency)) if accuracy[i] >= accuracy[pick.row]]
            assert latency[pick.row] == min(latency[i] for i in as_accurate) and latency[pick.row] <= target + 1e-12
            assert accuracy[pick.row] >= accuracy[pick.start] and latency[pick.row] <= latency[pick.start]
            moved += pick.row != pick.start
        assert not found.trades(name)
        for row in found.rows(name):
            assert row[f"latency_ms_{device}"] <= row[f"flops_scaled_latency_ms_{device}"]
    assert (moved > 0) == (coefficients == "common")  # free members are the fastest already


@pytest.mark.parametrize("share", [0.8, 0.9, 1.1])
def test_on_several_devices_no_member_is_slower_or_the_trade_is_told(share: float) -> None:
    """Accuracy likes pixels twice as much: by load alone the FLOPs-scaled one would be faster somewhere."""
    limits = {"tpu-v3": [12.2, 20.3, 32.5], "v100": [21.7 * share, 36.1 * share, 57.8 * share]}
    found = compound_scale("efficientnet-x-b0", DEVICES, limits, limits=NEAR, batch=128,
                           accuracy=lambda d, w, px: gain(d, w, px) + 4 * np.log(px / 224))  # fmt: skip
    told = " ".join(found.trades())
    for row in found.rows():
        slower = [d for d in DEVICES if row[f"latency_ms_{d}"] > row[f"flops_scaled_latency_ms_{d}"]]
        assert bool(slower) == (f"{row['member']}: scaled by FLOPs," in told)
        beyond = [d for d in DEVICES if row[f"flops_scaled_latency_ms_{d}"] * 1e-3 > row[f"target_s_{d}"] * (1 + 1e-9)]
        assert beyond or not slower  # a trade only where the FLOPs-scaled one does not keep the targets itself


def hand_made(latency_s: Any, macs: Any) -> Any:
    oracle = SimpleNamespace(devices=("a", "b"))
    return SimpleNamespace(latency_s=np.array(latency_s), macs=np.array(macs), oracle=oracle)


def test_promises_by_hand() -> None:
    accuracy = np.array([80.0, 80.0, 79.0, 80.5])
    grid = hand_made([[1.0, 1.0], [0.5, 3.0], [0.1, 0.1], [0.4, 0.9]], [5.0, 1.0, 0.5, 9.0])
    (start,) = pick_free(grid.latency_s, np.array([[2.0, 2.0]]), accuracy, tie=0.6)
    assert (start.best, start.row) == (3, 3)  # most accurate, and of least load among those within 0.6 points
    worse = replace(start, row=0, start=0)
    assert [p.row for p in settled(grid, np.array([[2.0, 2.0]]), accuracy, [worse])] == [3]  # faster, more accurate
    grid = hand_made([[1.0, 1.0], [0.5, 3.0], [0.1, 0.1], [4.0, 9.0]], [5.0, 1.0, 0.5, 9.0])
    (kept,) = settled(grid, np.array([[2.0, 2.0]]), accuracy, [worse])  # 1 has fewer MACs, but takes too long on b
    twins = flops_scaled(grid, accuracy, [kept.row])
    assert (kept.row, twins) == (0, [1])
    assert trades(grid, ["x"], [0], twins) == [
        "x: scaled by FLOPs, a network as accurate takes 50.0 % less on a, 200.0 % more on b"
    ]
    (roomy,) = settled(grid, np.array([[4.0, 4.0]]), accuracy, [worse])  # within the targets 1 keeps the promise
    assert roomy.row == 1 and not trades(grid, ["x"], [1], flops_scaled(grid, accuracy, [1]))


def test_published_networks_beside_the_family(family: ScaledFamily) -> None:
    names = ["efficientnet-x-tpu-b2", "efficientnet-x-tpu-b3"]
    found = family.published(names)
    assert found.scale[0].tolist() == pytest.approx([1.29, 1.13, 244 / 224])
    assert found.latency_ms[1] == rf.simulate(names[1], "tpu-v3", batch=128).latency_ms
    with pytest.raises(InputError, match="not of the base's"):
        family.published(["resnet-50"])


def test_networks_that_round_to_one_are_merged_and_said() -> None:
    found = compound_scale("efficientnet-b0", "tpu-v3", times=[2, 2.0001, 3], limits=NEAR, accuracy=gain)
    assert found.names == ("1", "3") and any("2 rounds to the same network as 1" in note for note in found.notes)


def test_a_base_of_patches_scales_in_steps_of_them() -> None:
    base = rf.model("vit-b-16")
    grid = scaling_grid(base, "a100-80gb", Limits(resolution=(1, 2)))
    assert set(grid.resolution % 16) == {0} and len(set(grid.depth)) > 5
    assert any("some multiples of width" in note for note in grid.notes)  # heads must divide the width
    with pytest.raises(InputError, match="divide by patches of 16 px: resolution_step 8"):
        scaling_grid(base, "a100-80gb", Limits(resolution_step=8))
    held = scaling_grid(base, "a100-80gb", Limits(width=(1, 1.2)))
    assert any("cannot scale in width" in note for note in held.notes)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, "one of them; got none"),
    "two": ({"times": [2], "like": "efficientnet-b1"}, "got times and like"),
    "order": ({"times": [2, 8, 4]}, r"targets must grow: .* \(3\) comes after .* \(2\)"),
    "low": ({"targets": [0.5]}, "closest network, depth 1, width 1, 224 px"),
    "high": ({"times": [1000]}, "beyond everything in the range: the closest network"),
    "text": ({"targets": ["fast"]}, "must be numbers"),
    "zero": ({"times": [0]}, "positive numbers"),
    "objective": ({"times": [2], "objective": "energy"}, "'latency' or 'flops'"),
    "coefficients": ({"times": [2], "coefficients": "mixed"}, "'common' or 'free'"),
    "devices": ({"targets": {"tpu-v3": [30], "v100": [30, 40]}, "device": DEVICES}, "same number for every device"),
    "mapping": ({"targets": {"tpu-v3": [30]}, "objective": "flops"}, "give a list"),
    "range": ({"like": "efficientnet-b7..b1"}, "a range of networks is like"),
    "top1 beyond the law": ({"times": [2], "base_top1": 95.0}, "no network reaches more than 90"),
    "top1": ({"times": [2], "base_top1": 0.77e3}, "percentage in 0..100"),
    "tie": ({"times": [2], "tie_pp": -1}, "tie_pp must be"),
    "nan": ({"times": [2], "accuracy": lambda d, w, r: d * np.nan}, "returned"),
    "shape": ({"times": [2], "accuracy": lambda d, w, r: d[:3]}, "must have shape"),
    "raises": ({"times": [2], "accuracy": lambda d, w, r: 1 / 0}, "ZeroDivisionError"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str) -> None:
    given, message = BAD[case]
    options = {"device": "tpu-v3", "batch": 128, "limits": TINY, **given}
    with pytest.raises(InputError, match=message):
        compound_scale("efficientnet-b0", **options)


def test_unknown_names_and_bases_that_read_no_image() -> None:
    with pytest.raises(UnknownNameError, match="nearest: 'all-families'"):
        compound_scale("efficientnet-b0", "tpu-v3", times=[2], accuracy="all-family")
    with pytest.raises(InputError, match="reads tokens"):
        compound_scale("bert-base", "tpu-v3", times=[2])
    still = Limits(depth=(1, 1), width=(1, 1), resolution=(1, 1))
    with pytest.raises(InputError, match="held in every dimension"):
        compound_scale("efficientnet-b0", "tpu-v3", times=[1], limits=still)
    with pytest.raises(InputError, match="multiple to another"):
        Limits(depth=(2, 1))
    assert networks("efficientnet-x-tpu-b1..b2, resnet-50") == [
        "efficientnet-x-tpu-b1", "efficientnet-x-tpu-b2", "resnet-50",
    ]  # fmt: skip


def test_a_pick_without_common_coefficients_has_no_phi() -> None:
    assert math.isnan(Pick(row=0, start=0, best=0, tied=np.array([0])).phi)
