"""Calibration of a runtime: which rows, the fit, how it fares on what it has not seen, and the file it becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from roofline.calibration.constants import Fitted, fitted_constants, fitted_on
from roofline.calibration.fit import Fit, bare_devices, check_rows, fit, own_fractions
from roofline.calibration.measured import Measurement, Options, Rejected, load
from roofline.calibration.measured.graphs import GraphSource
from roofline.calibration.offsets import calls_us
from roofline.calibration.predict import Prepared, agreement_per_example, prepare
from roofline.engine.columns import Index
from roofline.errors import InputError, nearest
from roofline.hardware.load import device as load_device
from roofline.numeric import Array
from roofline.software.load import runtime as load_runtime
from roofline.software.spec import Runtime
from roofline.stats import Agreement

#: random parts for data of a single family
FIFTHS = 5
SEED = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """How a fit without some rows predicts them.

    Attributes
    ----------
    by, name
        What was left out: ``family`` vit, ``device`` t4, ``fifth`` 3, the ``set`` of a file, the ``largest`` fifth.
    rows
        Positions of the rows left out, and `predicted_s` for them.
    """

    by: str
    name: str
    rows: Index
    predicted_s: Array
    agreement: Agreement
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """A fitted runtime with all that is known of it.

    Attributes
    ----------
    before, after
        Statistics by condition (file, device, precision), under the starting values and the fitted ones.
    held_out
        Fits without a family, a device or a part of the rows.
    own
        Device -> fit of its own two fractions on top of the shared values.
    """

    runtime: Runtime
    constants: tuple[Fitted, ...]
    prepared: Prepared
    fit: Fit
    before: dict[str, Agreement]
    after: dict[str, Agreement]
    held_out: tuple[HeldOut, ...] = ()
    own: dict[str, Fit] = field(default_factory=dict)
    rejected: dict[str, tuple[Rejected, ...]] = field(default_factory=dict)

    @property
    def datasets(self) -> dict[str, int]:
        """File -> rows used."""
        names = [m.dataset for m in self.prepared.measurements if m.apart is None]
        return {name: names.count(name) for name in dict.fromkeys(names)}

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the rows, ready for JSON."""
        return {
            "runtime": self.runtime.name,
            "datasets": self.datasets,
            "residual": self.fit.residual,
            "constants": [
                {
                    "field": c.field,
                    "place": c.place,
                    "unit": c.unit,
                    "low": c.low,
                    "high": c.high,
                    "before": getattr(self.runtime, c.field) / c.si,
                    "after": self.fit.values[c.field] / c.si,
                    "at_edge": c.field in self.fit.edges,
                }
                for c in self.constants
            ],
            "calls_us": calls_us(self.fit.calls),
            "flat": [asdict(f) for f in self.fit.flat],
            "before": {name: asdict(a) for name, a in self.before.items()},
            "after": {name: asdict(a) for name, a in self.after.items()},
            "held_out": [
                {"by": h.by, "name": h.name, **asdict(h.agreement), "values": h.values} for h in self.held_out
            ],
            "own": {name: own.values for name, own in self.own.items()},
            "rejected": {name: [asdict(r) for r in rows] for name, rows in self.rejected.items()},
        }


def gather_rows(
    paths: Iterable[str | Path], runtime: Runtime, options: Options | None = None, *, file: str | None = None
) -> tuple[list[Measurement], dict[str, tuple[Rejected, ...]]]:
    """Return the rows that tell something of a runtime, and those left out.

    Single ops come from libraries that several runtimes call, so theirs all count; a whole network counts where it ran
    under this very runtime. `file` is where the runtime lies, if it is no shipped one.
    """
    options = options or Options()
    graphs_options = replace(options, runtime=None)
    good: list[Measurement] = []
    rejected: dict[str, tuple[Rejected, ...]] = {}
    for path in paths:
        dataset = load(path, graphs_options)
        bad = list(dataset.rejected)
        for m in dataset.measurements:
            kind = load_device(m.device).kind
            own = kind in runtime.device_kinds and load_runtime(m.runtime, kind).name == runtime.name
            if kind not in runtime.device_kinds:
                bad.append(Rejected(row=m.row, reason=f"{runtime.name} does not run on {m.device}"))
            elif m.network and not own:
                bad.append(Rejected(row=m.row, reason=f"a network under {m.runtime}, not {runtime.name}"))
            else:
                good.append(replace(m, runtime=file or runtime.name))
        rejected[dataset.name] = tuple(bad)
    return good, rejected


def by_condition(prepared: Prepared, predicted_s: Array) -> dict[str, Agreement]:
    """Return the statistics of each condition, rows apart left out."""
    names = [m.condition if m.apart is None else "" for m in prepared.measurements]
    found = {}
    for name in dict.fromkeys(name for name in names if name):
        rows = np.array([n == name for n in names])
        measured = [m for m, n in zip(prepared.measurements, names, strict=True) if n == name]
        found[name] = agreement_per_example(measured, predicted_s[rows])
    return found


def labels(prepared: Prepared, by: str) -> list[str | None]:
    """Return what each row is left out with; None for rows that stay in every fit.

    ``family``: networks of that family (single ops too where there are no networks); ``device``; ``fifth``: random
    fifths; ``set``: the networks of a file; ``largest``: the slowest fifth of each condition.

    Raises
    ------
    InputError
        No such way to leave rows out.
    """
    rows = prepared.measurements
    networks = any(m.network for m in rows)
    if by == "family":
        return [m.family if m.network == networks and m.apart is None else None for m in rows]
    if by == "device":
        return [m.device if m.apart is None else None for m in rows]
    if by == "set":
        return [m.dataset if m.network and m.apart is None else None for m in rows]
    if by == "fifth":
        drawn = np.random.default_rng(SEED).permutation(len(rows)) % FIFTHS
        return [
            f"{i + 1}" if m.network == networks and m.apart is None else None for i, m in zip(drawn, rows, strict=True)
        ]
    if by == "largest":
        measured_s, names = prepared.measured_s, [m.condition for m in rows]
        limit = {name: np.quantile(measured_s[[n == name for n in names]], 1 - 1 / FIFTHS) for name in set(names)}
        return [
            "fifth" if t > limit[n] and m.apart is None else None
            for t, n, m in zip(measured_s, names, rows, strict=True)
        ]
    raise InputError(f"rows cannot be left out by {by!r}{nearest(by, ('family', 'device', 'fifth', 'set', 'largest'))}")


def hold_out(prepared: Prepared, runtime: Runtime, constants: Sequence[Fitted], by: str) -> list[HeldOut]:
    """Fit without each label's rows in turn, and predict them."""
    names = labels(prepared, by)
    distinct = [name for name in dict.fromkeys(names) if name is not None]
    if by == "family" and len(distinct) == 1:
        return hold_out(prepared, runtime, constants, "fifth")
    found = []
    for name in distinct:
        out = np.array([n == name for n in names])
        rest = prepared.subset(~out)
        if len(rest) == 0:
            continue
        try:
            fitted = fit(rest, runtime, constants)
        except InputError:  # what is left is too little to fit
            continue
        left_out = prepared.subset(out)
        predicted_s = fitted.predict(left_out, bare_devices(left_out) if by == "device" else None)
        found.append(
            HeldOut(
                by=by,
                name=name,
                rows=np.flatnonzero(out),
                predicted_s=predicted_s,
                agreement=agreement_per_example(left_out.measurements, predicted_s),
                values=fitted.values,
            )
        )
    return found


def calibrate(
    paths: Iterable[str | Path],
    runtime: str | Path | Runtime,
    options: Options | None = None,
    *,
    names: Sequence[str] | None = None,
    folds: Sequence[str] = ("family", "device"),
    own: bool = False,
    graphs: GraphSource | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Fit the shared constants of a runtime to measured rows.

    Parameters
    ----------
    paths
        Files of measurements.
    runtime
        Where the fit starts, and what it is pulled to.
    options
        How files are read: see `Options`.
    names
        Constants to fit; by default the usual ones of the runtime's kind.
    folds
        Ways to leave rows out for cross-validation: see `labels`.
    own
        Also fit each device's own two fractions.
    report
        Called with a line about each step.

    Raises
    ------
    InputError
        Files that cannot be read, too few rows (the message says how many are needed), or no SciPy.
    """
    start = load_runtime(runtime)
    constants = fitted_constants(start, names)
    options = options or Options()
    file = None if isinstance(runtime, Runtime) or not str(runtime).endswith(".toml") else str(runtime)
    rows, rejected = gather_rows(paths, start, options, file=file)
    report(f"{len(rows)} rows read")
    prepared = prepare(rows, graphs=graphs or GraphSource(options.cache), adapt=lambda _: start)
    rejected["rows that cannot be built"] = prepared.rejected
    check_rows(prepared, constants)
    initial = Fit(runtime=start, values={}, calls={}, residual=0.0, edges=(), flat=())
    before = by_condition(prepared, initial.predict(prepared))
    fitted = fit(prepared, start, constants)
    report(f"fitted {len(constants)} constants to {len(prepared)} rows")
    held_out: list[HeldOut] = []
    for by in folds:
        held_out += hold_out(prepared, start, constants, by)
        report(f"held out by {by}")
    return Calibration(
        runtime=start,
        constants=constants,
        prepared=prepared,
        fit=fitted,
        before=before,
        after=by_condition(prepared, fitted.predict(prepared)),
        held_out=tuple(held_out),
        own=own_fractions(prepared, fitted, fitted_on("gpu")) if own else {},
        rejected={name: bad for name, bad in rejected.items() if bad},
    )


def own_tables(own: Mapping[str, Fit], runtime: str, source: str) -> str:
    """Return the tables to add to device files: ``[runtime.NAME]`` with the device's own two fractions."""
    parts = []
    for device, fitted in own.items():
        lines = [f"# hardware_specs/{device}.toml, and in its [sources]: fit = {source!r}", f"[runtime.{runtime}]"]
        for name, value in fitted.values.items():
            above = name == "matrix_fraction" and value > 1.0
            key, unit = ("clock_ratio", "") if above else (name, ', unit = "fraction"')
            lines.append(f'{key} = {{ value = {value:.3g}{unit}, source = "fit" }}')
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
