"""What a worker does: one network, lowered once, at every combination of the plan. A pure function of its arguments."""

from __future__ import annotations

from typing import Any

from roofline.cluster.networks import Unit, network_of
from roofline.cluster.plan import Plan
from roofline.engine.options import PER_DEVICE
from roofline.errors import InputError, RooflineError, line_of
from roofline.graph.opgraph import OpGraph
from roofline.studies.compare import COLUMNS
from roofline.studies.sweep import Point, points_of, rows_of

Row = dict[str, Any]
#: columns that a sweep's rows have beside those of `compare`
OWN = ("base_device", "expected_low_ms", "expected_high_ms", "error")


def columns_of(plan: Plan) -> list[str]:
    """Return the columns of a plan's rows, in order."""
    return ["unit", "point", "network", *COLUMNS, "base_device", *plan.fields, *OWN[1:]]


def rows(plan: Plan, unit: Unit) -> list[Row]:
    """Return a row per run of a unit, batch by batch; what cannot run is a row that says why."""
    try:
        found = _simulated(_points(plan, _by_batch(plan, unit)))
        found = [row | {"image_size": row["image_size"] or unit.image_size} for row in found]
    except Exception as error:  # a network of somebody else's may fail in any way; the sweep goes on
        return failed(plan, unit, _said(error))
    return _labelled(unit, found)


def failed(plan: Plan, unit: Unit, why: str) -> list[Row]:
    """Return the rows of a unit that could not be computed at all."""
    empty = dict.fromkeys(COLUMNS) | {"model": unit.name, "image_size": unit.image_size}
    found = []
    for point in _points(plan, dict.fromkeys(plan.batch, unit.name)):
        asked = {name: getattr(point.request, name) for name in PER_DEVICE}
        place = {"device": point.base_device, "base_device": point.base_device, **dict(point.fields)}
        found.append(empty | asked | place | {"expected_low_ms": None, "expected_high_ms": None, "error": why})
    return _labelled(unit, found)


def _labelled(unit: Unit, found: list[Row]) -> list[Row]:
    return [{"unit": unit.key, "point": i, "network": unit.name} | row for i, row in enumerate(found)]


def _by_batch(plan: Plan, unit: Unit) -> dict[int, Any]:
    """Return the network for each batch: the same one where its batch can be changed, else lowered again."""
    network = network_of(unit)
    if unit.kind not in ("timm", "transformers") or not isinstance(network, OpGraph):
        return dict.fromkeys(plan.batch, network)
    found: dict[int, Any] = {}
    for batch in plan.batch:
        try:
            network.with_batch(batch)
            found[batch] = network
        except InputError:
            found[batch] = network_of(unit, batch)
    return found


def _points(plan: Plan, networks: dict[int, Any]) -> list[Point]:
    return [
        point
        for batch, network in networks.items()
        for point in points_of([network], plan.devices, fields=plan.fields, **plan.options | {"batch": [batch]})
    ]


def _simulated(points: list[Point]) -> list[Row]:
    try:
        return rows_of(points)
    except RooflineError:  # one of them: find out which
        return rows_of(points, keep_errors=True)


def _said(error: Exception) -> str:
    text = line_of(error)
    line = " ".join(text.split())[:400]
    return line if isinstance(error, RooflineError) else f"{type(error).__name__}: {line}"
