"""Fitting constants: bounded, robust, regularised least squares on the logarithm of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from roofline.calibration.constants import Fitted
from roofline.calibration.measured.types import Measurement
from roofline.calibration.offsets import SOFT, Call, best_call, group_codes, largest_offset_s, robust_cost, with_offsets
from roofline.calibration.predict import Prepared
from roofline.errors import InputError
from roofline.hardware.load import device, devices
from roofline.hardware.spec import Device
from roofline.numeric import Array
from roofline.software.spec import Runtime

#: every file counts like this many rows, shared equally by the conditions (device, precision, layout) in it
ROWS_PER_FILE = 200.0
#: pull to the starting values: crossing a whole range costs as much as nine rows that are 10 % off
PRIOR = 0.3
#: rows needed for each constant that is fitted
ROWS_PER_CONSTANT = 10
#: highest clock under load, over the advertised one, that a device's own fit may find: an estimate of what power and
#: temperature leave a graphics card
HIGHEST_CLOCK = 1.2
#: share of a range that a numerical derivative steps
STEP = 2e-3
MOST_EVALUATIONS = 40
#: a direction along which the whole range moves predictions by less than this (root mean square) is not determined
FLAT = 0.02
#: share of a flat direction from which a constant is named
NAMED = 0.3


@dataclass(frozen=True, kw_only=True)
class FlatDirection:
    """A combination of constants that the data say little about.

    Attributes
    ----------
    effect
        Root mean square change of log time from one end of the ranges to the other.
    constants
        Fields that make up the direction, largest part first.
    """

    effect: float
    constants: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """Fitted values.

    Attributes
    ----------
    values
        Field of `Runtime` -> SI value.
    calls
        What the measuring programs add, by group.
    residual
        Root mean square of the log error, every condition counting equally, large errors damped.
    edges
        Fields that ended at an end of their range.
    ignored
        Constants of devices that did not count, because no row would have determined the shared ones.
    """

    runtime: Runtime
    values: dict[str, float]
    calls: dict[str, Call]
    residual: float
    edges: tuple[str, ...]
    flat: tuple[FlatDirection, ...]
    ignored: frozenset[str] = frozenset()

    def predict(self, prepared: Prepared, devices: Mapping[str, Device] | None = None) -> Array:
        """Return predictions [s] with the fitted constants; what was not fitted of measuring programs is found anew."""
        device_s = prepared.predict(lambda _: self.runtime, devices or devices_without(prepared, self.ignored))
        found_s, _ = with_offsets(prepared.measurements, device_s, prepared.measured_s)
        names, codes = group_codes(prepared.measurements)
        for code, name in enumerate(names):
            if name in self.calls:
                found_s[codes == code] = self.calls[name].whole_s(device_s[codes == code])
        return found_s


def row_weights(measurements: Sequence[Measurement]) -> Array:
    """Return the weight of each row: files count equally, and so do the conditions in a file; rows apart not at all."""
    counted = [m for m in measurements if m.apart is None]
    rows = Counter((m.dataset, m.condition) for m in counted)
    conditions = Counter(dataset for dataset, _ in rows)
    return np.array(
        [
            ROWS_PER_FILE / (rows[m.dataset, m.condition] * conditions[m.dataset]) if m.apart is None else 0.0
            for m in measurements
        ]
    )


class _Problem:
    """Residuals and their derivatives as functions of positions in the ranges: constants, offsets, times of hosts."""

    def __init__(
        self,
        prepared: Prepared,
        runtime: Runtime,
        constants: Sequence[Fitted],
        devices: Mapping[str, Device] | None,
    ) -> None:
        self.prepared, self.runtime, self.constants, self.devices = prepared, runtime, constants, devices
        self.measured_s = prepared.measured_s
        self.weight = np.sqrt(row_weights(prepared.measurements))
        self.groups, self.codes = group_codes(prepared.measurements)
        first = [int((self.codes == code).argmax()) for code in range(len(self.groups))]
        self.largest_s = np.array([largest_offset_s(prepared.measurements[i]) for i in first])
        self.start = np.array([c.position(getattr(runtime, c.field)) for c in constants])
        self._last: tuple[Array, Array] | None = None

    def runtime_at(self, position: Array) -> Runtime:
        values = {c.field: c.value_si(float(p)) for c, p in zip(self.constants, position, strict=False)}
        return replace(self.runtime, **values)  # type: ignore[arg-type]

    def device_s(self, position: Array) -> Array:
        count = len(self.constants)
        if self._last is None or not np.array_equal(self._last[0], position[:count]):
            runtime = self.runtime_at(position[:count])
            self._last = position[:count].copy(), self.prepared.predict(lambda _: runtime, self.devices)
        found: Array = self._last[1]
        return found

    def calls(self, position: Array) -> tuple[Array, Array]:
        """Return offset and host's time of each row [s]."""
        ends = position[len(self.constants) :].reshape(2, -1) * self.largest_s
        offset_s, host_s = np.append(ends, np.zeros((2, 1)), axis=1)[:, self.codes]
        return offset_s, host_s

    def first_guess(self) -> Array:
        device_s = self.device_s(self.start)
        calls = [
            best_call(device_s[self.codes == code], self.measured_s[self.codes == code], largest_s)
            for code, largest_s in enumerate(self.largest_s)
        ]
        offsets_s, hosts_s = [c.offset_s for c in calls], [c.host_s for c in calls]
        ends = np.concatenate([offsets_s / self.largest_s, hosts_s / self.largest_s])
        return np.asarray(np.clip(np.concatenate([self.start, ends]), 1e-4, 1.0 - 1e-4))

    def log_error(self, position: Array) -> Array:
        offset_s, host_s = self.calls(position)
        return np.asarray(np.log(np.maximum(host_s, self.device_s(position) + offset_s) / self.measured_s))

    def residuals(self, position: Array) -> Array:
        count = len(self.constants)
        log_error = self.log_error(position)
        damped = np.sign(log_error) * np.sqrt(robust_cost(log_error))
        return np.concatenate([self.weight * damped, PRIOR * (position[:count] - self.start)])

    def log_jacobian(self, position: Array) -> Array:
        """Return d log(time) / d position, one column per constant, offset and host's time."""
        count = len(self.constants)
        device_s = self.device_s(position).copy()
        offset_s, host_s = self.calls(position)
        by_device = 1.0 * (device_s + offset_s >= host_s)
        whole_s = np.maximum(host_s, device_s + offset_s)
        columns = []
        for i in range(count):
            step = STEP if position[i] + STEP <= 1.0 else -STEP
            moved = position.copy()
            moved[i] += step
            columns.append(by_device * (self.device_s(moved) - device_s) / step / whole_s)
        inside = [(self.codes == code) * largest_s / whole_s for code, largest_s in enumerate(self.largest_s)]
        columns += [column * by_device for column in inside] + [column * (1.0 - by_device) for column in inside]
        self._last = position[:count].copy(), device_s
        return np.stack(columns, axis=1)

    def jacobian(self, position: Array) -> Array:
        log_error = self.log_error(position)
        damped = np.sqrt(robust_cost(log_error))
        root = np.sqrt(1.0 + (log_error / SOFT) ** 2)
        slope = np.where(damped > 1e-9, np.abs(log_error) / np.maximum(damped, 1e-12) / root, 1.0)
        data = (self.weight * slope)[:, None] * self.log_jacobian(position)
        count = len(self.constants)
        prior = np.zeros((count, data.shape[1]))
        prior[:, :count] = PRIOR * np.eye(count)
        return np.concatenate([data, prior])


def check_rows(prepared: Prepared, constants: Sequence[Fitted]) -> None:
    """Raise unless there are enough rows for the constants.

    Raises
    ------
    InputError
        Says how many are needed.
    """
    have = sum(m.apart is None for m in prepared.measurements)
    offsets = len(group_codes(prepared.measurements)[0])
    need = ROWS_PER_CONSTANT * (len(constants) + 2 * offsets)
    if have < need:
        extra = f" and the two numbers of {offsets} measuring programs" if offsets else ""
        raise InputError(f"{have} rows are too few to fit {len(constants)} constants{extra}: {need} are needed")


def fit(
    prepared: Prepared,
    runtime: Runtime,
    constants: Sequence[Fitted],
    devices: Mapping[str, Device] | None = None,
) -> Fit:
    """Return the values of `constants` under which the rows are predicted best, and what measuring programs add.

    The cost is the soft-L1 of log(predicted / measured) at 10 %, with every condition counting equally, and a weak pull
    to the runtime's own values; each constant stays in its physical range. A device's own constants count, but for
    those that no device is without. `devices` replace those of the same name: `bare_devices` where none is to count.

    Raises
    ------
    InputError
        Too few rows, or SciPy is not installed.
    """
    try:
        from scipy.optimize import least_squares  # type: ignore[import-untyped]
    except ImportError:
        raise InputError("fitting needs SciPy: pip install 'roofline[calibrate]'") from None
    check_rows(prepared, constants)
    ignored = frozenset[str]() if devices else own_everywhere(prepared, [c.field for c in constants])
    problem = _Problem(prepared, runtime, constants, devices or devices_without(prepared, ignored))
    found = least_squares(
        problem.residuals,
        problem.first_guess(),
        jac=problem.jacobian,
        bounds=(0.0, 1.0),
        max_nfev=MOST_EVALUATIONS,
        xtol=1e-4,
        ftol=1e-5,
    )
    position = np.asarray(found.x)
    count = len(constants)
    fitted = problem.runtime_at(position)
    data = problem.residuals(position)[: len(prepared)]
    ends = position[count:].reshape(2, -1) * problem.largest_s
    edges = [c.field for c, p in zip(constants, position, strict=False) if p < 0.005 or p > 0.995]
    return Fit(
        runtime=fitted,
        values={c.field: getattr(fitted, c.field) for c in constants},
        calls={
            name: Call(offset_s=float(offset_s), host_s=float(host_s))
            for name, offset_s, host_s in zip(problem.groups, *ends, strict=True)
        },
        residual=float(np.sqrt((data**2).sum() / (problem.weight**2).sum())),
        edges=tuple(edges),
        flat=flat_directions(problem.log_jacobian(position), problem.weight, [c.field for c in constants]),
        ignored=ignored,
    )


def flat_directions(jacobian: Array, weight: Array, names: Sequence[str]) -> tuple[FlatDirection, ...]:
    """Return the directions that the rows do not determine, flattest first: singular vectors of small singular value.

    Parameters
    ----------
    jacobian
        d log(time) / d position for each row; columns beyond `names` are those of measuring programs.
    weight
        Square root of each row's weight.
    """
    scaled = weight[:, None] * jacobian / np.sqrt((weight**2).sum())
    _, effects, directions = np.linalg.svd(scaled, full_matrices=False)
    found = []
    for effect, direction in zip(effects[::-1], directions[::-1], strict=True):
        parts = np.abs(direction[: len(names)])
        if effect < FLAT and parts.max() >= NAMED:
            order = [i for i in np.argsort(-parts) if parts[i] >= NAMED]
            found.append(FlatDirection(effect=float(effect), constants=tuple(names[i] for i in order)))
    return tuple(found)


# constants that a device file has for itself --------------------------------------------------------------------------


def bare_devices(prepared: Prepared) -> dict[str, Device]:
    """Return the devices without constants of their own, as one that nobody has measured."""
    return {g.device.name: replace(g.device, overrides={}) for g in prepared.groups}


def devices_without(prepared: Prepared, fields: Collection[str]) -> dict[str, Device]:
    """Return the devices without some of their own constants."""
    found = {}
    for spec in (g.device for g in prepared.groups):
        kept = {
            runtime: {field: value for field, value in own.items() if field not in fields}
            for runtime, own in spec.overrides.items()
        }
        found[spec.name] = replace(spec, overrides=kept)
    return found


def own_everywhere(prepared: Prepared, fields: Sequence[str]) -> frozenset[str]:
    """Return those of the fields that every device has a value of its own for: no row determines the shared one."""
    own = [g.device.overrides.get(g.runtime.name, {}) for g in prepared.groups]
    return frozenset(field for field in fields if own and all(field in values for values in own))


def own_fractions(prepared: Prepared, shared: Fit, constants: Mapping[str, Fitted]) -> dict[str, Fit]:
    """Return, for each device with enough rows, its own two fractions on top of the shared values.

    The first may exceed 1, by as much as the clock of a graphics card exceeds the advertised one.
    """
    found: dict[str, Fit] = {}
    chosen = [replace(constants["matrix_fraction"], high=HIGHEST_CLOCK), constants["bandwidth_fraction"]]
    for name in devices():
        own = prepared.subset([m.device == device(name).name for m in prepared.measurements])
        with suppress(InputError):  # too few rows
            check_rows(own, chosen)
            found[name] = fit(own, shared.runtime, chosen, bare_devices(own))
    return found
