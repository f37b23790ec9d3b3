"""Which number of a device a network's latency hangs on: d log latency / d log field, by running it again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from roofline.engine.options import RunOptions
from roofline.errors import InputError
from roofline.hardware.load import device as load_device
from roofline.hardware.spec import Device
from roofline.hardware.variant import COUNTS, device_fields, with_overrides
from roofline.names import lookup
from roofline.report.run import request_of, simulate_many
from roofline.studies.shown import Shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from roofline.report.report import Report

#: relative step of a field that can take any value: small against every latency it may bend, large against rounding
STEP = 0.01


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Sensitivity(Shown):
    """What `sensitivity` found. Shows itself as its `table`.

    Attributes
    ----------
    report
        The run on the device as it is.
    table
        Strongest first: field, value, low, high (values that were simulated), low_ms, high_ms, elasticity. Where one
        side is no possible device, the difference is one-sided; where both are not, the elasticity is NaN.
    """

    report: Report
    table: pd.DataFrame

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the elasticities that matter as bars; written to `path` where given."""
        from roofline.plot.protocol import title
        from roofline.plot.sensitivity import plot_sensitivity

        return plot_sensitivity(self.table, title=title(self.report), path=path)

    @property
    def shown(self) -> pd.DataFrame:
        """`table`."""
        return self.table


def sensitivity(
    model: Any,
    device: Any,
    *,
    fields: Sequence[str] | None = None,
    step: float = STEP,
    **options: Unpack[RunOptions],
) -> Sensitivity:
    """Return how strongly the latency of a network depends on each number of a device.

    The elasticity d log latency / d log field is a central difference of whole simulations: -0.4 means that one per
    cent more of the field takes 0.4 % off the latency. What follows from a field follows here too: a clock takes its
    peaks along. Counts (units, rows, columns, cores) are halved and doubled instead, since less has no meaning.

    Parameters
    ----------
    model, device
        Names, files or specs.
    fields
        Some of `device_fields`; all by default.
    step
        Relative step of what is no count, in (0, 0.5).
    **options
        As `simulate`.

    Returns
    -------
    Sensitivity
        `table`, and `plot`.

    Raises
    ------
    UnknownNameError
        No such field; the message shows the nearest.
    InputError
        The step is out of range, `fields` is empty or one name, or an option is not possible.
    """
    import pandas as pd

    if not 0.0 < step < 0.5:
        raise InputError(f"step must be above 0 and below 0.5, got {step!r}")
    if isinstance(fields, str) or (fields is not None and not len(fields)):
        raise InputError(f"fields are a list of at least one name, got {fields!r}")
    base = load_device(device)
    known = device_fields(base)
    names = {name: name for name in known}
    chosen = list(known) if fields is None else [lookup(f, names, f"field of {base.name!r}:") for f in fields]
    sides = [_side(base, name, value) for name in chosen for value in _values(name, known[name], step)]
    machines = {base.name: base} | {variant.name: variant for variant, _ in sides}
    runs = simulate_many(request_of(model=model, device=machine, **options) for machine in machines.values())
    latency_s = dict(zip(machines, (run.latency_s for run in runs), strict=True))
    rows = []
    for name, (low, low_value), (high, high_value) in zip(chosen, sides[::2], sides[1::2], strict=True):
        times = [latency_s[variant.name] for variant in (low, high)]
        moved = math.log(high_value / low_value)
        rows.append(
            {"field": name, "value": known[name], "low": low_value, "high": high_value}
            | {"low_ms": times[0] * 1e3, "high_ms": times[1] * 1e3}
            | {"elasticity": math.log(times[1] / times[0]) / moved if moved else math.nan}
        )
    table = pd.DataFrame(rows).sort_values("elasticity", key=lambda e: -e.abs(), kind="stable")
    return Sensitivity(report=runs[0], table=table.reset_index(drop=True))


def _values(name: str, value: float, step: float) -> tuple[float, float]:
    if name in COUNTS:
        return float(max(1, int(value) // 2)), 2.0 * value
    return value * (1.0 - step), value * (1.0 + step)


def _side(base: Device, name: str, value: float) -> tuple[Device, float]:
    """Return the device with one field changed; itself where that is no possible device."""
    try:
        return with_overrides(base, {name: value}), value
    except InputError:
        return base, device_fields(base)[name]
