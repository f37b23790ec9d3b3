"""One number of a runtime file that may be fitted: in which range, in which unit, and why that range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline.quantity import UNITS


@dataclass(frozen=True, kw_only=True)
class Constant:
    """One number of a runtime file.

    Attributes
    ----------
    field
        Name in `Runtime`.
    place
        Table and key in the runtime file.
    low, high
        Physical range in `unit` (None: a count).
    kinds
        Kinds of device on which it has an effect.
    logarithmic
        Fitted on a logarithmic scale.
    """

    field: str
    place: str
    low: float
    high: float
    unit: str | None
    why: str
    kinds: tuple[str, ...] = ("tpu", "gpu")
    logarithmic: bool = False

    @property
    def si(self) -> float:
        """What the file's number is multiplied with to get SI units."""
        return 1.0 if self.unit is None else UNITS[self.unit][1]

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
