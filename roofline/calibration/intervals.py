"""Widths of prediction intervals, from networks that a fit had not seen."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roofline.calibration.calibrate import Calibration
from roofline.calibration.predict import CallGroup, Group, Prepared
from roofline.calibration.ratios import DIGITS, LeftOut, left_out_networks, ratio_widths
from roofline.calibration.sets import by_set, set_scores
from roofline.engine.evaluate import kernel_costs
from roofline.errors import InputError
from roofline.files import write_text
from roofline.numeric import Array
from roofline.quantity import SpecFile
from roofline.report.interval import IntervalFile, RuntimeInterval
from roofline.report.kernel_interval import COVERAGE, KernelInterval
from roofline.specfile import load_spec
from roofline.stats import conformal_quantile

#: a kind of kernel has calibration data when it takes this share of the time ...
ENOUGH_SHARE = 0.01
#: ... in this many rows
ENOUGH_ROWS = 20
#: ways to leave rows out that say something of networks of other kinds, and of other devices
FAMILIES, DEVICES = ("family", "fifth"), ("device",)
#: ... and of whole files
SETS = ("set",)


def runtime_interval(
    calibration: Calibration,
    coverage: float = COVERAGE,
    today: datetime.date | None = None,
    witnesses: tuple[Prepared, Sequence[LeftOut]] | None = None,
) -> RuntimeInterval:
    """Return the widths that a calibration's left-out networks give.

    Parameters
    ----------
    witnesses
        Networks that no fit saw, as `roofline.calibration.sets.witnesses` returns them: each file is then a set, and
        the width that of the worst set.

    Raises
    ------
    InputError
        The calibration left out no networks by family, fifth or set, or too few for the coverage.
    """
    families = _log_errors(calibration, FAMILIES)
    scores = np.concatenate(list(families.values())) if families else np.zeros(0)
    half_width = conformal_quantile(scores, coverage)
    if not np.isfinite(half_width) and witnesses is None:
        raise InputError(f"{len(scores)} networks left out are too few for an interval at {coverage:.0%}")
    devices = _log_errors(calibration, DEVICES)
    spread = conformal_quantile(np.concatenate(list(devices.values())), coverage) if devices else np.inf
    networks = [m for m in calibration.prepared.measurements if m.network]
    when = (today or datetime.date.today()).isoformat()
    found = RuntimeInterval(
        coverage=coverage,
        half_width=round(half_width, DIGITS),
        new_device=round(spread, DIGITS) if np.isfinite(spread) else None,
        covered=covered(families.values(), coverage),
        rows=len(scores),
        families=tuple(families),
        devices=tuple(sorted({m.device for m in networks})),
        dtypes=tuple(sorted({m.dtype for m in networks})),
        kinds=calibrated_kinds(calibration.prepared.groups),
        source=f"roofline calibrate, {when}: networks left out by family, then predicted",
        ratios=ratio_widths(left_out_networks(calibration, FAMILIES), coverage),
        ratios_new_device=ratio_widths(left_out_networks(calibration, DEVICES), coverage),
    )
    return found if witnesses is None else _of_sets(found, calibration, *witnesses, when)


def _of_sets(
    found: RuntimeInterval, calibration: Calibration, prepared: Prepared, seen: Sequence[LeftOut], when: str
) -> RuntimeInterval:
    """Return the interval of sets that have little in common: those of the fit, left out, and those of no fit."""
    own = left_out_networks(calibration, SETS) or left_out_networks(calibration, FAMILIES)
    networks = [*by_set(own), *seen]
    measured = [network.measurement for network in networks]
    scores = set_scores(networks, found.coverage)
    return found.model_copy(
        update={
            "half_width": max(score.half_width for score in scores.values()),
            "new_device": None,
            "covered": None,
            "rows": len(networks),
            "families": tuple(dict.fromkeys(m.family for m in measured)),
            "devices": tuple(sorted({m.device for m in measured})),
            "dtypes": tuple(sorted({m.dtype for m in measured})),
            "kinds": calibrated_kinds([*calibration.prepared.groups, *prepared.groups]),
            "source": f"roofline calibrate, {when}: sets of networks left out, or in no fit",
            "training": any(m.mode == "training" for m in measured),
            "sets": scores,
            "ratios": ratio_widths(networks, found.coverage),
            "ratios_new_device": {},
        }
    )


def _log_errors(calibration: Calibration, ways: tuple[str, ...]) -> dict[str, Array]:
    """Return |log(predicted / measured)| of the networks that were left out, by what they were left out with."""
    errors: dict[str, list[float]] = {}
    for network in left_out_networks(calibration, ways):
        errors.setdefault(network.group, []).append(abs(network.error))
    return {group: np.array(found) for group, found in errors.items()}


def covered(groups: Iterable[Array], coverage: float) -> float | None:
    """Return the share of rows inside the interval that the other groups' rows give; None for a single group."""
    parts = list(groups)
    if len(parts) < 2:
        return None
    inside = []
    for i, scores in enumerate(parts):
        others = np.concatenate([part for j, part in enumerate(parts) if j != i])
        inside.append(scores <= conformal_quantile(others, coverage))
    return round(float(np.mean(np.concatenate(inside))), DIGITS)


def calibrated_kinds(groups: Iterable[Group | CallGroup]) -> tuple[str, ...]:
    """Return the kinds of kernels that enough rows spend enough time in; calls of libraries have no kernels."""
    rows: dict[str, int] = {}
    for group in (one for one in groups if isinstance(one, Group)):
        for kind, share in kind_shares(group).items():
            rows[kind] = rows.get(kind, 0) + int((share >= ENOUGH_SHARE).sum())
    return tuple(sorted(kind for kind, count in rows.items() if count >= ENOUGH_ROWS))


def kind_shares(group: Group) -> dict[str, Array]:
    """Return, for each kind of kernel, its share of every row's device time under the group's own runtime."""
    table, k = group.table, group.table.kernels
    kinds = np.array([label.kind for label in table.labels])[k.label]
    time_s = k.times * kernel_costs(table, group.machine(group.runtime, group.device)).time_s
    whole = group.total_of_kernels(time_s)
    return {str(kind): group.total_of_kernels(time_s * (kinds == kind)) / whole for kind in np.unique(kinds)}


def write_interval(name: str, width: RuntimeInterval | KernelInterval, path: Path) -> None:
    """Put the widths of one runtime, or of one kind of library, into a file of intervals, in place of what it had.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    file = load_spec(path, IntervalFile) if path.is_file() else IntervalFile(runtimes={})
    tables: dict[str, dict[str, SpecFile]] = {"runtimes": {**file.runtimes}, "kernels": {**file.kernels}}
    tables["runtimes" if isinstance(width, RuntimeInterval) else "kernels"][name] = width
    parts = [_table(f"{part}.{key}", one) for part, entries in tables.items() for key, one in sorted(entries.items())]
    write_text(path, "\n\n".join([HEAD, *parts]) + "\n")


def _table(name: str, entry: SpecFile) -> str:
    lines = [f"[{name}]"]
    for field in type(entry).model_fields:
        value = getattr(entry, field)
        if isinstance(value, dict):
            rows = {key: _inline(one) if isinstance(one, SpecFile) else _toml(one) for key, one in value.items()}
            lines += [f"{field}.{_key(key)} = {text}" for key, text in rows.items()]
        elif value is not None and value is not False:
            lines.append(f"{field} = {_toml(value)}")
    return "\n".join(lines)


def _inline(part: SpecFile) -> str:
    """Return a table of numbers in one line."""
    values = {name: getattr(part, name) for name in type(part).model_fields}
    return "{ " + ", ".join(f"{name} = {_toml(value)}" for name, value in values.items() if value is not None) + " }"


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else json.dumps(name)


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


HEAD = """# How far predictions may be off: bounds on |log(measured / predicted)| of networks left out of a fit.
# Written by `roofline calibrate --intervals`. half_width: families the fit had not seen; new_device: devices it had not
# seen; covered: share of networks inside, each family judged by the others. ratios: the same of the ratio of two
# networks, by what they have in common; pairs with a family (or device) judged by the pairs without it. sets: where
# networks come from few places, half_width is that of the worst, and each place is judged by the others.
# kernels: the same of single kernels of a kind of library, by device; new_device: the worst device that was left out of
# a fit; written by tools/fit_libraries.py --intervals."""
