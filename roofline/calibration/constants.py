"""The constants of a runtime as a fit sees them: which may be fitted, in which range, which are by default."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from roofline.errors import InputError
from roofline.names import lookup
from roofline.software.constant import Constant, Range, constants_of
from roofline.software.spec import CONSTANTS, Runtime

#: more constants than this would describe the data instead of the machine
MOST_FITTED = 10

#: what is fitted unless the person names something else, by kind of device, the most important first
DEFAULT: dict[str, tuple[str, ...]] = {
    "gpu": (
        *("matrix_fraction", "bandwidth_fraction", "vector_fraction", "overlap", "floor_s", "window_ops"),
        *("access_ops", "k_loop_elements", "tile_reuse_elements", "nchw_fraction"),
    ),
    "tpu": (
        *("matrix_fraction", "bandwidth_fraction", "vector_fraction", "overlap", "floor_s", "memory_latency_s"),
        *("window_ops", "conversion_ops", "weight_load_rows", "partial_sum_ops"),
    ),
    "cpu": (
        *("matrix_fraction", "product_fraction", "bandwidth_fraction", "vector_fraction", "floor_s", "window_ops"),
        *("pool_ops", "movement_fraction", "residency_share"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Fitted(Range):
    """A constant with the range in which it is fitted on one kind of device.

    Attributes
    ----------
    field
        Name in `Runtime`.
    place
        Table and key in the runtime file.
    unit
        Of the range and of the number that a fit writes; None: a count.
    si
        What a number in `unit` is multiplied with to get SI units.
    """

    field: str
    place: str
    unit: str | None
    si: float

    def position(self, value_si: float) -> float:
        """Return where a value lies in the range, 0 to 1; values outside are brought in."""
        value = float(np.clip(value_si / self.si, self.low, self.high))
        if self.logarithmic:
            return float(np.log(value / self.low) / np.log(self.high / self.low))
        return (value - self.low) / (self.high - self.low)

    def value_si(self, position: float) -> float:
        """Return the value at a position of the range, in SI units."""
        if self.logarithmic:
            return float(self.low * (self.high / self.low) ** position * self.si)
        return float((self.low + (self.high - self.low) * position) * self.si)


def fitted_on(kind: str, constants: Iterable[Constant] = CONSTANTS) -> dict[str, Fitted]:
    """Return the constants that may be fitted on a kind of device, by field."""
    ranges = ((c, c.range_on(kind)) for c in constants)
    return {
        c.field: Fitted(field=c.field, place=c.place, unit=c.unit, si=c.si, **vars(limits))
        for c, limits in ranges
        if limits is not None
    }


def fitted_constants(runtime: Runtime, names: Sequence[str] | None = None) -> tuple[Fitted, ...]:
    """Return the constants to fit, by name of the field or of the place in the file; by default the runtime's usual.

    Raises
    ------
    UnknownNameError
        No such constant.
    InputError
        None, or more than ten.
    """
    kind = runtime.device_kinds[0]
    fields = fitted_on(kind, constants_of(type(runtime)))
    known = fields | {c.place: c for c in fields.values()}
    chosen = names or [name for name in DEFAULT[kind] if getattr(runtime, name) is not None]
    found = tuple(dict.fromkeys(lookup(name, known, "constant") for name in chosen))
    if len(found) > MOST_FITTED:
        raise InputError(f"{len(found)} constants are too many to fit: at most {MOST_FITTED}")
    return found
