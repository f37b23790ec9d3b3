"""What `rf.evidence` says is what the shipped files and the simulator say, counted another way."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from places import ROOT

import roofline as rf
from roofline.studies.evidence import Evidence

FOLDER = ROOT / "roofline"


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return rf.evidence()


def test_every_published_latency_is_there(evidence: Evidence) -> None:
    figures = tomllib.loads((FOLDER / "studies" / "published.toml").read_text())["latency"]["ms"]
    assert len(evidence.latencies) == sum(len(devices) for devices in figures.values())
    for row in evidence.latencies.to_dict("records"):
        assert row["published_ms"] == figures[row["model"]][row["device"]]
    last = evidence.latencies.iloc[-1]
    options = {name: last[name] for name in ("runtime", "dtype")}
    report = rf.simulate(last["model"], last["device"], batch=int(last["batch"]), **options)
    assert last["ratio"] == pytest.approx(report.latency_ms / last["published_ms"])


def test_factors_are_those_that_reports_carry(evidence: Evidence) -> None:
    shipped = tomllib.loads((FOLDER / "report" / "intervals.toml").read_text())["runtimes"]
    table = evidence.intervals.set_index("runtime")
    assert set(table.index) == set(shipped)
    for name, row in table.iterrows():
        device, dtype = shipped[name]["devices"][0], shipped[name]["dtypes"][0]
        report = rf.simulate("resnet-50", device, runtime=str(name), dtype=dtype, batch=64)
        if row["sets"]:  # few sets promise nothing, and say so
            (reason,) = (r for r in report.interval.reasons if "promise nothing of a new one" in r)
            assert reason.startswith(str(len(shipped[name]["sets"])))
            continue
        assert not report.interval.extrapolating
        assert report.interval.high_s / report.latency_s == pytest.approx(row["factor"])
        assert row["rows"] == shipped[name]["rows"]


def test_speedups_are_ratios_of_latencies(evidence: Evidence) -> None:
    ms = evidence.latencies.set_index(["device", "model"])
    for row in evidence.speedups.to_dict("records"):
        slow, fast = (ms.loc[(row["device"], f"efficientnet{x}-{row['size']}")] for x in ("", "-x"))
        assert row["published"] == pytest.approx(slow["published_ms"] / fast["published_ms"])
        assert row["ratio"] == pytest.approx(slow["ratio"] / fast["ratio"])


def test_migrations_are_those_of_the_results_page(evidence: Evidence) -> None:
    """``docs/results.md`` is written from the same figures by another program, and tests keep it up to date."""
    page = (FOLDER.parent / "docs" / "results.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith("| predicted |"))
    shown = [float(cell) for cell in line.strip("| ").split("|")[1:]]
    assert list(evidence.migrations["predicted"]) == pytest.approx(shown, abs=0.011)
    for row in evidence.migrations.to_dict("records"):
        assert 0 < row["slowest"] <= row["predicted"] <= row["fastest"]


def test_the_words_quote_the_tables(evidence: Evidence) -> None:
    text = str(evidence)
    assert f"{len(evidence.latencies)} published latencies" in text
    assert f"median {evidence.latencies['ratio'].median():.2f}" in text
    for row in evidence.intervals.to_dict("records"):
        assert f"{row['rows']} measured networks under {row['runtime']}" in text


def test_the_picture_has_a_panel_per_device(evidence: Evidence, tmp_path: Path) -> None:
    figure = evidence.plot(tmp_path / "p.png")
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_visible()]
    assert [title.split(",")[0] for title in titles] == list(evidence.latencies["device"].unique())
