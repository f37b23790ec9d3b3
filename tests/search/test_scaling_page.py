"""``docs/scaling.md``: its figures are those of now, its example runs, and its claims hold."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pages import assert_up_to_date, blocks
from places import ROOT

from roofline.search.accuracy.scaling_law import scaling_laws

PAGE = ROOT / "docs" / "scaling.md"


@pytest.fixture(scope="module")
def writer() -> Iterator[dict[str, Any]]:
    """Return the functions of ``tools/scaling.py``, which has a module beside it."""
    sys.path.insert(0, str(ROOT / "tools"))
    yield runpy.run_path(str(ROOT / "tools" / "scaling.py"))
    sys.path.remove(str(ROOT / "tools"))


def test_the_page_is_up_to_date(writer: dict[str, Any]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert set(writer["FILLED"].findall(text)) and len(writer["FILLED"].findall(text)) == len(writer["parts"]())
    assert_up_to_date(text, writer["page"](text), "tools/scaling.py")


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(PAGE, "python")
    exec(compile(code, PAGE.name, "exec"), {})
    assert "AutoAugment" in capsys.readouterr().out


def test_flops_give_coefficients_near_the_published_ones(writer: dict[str, Any]) -> None:
    triple = writer["plain"]("efficientnet").answer.triple
    for found in ((triple.alpha, triple.beta, triple.gamma), triple.best):
        np.testing.assert_allclose(found, writer["PUBLISHED"], atol=writer["NEAR"])


@pytest.mark.parametrize("device", ["tpu-v3", "v100"])
@pytest.mark.parametrize("calibration", list(scaling_laws()))
def test_latency_spares_resolution_and_its_members_are_faster(
    writer: dict[str, Any], device: str, calibration: str
) -> None:
    triple = writer["family"](device, "latency", calibration).answer.triple
    assert triple.gamma < min(triple.alpha, triple.beta) and triple.best[2] == min(triple.best)
    by_flops, others, rows, ratio = writer["beside_flops"](device, calibration)
    accuracy = by_flops.answer.prediction.mean
    best = accuracy[[pick.best for pick in by_flops.answer.picks]]
    assert (accuracy[rows] >= best - by_flops.tie_pp - 1e-9).all() and writer["mean"](ratio) > 1
    assert len(others) == 7


@pytest.mark.parametrize("device", ["tpu-v3", "v100"])
def test_published_lacs_members_are_faster_in_the_mean(writer: dict[str, Any], device: str) -> None:
    x, other = (writer["series"](label, device, "all-families") for label in ("x", writer["LACS"][device]))
    assert writer["mean"](x.latency_ms / other.latency_ms) > 1
    assert (np.abs(np.log(x.macs / other.macs)) < 0.2).all()
