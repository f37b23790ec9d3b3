"""Sweeps over batch, precision, runtime, device and any number of a device: one row per point, in process.

A point is a request, so that whoever spreads a sweep over machines sends points and collects `rows_of`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Unpack

from roofline.engine.options import AXES, OPTIONS, SweepOptions
from roofline.errors import InputError, RooflineError
from roofline.hardware.load import device as load_device
from roofline.hardware.variant import with_overrides
from roofline.report.run import Request, request_of, simulate_many
from roofline.studies.compare import COLUMNS, check_lists

if TYPE_CHECKING:
    import pandas as pd

    from roofline.report.report import Report

#: a sweep in one process that is larger is a slip, or belongs on several machines
MOST_POINTS = 100_000


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run of a sweep: the request, the device it is a variant of, and the fields that differ."""

    request: Request
    base_device: str
    fields: tuple[tuple[str, float], ...] = ()


def sweep(
    models: Sequence[Any],
    devices: Sequence[Any],
    *,
    fields: Mapping[str, Sequence[float]] | None = None,
    keep_errors: bool = False,
    **options: Unpack[SweepOptions],
) -> pd.DataFrame:
    """Simulate networks at every combination of options and device fields.

    Parameters
    ----------
    models, devices
        Names, files or specs.
    fields
        Field of the device (``"hbm.bandwidth_bytes_per_s"``) -> values; every device must have it.
    keep_errors
        What cannot run (a dtype that a device lacks, a size that is no possible device) becomes a row that says why in
        `error`, instead of an error.
    **options
        As `simulate`; those in `NetworkOptions` may be lists.

    Returns
    -------
    DataFrame
        One row per point: the columns of `compare`, base_device, the fields by name, expected_low_ms and
        expected_high_ms, and error (None where it ran).

    Raises
    ------
    InputError, UnknownNameError
        Nothing to sweep over, too many points, or a point that cannot run.

    Examples
    --------
    >>> table = sweep(["resnet-18"], ["v100"], batch=[1, 2], fields={"hbm.bandwidth_bytes_per_s": [9e11, 18e11]})
    >>> len(table), sorted(table["base_device"].unique())
    (4, ['v100'])
    """
    import pandas as pd

    return pd.DataFrame(rows_of(points_of(models, devices, fields=fields, **options), keep_errors=keep_errors))


def points_of(
    models: Sequence[Any],
    devices: Sequence[Any],
    *,
    fields: Mapping[str, Sequence[float]] | None = None,
    **options: Unpack[SweepOptions],
) -> list[Point]:
    """Return the points of a sweep, model by model; arguments and errors as `sweep`."""
    check_lists(models, devices)
    if not isinstance(fields or {}, Mapping):
        raise InputError(f"fields map the name of a field to a list of values, got {fields!r}")
    axes = {name: _values(name, value) for name, value in options.items()}
    axes |= {name: _numbers(name, values) for name, values in (fields or {}).items()}
    for name, values in axes.items():
        if not len(values):
            raise InputError(f"nothing to sweep over: {name} is empty")
    count = len(models) * len(devices) * math.prod(len(values) for values in axes.values())
    if count > MOST_POINTS:
        raise InputError(f"{count:,} points are too many for one sweep: at most {MOST_POINTS:,}")
    found = []
    for model, base, values in product(models, map(load_device, devices), product(*axes.values())):
        named = dict(zip(axes, values, strict=True))
        changes = {name: named.pop(name) for name in fields or {}}
        request = request_of(model=model, device=base, **named)
        found.append(Point(request=request, base_device=base.name, fields=tuple(changes.items())))
    return found


def rows_of(points: Sequence[Point], *, keep_errors: bool = False) -> list[dict[str, Any]]:
    """Return one flat row per point, in order; `keep_errors` as in `sweep`."""
    if not keep_errors:
        return [_row(point, run) for point, run in zip(points, simulate_many(map(_request, points)), strict=True)]
    rows: list[dict[str, Any]] = []
    for point in points:
        try:
            rows.append(_row(point, simulate_many([_request(point)])[0]))
        except RooflineError as error:
            model = getattr(point.request.model, "name", point.request.model)
            said = {name: getattr(point.request, name, None) for name in COLUMNS}
            rows.append(_described(point, said | {"model": str(model), "device": point.base_device}, str(error)))
    return rows


def _request(point: Point) -> Request:
    values = vars(point.request) | {"device": with_overrides(load_device(point.request.device), dict(point.fields))}
    return request_of(**values)


def _row(point: Point, report: Report) -> dict[str, Any]:
    expected = report.interval
    values = {name: getattr(report, name) for name in COLUMNS}
    return _described(point, values, None, expected.low_s * 1e3, expected.high_s * 1e3)


def _described(
    point: Point, values: dict[str, Any], error: str | None, low_ms: float = math.nan, high_ms: float = math.nan
) -> dict[str, Any]:
    expected = {"expected_low_ms": low_ms, "expected_high_ms": high_ms}
    return values | {"base_device": point.base_device} | dict(point.fields) | expected | {"error": error}


def _numbers(name: str, values: Any) -> list[float]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"values of {name} are a list, got {values!r}")
    return list(values)


def _values(name: str, value: Any) -> list[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return [value]
    if name in OPTIONS and name not in AXES:
        raise InputError(f"option {name!r} takes one value; lists are for {', '.join(AXES)}")
    return list(value)
