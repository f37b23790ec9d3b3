"""One network is one network, whichever door it comes through."""

from __future__ import annotations

import re

import pytest
from four_doors import BATCH, BEGIN, DOORS, END, NETWORKS, PAGE, graph, need, rows

import roofline as rf

TRAFFIC, LATENCY = 0.02, 0.05


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_door_gives_the_same_network(network: str, door: str) -> None:
    need(door)
    named, found = rf.op_graph(network, batch=BATCH), rows(network, door)
    assert (found.macs, found.params) == (named.macs, named.params)
    assert abs(found.traffic) <= TRAFFIC
    assert abs(found.latency) <= LATENCY


@pytest.mark.parametrize("door", DOORS)
def test_every_door_can_be_saved_and_rebatched(door: str) -> None:
    need(door)
    from roofline.graph.load import from_dict
    from roofline.graph.serial import as_dict

    found = graph("resnet-50", door)
    assert rf.simulate(from_dict(as_dict(found)), "tpu-v3").to_dict() == rf.simulate(found, "tpu-v3").to_dict()
    assert found.with_batch(32).macs == 4 * found.macs


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("network", NETWORKS)
def test_the_page_says_what_comes_out(network: str, door: str) -> None:
    need(door)
    inside = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    block = inside.partition(f"| {network} |")[2]
    cells = re.search(rf"\| {door} \| (.*)\|", block)
    assert cells is not None, "run: python tests/helpers/four_doors.py"
    macs, params, traffic, latency = (c.strip() for c in cells.group(1).split("|"))
    found = rows(network, door)
    assert macs == f"{found.macs / BATCH / 1e9:.6f}" and params == f"{found.params:,.0f}"
    assert float(traffic.strip("%")) / 100 == pytest.approx(found.traffic, abs=0.005)
    assert float(latency.strip("%")) / 100 == pytest.approx(found.latency, abs=0.01)
