"""What the members of a scaled family are to cost: read from times, milliseconds or other networks, and in reach."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roofline.arch.build import op_graph
from roofline.arch.load import model as load_model
from roofline.arch.spec import Arch
from roofline.engine.options import RunOptions
from roofline.engine.setting import Setting
from roofline.errors import InputError
from roofline.names import lookup
from roofline.numeric import Array
from roofline.report.report import Report
from roofline.report.run import simulate
from roofline.search.scaling.grid import Grid
from roofline.search.scaling.pick import EXACT, loads
from roofline.text import significant

#: ``efficientnet-b1..b7``
RANGE = re.compile(r"(?P<head>.*?)(?P<first>\d+)\.\.(?P<letters>[a-z]*)(?P<last>\d+)")
#: units of targets, by objective: SI per unit
UNITS = {"latency": (1e-3, "ms"), "flops": (1e9, "GMACs")}


def networks(like: str | Sequence[str]) -> list[str]:
    """Return the names in a list or in a range.

    Raises
    ------
    InputError
        The range runs backwards, or there is no name.

    Examples
    --------
    >>> networks("efficientnet-b1..b3"), networks(["resnet-50"])
    (['efficientnet-b1', 'efficientnet-b2', 'efficientnet-b3'], ['resnet-50'])
    """
    words = like.split(",") if isinstance(like, str) else list(like)
    names: list[str] = []
    for word in (str(w).strip() for w in words):
        match = RANGE.fullmatch(word)
        if match is None:
            names += [word] if word else []
            continue
        first, last = int(match["first"]), int(match["last"])
        if last < first or not match["head"].endswith(match["letters"]):
            raise InputError(f"a range of networks is like 'efficientnet-b1..b7', got {word!r}")
        names += [f"{match['head']}{number}" for number in range(first, last + 1)]
    if not names:
        raise InputError("like names no network")
    return names


def check_given(targets: Any, times: Any, like: Any) -> None:
    """Raise InputError unless exactly one kind of target is given, and what can be read without a grid is right."""
    given = [name for name, value in (("targets", targets), ("times", times), ("like", like)) if value is not None]
    if len(given) != 1:
        raise InputError(f"give targets, times or like, one of them; got {' and '.join(given) or 'none'}")
    if times is not None:
        _numbers(times, "times")
    elif like is not None:
        for name in networks(like):
            load_model(name)
    elif not isinstance(targets, Mapping):
        _numbers(targets, "targets")


def read_targets(
    grid: Grid, costs: Array, objective: str, targets: Any, times: Any, like: Any
) -> tuple[list[str], Array]:
    """Return names and targets (M, C) of the members, in the units of `costs` (N, C).

    Raises
    ------
    InputError
        One is no positive number, or they do not grow.
    """
    if like is not None:
        words = networks(like)
        names = [word.rsplit("-", 1)[-1] for word in words]
        names = names if len(set(names)) == len(names) else words
        wanted = np.array([_cost(word, grid, objective) for word in words])
    elif times is not None:
        base = costs[grid.base_row]
        wanted = _numbers(times, "times")[:, None] * base
        names = [f"{i + 1}" for i in range(len(wanted))]
    else:
        wanted = _absolute(targets, grid, objective) * UNITS[objective][0]
        names = [f"{i + 1}" for i in range(len(wanted))]
    wanted = np.broadcast_to(wanted, (len(wanted), costs.shape[1]))
    falls = np.flatnonzero((np.diff(wanted, axis=0) <= 0).any(axis=1))
    if len(falls):
        i = int(falls[0])
        before, after = (_said(wanted[k], objective) for k in (i, i + 1))
        raise InputError(f"targets must grow: {after} ({names[i + 1]}) comes after {before} ({names[i]})")
    return names, wanted


def _cost(word: str, grid: Grid, objective: str) -> list[float]:
    """Return what a network costs: latency on each device, or MACs of one example."""
    if objective == "flops":
        return [float(op_graph(word).macs)]
    return [run(word, target).latency_s for target in grid.oracle.targets]


def run(network: str | Arch, target: Setting) -> Report:
    """Simulate a network as an oracle's target does."""
    options: RunOptions = {"batch": target.batch, "runtime": target.runtime, "cores": target.cores}
    options |= {"dtype": target.policy.precision, "layout": target.policy.layout}
    return simulate(network, target.device, **options)


def _absolute(targets: Any, grid: Grid, objective: str) -> Array:
    """Return targets as given, (M, 1) or (M, D)."""
    if not isinstance(targets, Mapping):
        return _numbers(targets, "targets")[:, None]
    if objective == "flops":
        raise InputError("targets of the objective 'flops' are the same for every device: give a list")
    devices = {name: name for name in grid.oracle.devices}
    columns = {lookup(name, devices, "device"): _numbers(values, "targets") for name, values in targets.items()}
    missing = [name for name in devices if name not in columns]
    if missing or len({len(c) for c in columns.values()}) > 1:
        raise InputError(
            f"targets need the same number for every device of {', '.join(devices)};"
            f" got {', '.join(f'{name}: {len(c)}' for name, c in columns.items())}"
        )
    return np.stack([columns[name] for name in devices], axis=1)


def _numbers(values: Any, what: str) -> Array:
    try:
        numbers = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        raise InputError(f"{what} must be numbers, got {values!r}") from None
    if numbers.ndim != 1 or not numbers.size or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise InputError(f"{what} must be positive numbers, at least one, got {values!r}")
    return numbers


def _said(cost: Array, objective: str) -> str:
    factor, unit = UNITS[objective]
    return f"{' and '.join(significant(float(c) / factor, 4) for c in cost)} {unit}"


def check_reach(grid: Grid, costs: Array, wanted: Array, names: Sequence[str], objective: str) -> None:
    """Raise InputError, with the closest network, where a target is below or beyond everything in the grid."""
    for name, target in zip(names, wanted, strict=True):
        load = loads(costs, target)
        closest = -1
        if load.min() > 1.0 + EXACT:
            closest, side = int(load.argmin()), "below everything in the range"
        elif load.max() < 1.0 - EXACT:
            closest, side = int(load.argmax()), "beyond everything in the range"
        if closest >= 0:
            raise InputError(
                f"target {name!r}, {_said(target, objective)}, is out of reach, {side}: the closest network, depth"
                f" {grid.depth[closest]:g}, width {grid.width[closest]:g}, {grid.resolution[closest]:.0f} px, has"
                f" {_said(costs[closest], objective)}; widen the limits or change the target"
            )
