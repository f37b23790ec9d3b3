"""The headline figures: each beside what is published, with conditions, ranges and the compiler's estimates."""

from __future__ import annotations

import csv
import math
from itertools import combinations
from typing import Any

import pandas as pd
import pytest
from places import ROOT

import roofline as rf
from roofline.report.ratios import mean_ratio
from roofline.stats import geometric_mean
from roofline.studies import published as figures
from roofline.studies.compiled import compiled, compiled_migrations, mean_estimates, median_distance
from roofline.studies.headlines import Headlines

#: the estimates that the shipped ratios were read off, which are no part of the project
ESTIMATES = ROOT.parent / "shared" / "reference" / "tpu_compiler_estimates.csv"


@pytest.fixture(scope="module")
def gap() -> Headlines:
    return rf.headlines("gap")


@pytest.fixture(scope="module")
def migration() -> Headlines:
    return rf.headlines("migration")


def runs(device: str) -> dict[str, Any]:
    how, batch = figures.published().latency.conditions[device], figures.published().latency.batch
    models = [f"{family}-{size}" for family in figures.published().families for size in figures.published().sizes]
    return {m: rf.simulate(m, device, batch=batch, runtime=how.runtime, dtype=how.dtype) for m in models}


def test_every_published_figure_is_there(gap: Headlines, migration: Headlines) -> None:
    assert list(gap.table["published"]) == [1.5, 2, 2, 400, 400, 400, 400]
    assert list(migration.table["published"]) == [3.0, 1.3, 2.6, 1.3, 2.6]  # two families at two kinds of batch size
    both = rf.headlines().table
    assert both.equals(pd.concat([gap.table, migration.table], ignore_index=True))
    with pytest.raises(rf.RooflineError, match="no headlines on 'speed'; allowed: 'gap', 'migration'"):
        rf.headlines("speed")


@pytest.mark.parametrize("device", ["tpu-v3", "v100"])
def test_speed_ups_and_proxies_follow_from_simulations(gap: Headlines, device: str) -> None:
    found, sizes = runs(device), figures.published().sizes
    rows = [row for row in gap.table.to_dict("records") if device in row["figure"]]
    speedup, member, families = rows
    pairs = [(found[f"efficientnet-{s}"], found[f"efficientnet-x-{s}"]) for s in sizes]
    assert speedup["predicted"] == pytest.approx(geometric_mean([a.latency_s / b.latency_s for a, b in pairs]))
    sure = mean_ratio(pairs)
    for name in ("low", "high", "facts_low", "facts_high", "decided_by"):
        assert speedup[name] == getattr(sure, name) or speedup[name] == pytest.approx(getattr(sure, name))
    of_pairs = [b.achieved_flops_per_s / a.achieved_flops_per_s for a, b in pairs]
    assert member["predicted"] == pytest.approx(100 * (max(of_pairs) - 1))
    rates = [run.achieved_flops_per_s for run in found.values()]
    assert families["predicted"] == pytest.approx(
        100 * (max(a / b for a, b in combinations(rates, 2)) - 1)
    ) or families["predicted"] == pytest.approx(100 * (max(rates) / min(rates) - 1))
    for row in (member, families):
        assert 0 <= row["low"] <= row["facts_low"] <= row["predicted"] <= row["facts_high"] <= row["high"]
        assert "batch 128" in row["conditions"]


def test_migrations_are_those_at_the_chosen_batches(migration: Headlines) -> None:
    table = figures.migrations()
    chosen = figures.at_batches(table, figures.allowed_batches(table))
    fixed = table[table["batch"] == 128]
    wanted = [
        gain for rows in (chosen, fixed) for gain in rows.groupby("family", sort=False)["speedup"].agg(geometric_mean)
    ]
    assert list(migration.table["predicted"][1:]) == pytest.approx(wanted)
    for row in migration.table.to_dict("records")[1:]:
        assert row["low"] < row["facts_low"] < row["predicted"] < row["facts_high"] < row["high"]
        outside = not row["facts_low"] * 0.98 <= row["published"] <= row["facts_high"] * 1.02
        assert bool(row["would_take"]) == outside


def test_what_it_would_take_is_true(migration: Headlines) -> None:
    """Take the share that is named off the kernels that are named, and the published figure comes out."""
    row = migration.table.to_dict("records")[4]  # EfficientNet-X at batch 128
    words = row["would_take"].split()
    assert words[0] == "2.6" and "kernels bound by vector" in row["would_take"]
    took = float(words[words.index("took") + 1])
    ratios, shares = [], []
    for size in figures.published().sizes:
        before, after = (rf.simulate(f"efficientnet-x-{size}", d, batch=128) for d in ("tpu-v2", "tpu-v4i"))
        ratios.append(before.latency_s / after.latency_s)
        shares.append(after.bound_shares["vector"])
    share = sum(shares) / len(shares)
    assert geometric_mean(ratios) / (1 - share * (1 - took)) == pytest.approx(2.6, rel=0.02)


def test_the_compiler_is_quoted_where_it_has_been_asked(gap: Headlines, migration: Headlines) -> None:
    first = gap.table.iloc[0]
    told = compiled().speedup["tpu-v3"]
    assert first["compiled_of"] == "B0, B1, B3" and set(told) == {"b0", "b1", "b3"}
    ends = [geometric_mean([t[name] for t in told.values() if name in t]) for name in ("bundles", "cycles")]
    assert [first["compiler_low"], first["compiler_high"]] == pytest.approx(sorted(ends))
    assert math.isnan(gap.table.iloc[1]["compiler_low"])  # no GPU
    fixed = migration.table.iloc[-1]
    assert fixed["compiled_of"] == "efficientnet-x-b0 at 128"
    assert [fixed["compiler_low"], fixed["compiler_high"]] == sorted(
        compiled().migration["efficientnet-x-b0"][128].values()
    )
    assert mean_estimates([]) == {}


def test_the_shipped_ratios_are_those_of_the_estimates() -> None:
    if not ESTIMATES.is_file():
        pytest.skip("the compiler's estimates are not beside the checkout")
    with ESTIMATES.open(newline="") as file:
        ms = {
            (row["device"], row["model"], int(row["images_per_chip"])): {
                name: float(row[column]) if row[column] else math.nan
                for name, column in (("cycles", "classic_estimate_ms"), ("bundles", "bundles_or_hbm_ms"))
            }
            for row in csv.DictReader(file)
        }
    pairs = {(m, b) for device, m, b in ms if device == "v2" and ("v4i", m, b) in ms}
    assert pairs == {(m, b) for m, batches in compiled().migration.items() for b in batches}
    for model, batch in pairs:
        for name, ratio in compiled().migration[model][batch].items():
            assert ratio == pytest.approx(ms["v2", model, batch][name] / ms["v4i", model, batch][name], abs=6e-4)
    for size, found in compiled().speedup["tpu-v3"].items():
        for name, ratio in found.items():
            one, other = (ms["v3", f"efficientnet{x}-{size}", 128][name] for x in ("", "-x"))
            assert ratio == pytest.approx(one / other, abs=6e-4)


def test_predictions_stand_beside_every_estimate() -> None:
    table = compiled_migrations()
    assert len(table) == sum(len(batches) for batches in compiled().migration.values())
    (row,) = table[(table["model"] == "efficientnet-x-b3") & (table["batch"] == 32)].to_dict("records")
    old, new = (rf.simulate("efficientnet-x-b3", d, batch=32).latency_s for d in ("tpu-v2", "tpu-v4i"))
    assert row["predicted"] == pytest.approx(old / new, rel=1e-12)
    assert row["facts_low"] < row["predicted"] < row["facts_high"]
    made_up = pd.DataFrame({"predicted": [1.0, 1.2, 2.0], "bundles": [1.0, 1.0, 1.0]})
    assert median_distance(made_up) == pytest.approx(0.2)


def test_the_finding_says_it_all(gap: Headlines) -> None:
    lines = gap.finding.splitlines()
    assert len(lines) == len(gap.table) and all(line.endswith(".") for line in lines)
    assert "XLA's compiler" in lines[0] and "published 1.5" in lines[0]
