"""Facts that nobody has verified: which of a device's numbers have a range, and the device at either end of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from roofline.errors import InputError
from roofline.hardware.silicon import QuantityRecord
from roofline.hardware.spec import Device
from roofline.hardware.variant import device_fields, stated_path

#: what a device draws and costs makes nothing slower
NOT_IN_TIME = ("tdp_w", "price_usd_per_hour")


@dataclass(frozen=True, kw_only=True)
class OpenFact:
    """A number of a device that lies somewhere in a range.

    Attributes
    ----------
    device, field
        Whose number it is, by its name in `device_fields`.
    record
        The number, its range and why, as the file states them.
    at_low, at_high
        The device with the number at either end, and with what follows from it.
    """

    device: str
    field: str
    record: QuantityRecord
    at_low: Device
    at_high: Device

    @property
    def slows(self) -> bool:
        """Whether it can change a latency."""
        return self.field not in NOT_IN_TIME

    @property
    def rate(self) -> str | None:
        """The dtype whose matrix peak it is; None of anything else."""
        name = self.field.removeprefix("matrix.rates.")
        return None if name == self.field else name.partition(".")[0]

    def __str__(self) -> str:
        low, high = (f"{end:,.6g}" for end in (self.record.low, self.record.high))
        return f"{self.device} {self.record.path} {low} to {high} {self.record.unit or ''}".rstrip()


@lru_cache(maxsize=256)
def open_facts(device: Device) -> tuple[OpenFact, ...]:
    """Return the facts of a device that have a range.

    A hypothetical variant keeps the ranges of what was not chosen; an end at which it is no possible device is left
    where the number is.

    Raises
    ------
    InputError
        A range stands where it moves nothing, or no such device is possible at one of its ends; names the path.

    Examples
    --------
    >>> from roofline.hardware.load import device
    >>> [str(fact) for fact in open_facts(device("tpu-v2")) if fact.field.startswith("hbm")]
    ['tpu-v2 memory.HBM.bandwidth 600 to 716 GB/s']
    """
    return tuple(_open_facts(device))


def _open_facts(device: Device) -> Iterator[OpenFact]:
    fields = device_fields(device)
    stated = {stated_path(device, name): name for name in fields}
    for record in device.quantities:
        if record.low is None or record.high is None:
            continue
        if record.path not in stated:
            raise InputError(f"[{record.path}]: a range moves nothing here; it may stand at {', '.join(stated)}")
        name = stated[record.path]
        ends = []
        for end in (record.low, record.high):
            try:
                variant = device.with_overrides({name: fields[name] * (end / record.value)})
            except InputError as error:
                if device.variant_of is None:
                    raise InputError(f"[{record.path}]: no such device at {end:g}: {error}") from None
                variant = device
            ends.append(replace(variant, name=device.name))
        yield OpenFact(device=device.name, field=name, record=record, at_low=ends[0], at_high=ends[1])
