"""The page of a report: everything inside, nothing fetched, names never markup, and numbers that are the report's."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pages import blocks
from places import ROOT

import roofline as rf
from roofline.cli import main
from roofline.errors import InputError
from roofline.report.page.render import page, plotly_script

pytest.importorskip("plotly")
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;"


class Reader(HTMLParser):
    """The tags of a page with their attributes, the cells of its tables, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[tuple[str, str | None]]]] = {}
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._table = self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "table":
            self._table = found.get("id") or f"facts {len(self.tables)}"
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append(("", found.get("data-v")))
        elif tag == "script":
            self.scripts.append("")
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
            return
        self.words.append(data)
        if self._inside in ("td", "th", "button"):
            row = self.tables[self._table][-1]
            row[-1] = (row[-1][0] + data, row[-1][1])


@pytest.fixture(scope="module")
def report() -> rf.Report:
    return rf.simulate("efficientnet-b7", "tpu-v3", batch=32)


@pytest.fixture(scope="module")
def text(report: rf.Report) -> str:
    return page(report)


@pytest.fixture(scope="module")
def html(text: str) -> Reader:
    return Reader(text)


def figures(html: Reader) -> dict[str, Any]:
    content = json.loads(html.scripts[0])
    assert isinstance(content, dict)
    return content


def test_everything_is_inside(html: Reader) -> None:
    for _, attributes in html.tags:
        assert "src" not in attributes and "srcset" not in attributes and "action" not in attributes
        assert (attributes.get("href") or "#").startswith(("#", "data:"))
    assert not any(tag in ("iframe", "object", "embed", "img", "base") for tag, _ in html.tags)


def test_the_policy_allows_the_two_scripts_and_no_connection(html: Reader) -> None:
    (policy,) = [a["content"] or "" for tag, a in html.tags if tag == "meta" and "http-equiv" in a]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and "connect-src" not in rules
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in html.scripts[1:]]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in hashes]
    assert len(hashes) == 2


def test_the_largest_network_stays_small(text: str) -> None:
    assert len(text.encode()) < 6e6


def test_the_same_report_gives_the_same_bytes(report: rf.Report, text: str) -> None:
    assert page(rf.simulate("efficientnet-b7", "tpu-v3", batch=32)) == text


def test_the_kernel_table_is_the_reports(html: Reader, report: rf.Report) -> None:
    head, *rows = html.tables["kernel-table"]
    titles = [title for title, _ in head]
    assert [row[titles.index("kernel")][0] for row in rows] == list(report.kernels["kernel"])
    shares = sum(float(row[titles.index("share")][1] or "nan") for row in rows)
    assert shares * report.latency_s == pytest.approx(report.device_s, rel=1e-5)
    assert rows[0][titles.index("time µs")][0] == f"{report.kernels['time_s'][0] * 1e6:,.0f}"


def test_stages_add_up(html: Reader, report: rf.Report) -> None:
    head, *rows = html.tables["stage-table"]
    titles = [title for title, _ in head]
    for title, column in {"time ms": "time_s", "GFLOP": "flops", "traffic MB": "traffic_bytes"}.items():
        total = sum(float(row[titles.index(title)][1] or "nan") for row in rows)
        assert total == pytest.approx(report.kernels[column].sum(), rel=1e-4)
    assert [row[0][0] for row in rows] == list(dict.fromkeys(report.kernels["stage"]))


def test_each_waterfall_ends_in_what_it_explains(html: Reader, report: rf.Report) -> None:
    choices = [word for tag, word in zip_tags(html, "option")]
    drawn = figures(html)["waterfalls"]
    assert len(choices) == len(drawn)
    totals_ms = dict(zip(choices, (sum(figure["data"][0]["x"]) for figure in drawn), strict=True))
    assert totals_ms["the whole network"] == pytest.approx(report.latency_ms, rel=1e-9)
    by_stage = report.kernels.groupby("stage")["time_s"].sum()
    for stage, time_s in by_stage.items():
        assert totals_ms[f"stage {stage}"] == pytest.approx(time_s * 1e3, rel=1e-9)
    assert all(figure["data"][0]["measure"][-1] == "total" for figure in drawn)


def zip_tags(html: Reader, tag: str) -> list[tuple[str, str]]:
    """Return (tag, words) of every option: the words of the page that name a choice."""
    count = sum(1 for name, _ in html.tags if name == tag)
    start = next(i for i, word in enumerate(html.words) if word == "the whole network")
    return [(tag, word) for word in html.words[start : start + count]]


def test_bubbles_lie_under_the_roof_of_a_device_without_caches(html: Reader, report: rf.Report) -> None:
    """A TPU v3 keeps nothing between kernels: no kernel beats min(I x bandwidth, peak)."""
    bubbles = [t for t in figures(html)["roofline"]["data"] if t["mode"] == "markers"]
    solid = [t for t in bubbles if t["marker"]["symbol"] == "circle"]
    points = [(x, y) for t in solid for x, y in zip(t["x"], t["y"], strict=True)]
    assert points
    for x, y in points:
        assert y <= min(x * report.bandwidth_bytes_per_s, report.peak_flops_per_s) * 1.0001
    assert sum(sum(t["marker"]["size"]) for t in bubbles) == pytest.approx(
        report.kernels.query("flops > 0 or vector_ops > 0")["share"].sum()
    )


def test_provenance_names_every_number_with_its_source(html: Reader, report: rf.Report) -> None:
    rows = {row[0][0]: row[-1][0] for table in html.tables.values() for row in table if len(row) == 3}
    for fact in report.device_spec.quantities:
        assert ((fact.source and report.device_spec.sources[fact.source]) or fact.estimate or "") in rows[fact.path]
    assert "estimate" in rows["matrix.weight_load"] and rows["launch.overlap"]
    assert rf.__version__ in "".join(html.words)
    assert any("efficientnet_builder.py" in text for text in rows.values())


def evil_report() -> rf.Report:
    b = rf.GraphBuilder(EVIL)
    x = b.linear(b.input("x", (8, 64)), 64, name=EVIL)
    return rf.simulate(b.graph([b.relu(x)]), "v100")


def test_names_are_never_markup() -> None:
    html = Reader(page(evil_report()))
    assert len(html.scripts) == 3 and not any(tag == "img" for tag, _ in html.tags)
    assert any(EVIL in word for word in html.words)
    drawn = json.dumps(figures(html))
    assert "<script" not in drawn and "<img" not in drawn and "&lt;script" in drawn


def test_notebooks_escape_too() -> None:
    shown = evil_report()._repr_html_()
    assert "<script" not in shown and "&lt;script&gt;" in shown and "data:image/png;base64," in shown


def test_a_runtime_made_in_python_says_so() -> None:
    from dataclasses import replace

    mine = replace(rf.runtime("pytorch_eager"), floor_s=1e-6)
    html = Reader(page(rf.simulate("resnet-18", "v100", runtime=mine)))
    rows = {row[0][0]: row for table in html.tables.values() for row in table if len(row) == 3}
    assert rows["floor_s"][1:] == [("1e-06", None), ("given by the caller", None)]


def test_advice_is_shown_best_first(report: rf.Report) -> None:
    advice = rf.advise("resnet-18", "v100", batch=4)
    head, *rows = Reader(page(report, advice)).tables["advice-table"]
    gains = advice[advice["throughput_change"] > 0]
    assert [row[0][0] for row in rows] == list(gains["description"])
    assert [title for title, _ in head][-3:] == ["latency", "throughput", "MACs"]
    assert rows[0][-2][0] == f"{100 * gains['throughput_change'].iloc[0]:+.1f} %"
    evil = advice.assign(description=EVIL)
    assert Reader(page(report, evil)).tables["advice-table"][1][0][0] == EVIL
    assert "Not asked for" in page(report) and "No change that was tried" in page(report, advice.iloc[:0])


def test_without_plotly(monkeypatch: pytest.MonkeyPatch, report: rf.Report) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    plotly_script.cache_clear()
    with pytest.raises(InputError, match=r"pip install 'roofline\[report\]'"):
        page(report)


def test_a_run_that_does_not_fit_says_so_first() -> None:
    words = "".join(Reader(page(rf.simulate("efficientnet-b7", "tpu-v2", batch=65536))).words)
    assert words.index("does not fit") < words.index("Latency")


def test_the_command_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "report.html"
    words = ["simulate", "resnet-18", "--device", "v100", "--output", str(target)]
    assert main(words) == 0
    assert re.match(r"<!doctype html>", target.read_text(encoding="utf-8"))
    assert main(words) == 2 and "--force" in capsys.readouterr().err


def test_the_examples_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for code in blocks(ROOT / "docs" / "report.md", "python"):
        exec(compile(code, "report.md", "exec"), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "run.trace.json"]
    for line in "".join(blocks(ROOT / "docs" / "report.md", "sh")).splitlines():
        assert main([*shlex.split(line)[1:], "--force"]) == 0
    assert (tmp_path / "trace.json").read_text() == (tmp_path / "run.trace.json").read_text()
