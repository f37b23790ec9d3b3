"""What a search was asked to reach, said in full: soft targets colour the reward, no winner exceeds a hard limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from roofline.numeric import Array
from roofline.text import significant

#: soft: the reward falls with the distance; hard: a candidate beyond it is none
Kind: TypeAlias = Literal["soft", "hard"]
#: what is limited -> (factor from SI, unit) in which people say it
UNITS = {
    "latency": (1e3, "ms"),
    "peak memory": (2.0**-30, "GiB"),
    "macs": (1e-9, "GMACs"),
    "params": (1e-6, "M"),
    "accuracy": (-1.0, ""),  # limits are maxima: of minus the accuracy
}


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A target or a limit of one search, and what one candidate reaches; both in `unit`."""

    what: str
    device: str | None
    kind: Kind
    wanted: float
    reached: float
    unit: str
    met: bool

    @property
    def excess(self) -> float:
        """Relative distance on the wrong side; 0 where the goal is met."""
        return 0.0 if self.met else abs(self.reached - self.wanted) / max(abs(self.wanted), 1e-12)

    def __str__(self) -> str:
        """Return the goal as results print it.

        Examples
        --------
        >>> about = {"what": "latency", "device": "v100", "unit": "ms", "wanted": 6.0}
        >>> print(Goal(**about, kind="soft", reached=6.3, met=False))
        soft target, latency on v100 6 ms: 6.3 ms, 5.0 % over
        >>> print(Goal(**about, kind="hard", reached=5.9, met=True))
        hard limit, latency on v100 6 ms: 5.9 ms, met
        """
        name = "soft target" if self.kind == "soft" else "hard limit"
        least = "at least " if self.what == "accuracy" else ""
        off = "met" if self.met else f"{significant(100 * self.excess, 2)} % {'short' if least else 'over'}"
        return f"{name}, {self.about} {least}{self._said(self.wanted)}: {self._said(self.reached)}, {off}"

    @property
    def missed(self) -> str:
        """How far the candidate is from a goal that it does not meet."""
        least = "at least " if self.what == "accuracy" else ""
        return f"{self.about} {self._said(self.reached)} where {least}{self._said(self.wanted)} is allowed"

    @property
    def about(self) -> str:
        """What is limited, and where."""
        what = {"macs": "MACs", "params": "parameters"}.get(self.what, self.what)
        return what if self.device is None else f"{what} on {self.device}"

    def _said(self, value: float) -> str:
        text = significant(value, 4)
        return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {self.unit}".rstrip()


def goals(kind: Kind, what: str, reached: Array, wanted: Array, devices: Sequence[str]) -> list[Goal]:
    """Return a goal per device, or one where devices do not matter, of values and what was asked of them, in SI."""
    factor, unit = UNITS[what]
    places: Sequence[str | None] = devices if what in ("latency", "peak memory") else [None]
    return [
        Goal(
            what=what,
            device=place,
            kind=kind,
            wanted=float(limit * factor),
            reached=float(value * factor),
            unit=unit,
            met=bool(value <= limit),
        )
        for place, value, limit in zip(places, reached, wanted, strict=True)
        if np.isfinite(limit)
    ]


def as_rows(found: Iterable[Goal]) -> list[dict[str, Any]]:
    """Return goals as JSON-able tables."""
    return [asdict(goal) for goal in found]
