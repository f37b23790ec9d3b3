"""The scaling law: hand arithmetic, a fit that finds what made its data, and the shipped coefficients."""

from __future__ import annotations

import json
from pathlib import Path

import fit_scaling_law
import numpy as np
import pytest
from measured_files import real

import roofline as rf
from roofline.errors import InputError
from roofline.search.accuracy.scaling_law import ASSUMED_TOP1, LAWS, base_of, error, scaling_law, scaling_laws

HEAD = "family,width,depth,res,top1,recipe,note\n"


def test_the_law_by_hand() -> None:
    half = error(30.0, 2.0, 1.0, 1.0, floor=10.0, shares=(0.5, 0.25, 0.25), exponents=(1.0, 1.0, 1.0))
    assert half == 10 + 20 * (0.5 / 2 + 0.25 + 0.25)
    assert error(30.0, 1e9, 1e9, 1e9, floor=10.0, shares=(0.5, 0.25, 0.25), exponents=(1, 1, 1)) == pytest.approx(10.0)


@pytest.mark.parametrize("name", ["all-families", "efficientnet"])
def test_shipped_laws_start_at_the_base_and_saturate(name: str) -> None:
    law = scaling_law(name)
    assert sum(law.shares) == pytest.approx(1.0, abs=1e-3) and 0 < law.floor < 16
    assert law.top1(77.1, 1.0, 1.0, 1.0) == pytest.approx(77.1, abs=0.01)
    d, w, r = np.meshgrid(*[np.linspace(1, 4, 7)] * 3, indexing="ij")
    found = np.asarray(law.top1(77.1, d, w, r))
    assert all((np.diff(found, axis=axis) > 0).all() for axis in range(3)) and found.max() < 100 - law.floor
    assert 0 < law.half_width < 3 and law.left_out_rmse < law.half_width


def test_domain_is_what_was_seen_of_families_that_were_seen() -> None:
    law, one = scaling_law("efficientnet"), np.ones(3)
    seen = law.predict(base_of(rf.model("efficientnet-b0")), np.array([1.0, 2.0, 5.0]), one, one)
    assert seen.in_domain.tolist() == [True, True, False]
    assert not law.predict(base_of(rf.model("efficientnet-x-b0")), one, one, one).in_domain.any()


def test_the_base_is_known_or_assumed() -> None:
    assert base_of(rf.model("efficientnet-b0")).top1 == 77.1
    unknown = base_of(rf.model("regnety-4gf"))
    assert (unknown.top1, unknown.family) == (ASSUMED_TOP1, "") and "assumed" in unknown.recipe
    assert base_of(rf.model("efficientnet-b0").with_image_size(320)).top1 == ASSUMED_TOP1  # not what was trained
    assert base_of(rf.model("regnety-4gf"), 79.4).top1 == 79.4


def made_up(folder: Path) -> Path:
    """Write networks that follow the law with exponents 1, equal shares and e0 = 10."""
    lines = []
    for family, top1 in (("a", 70.0), ("b", 76.0), ("c", 60.0)):
        for d, w, r in [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2, 2), (1, 0.5, 1), (4, 1, 1), (1, 1, 0.5)]:
            left = error(100 - top1, d, w, r, floor=10.0, shares=[1 / 3] * 3, exponents=[1.0] * 3)
            lines.append(f"{family},{w},{d},{int(224 * r)},{100 - float(left):.9f},x,")
    path = folder / "grids.csv"
    path.write_text(HEAD + "\n".join([*lines, "a,3,3,224,1.0,x,QAT int8"]) + "\n")
    return path


def test_a_fit_finds_the_law_that_made_its_data(tmp_path: Path) -> None:
    rows = fit_scaling_law.read_grids(made_up(tmp_path))
    assert len(rows.error) == 21  # three bases are known, one row is only quantised
    found = fit_scaling_law.calibration(rows)
    assert found["floor"] == pytest.approx(10, abs=0.05) and found["left_out_rmse"] < 0.05
    np.testing.assert_allclose(found["exponents"], 1, atol=0.02)
    np.testing.assert_allclose(found["shares"], 1 / 3, atol=0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("family,width\nx,1\n", "no column 'depth'"),
        (HEAD, "no rows"),
        (HEAD + "a,1,2,224,70,x,\n", "has no base of 224 px"),
        (HEAD + "a,1,1,224,high,x,\n", "could not convert"),
    ],
)
def test_files_that_are_no_grids(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "grids.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        fit_scaling_law.read_grids(path)
    assert fit_scaling_law.main([str(path)]) == 2


def test_the_command_fits_what_is_shipped(tmp_path: Path) -> None:
    assert fit_scaling_law.main([str(real("accuracy/scaling_grids.csv")), str(tmp_path / "laws.json")]) == 0
    shipped, found = json.loads(LAWS.read_text()), json.loads((tmp_path / "laws.json").read_text())
    assert set(found) == set(scaling_laws())
    for name, law in shipped.items():
        for key in ("floor", "shares", "exponents", "half_width"):
            np.testing.assert_allclose(found[name][key], law[key], rtol=0.02)
