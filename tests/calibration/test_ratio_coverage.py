"""Intervals of ratios against measured networks: pairs on one device and across two, family by family."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from measured_files import real

from roofline.calibration.measured import Measurement, load
from roofline.calibration.predict import prepare
from roofline.calibration.ratios import LeftOut, Pairs, by_kind
from roofline.report.interval import known_intervals

if find_spec("timm") is None or find_spec("torch") is None:
    pytest.skip("networks are built by timm", allow_module_level=True)

#: one software on two cards
FILES = [f"timm/benchmark-infer-amp-nhwc-pt240-cu124-rtx{card}.csv" for card in ("3090", "4090")]
#: networks of each family, evenly over those on both cards
EACH = 8
FAMILIES = ("efficientnet", "resnet", "vit")


@pytest.fixture(scope="module")
def networks() -> list[LeftOut]:
    by_card = [{m.label: m for m in load(real(name)).measurements} for name in FILES]
    both = sorted(set(by_card[0]) & set(by_card[1]))
    chosen: list[Measurement] = []
    for family in FAMILIES:
        labels = [label for label in both if by_card[0][label].family == family]
        picked = np.linspace(0, len(labels) - 1, EACH).round().astype(int)
        chosen += [
            replace(rows[labels[i]], dataset=name) for i in picked for rows, name in zip(by_card, FILES, strict=True)
        ]
    prepared = prepare(chosen)
    assert not prepared.rejected
    return [
        LeftOut(measurement=m, error=float(np.log(time_s / m.latency_s)), group=m.family)
        for m, time_s in zip(prepared.measurements, prepared.predict(), strict=True)
    ]


def least(coverage: float, networks: int) -> float:
    """Return two standard deviations below a coverage, of pairs among so many networks: each outlier is in 2 / n."""
    return coverage - 2 * math.sqrt(2 * coverage * (1 - coverage) / networks)


def inside(pairs: list[Pairs], half_width: float, family: str | None = None) -> float:
    errors = np.concatenate([p.errors for p in pairs if family is None or family in p.groups])
    return float(np.mean(errors <= half_width))


@pytest.mark.parametrize("kind", ["same_family", "other_family", "devices"])
def test_ratios_of_measured_networks_lie_inside(networks: list[LeftOut], kind: str) -> None:
    pairs, known = by_kind(networks)[kind], known_intervals()["pytorch_eager"]
    counts = {"same_family": 6 * EACH * (EACH - 1) / 2, "other_family": 6 * EACH * EACH, "devices": 3 * EACH}
    assert sum(len(p.errors) for p in pairs) == counts[kind]
    half_width, enough = known.ratios[kind].half_width, least(known.coverage, EACH * len(FAMILIES))
    assert inside(pairs, half_width) >= enough
    for family in FAMILIES:
        assert inside(pairs, half_width, family) >= least(known.coverage, EACH), family
    assert inside(pairs, half_width / 8) < enough  # a width that covers less is told from it
