"""What a field of a runtime says about the constant it holds, and the tables of files that follow from such fields."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

from pydantic import create_model

from roofline.errors import InputError
from roofline.quantity import UNITS, Quantity, SpecFile, quantity_in

GPU, TPU, CHIPS = ("gpu",), ("tpu",), ("gpu", "tpu")


@dataclass(frozen=True)
class Range:
    """Between which values a constant is fitted, in its unit, why, and on which kinds of device.

    `logarithmic` ranges are searched by factors.
    """

    low: float
    high: float
    why: str
    kinds: tuple[str, ...] = field(default=CHIPS, kw_only=True)
    logarithmic: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Without:
    """The value of a constant that takes its effect out of a prediction, and what a model without it says.

    `part_of` names a wider effect, of another constant, that takes this one out as well.
    """

    value: float | bool
    effect: str | None = None
    says: str = ""
    kinds: tuple[str, ...] = field(default=CHIPS, kw_only=True)
    part_of: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, kw_only=True)
class Constant:
    """What is known about a constant but its value.

    Attributes
    ----------
    field
        Name in `Runtime`.
    place
        Table and key in a file.
    what
        What it stands for.
    default
        Value in SI units where a file leaves it out; `MISSING` where none may.
    unit
        Unit of its ranges; a file may use any of that dimension. None: a count, or a switch.
    fitted, on_host
        Where it may be fitted, on accelerators and on host processors; None where it is stated, never fitted.
    told_by
        What to measure to know it better.
    without
        How predictions do without it.
    """

    field: str
    place: str
    what: str
    default: Any
    unit: str | None = None
    fitted: Range | None = None
    on_host: Range | None = None
    told_by: str | None = None
    without: Without | None = None

    @property
    def si(self) -> float:
        """What a number in `unit` is multiplied with to get SI units."""
        return 1.0 if self.unit is None else UNITS[self.unit][1]

    def range_on(self, kind: str) -> Range | None:
        """Return where it may be fitted on a kind of device; None where not at all."""
        if kind == "cpu":
            return self.on_host
        return self.fitted if self.fitted and kind in self.fitted.kinds else None

    @property
    def required(self) -> bool:
        """Whether every file must state it."""
        return self.default is MISSING

    @property
    def switch(self) -> bool:
        """Whether it is yes or no, which needs no source."""
        return isinstance(self.default, bool)

    def value(self, file: SpecFile) -> float | bool | None:
        """Return what a validated file says, in SI units."""
        table, key = self.place.split(".")
        found: Quantity | bool | None = getattr(getattr(file, table), key)
        if found is None:
            value: float | bool | None = self.default
            return value
        return found.si if isinstance(found, Quantity) else found


def constant(place: str, what: str, *, default: Any = MISSING, **facts: Any) -> Any:
    """Return the field of a dataclass that declares a constant; `facts` are the others of `Constant`."""
    declared = Constant(field="", place=place, what=what, default=default, **facts)
    return field(default=default, metadata={"constant": declared})


def constants_of(runtime: type) -> tuple[Constant, ...]:
    """Return the constants that a class declares, in the order of its fields."""
    return tuple(replace(f.metadata["constant"], field=f.name) for f in fields(runtime) if "constant" in f.metadata)


def tables(constants: Collection[Constant]) -> dict[str, Any]:
    """Return the tables of constants in a file, as fields of a pydantic model; those without required keys may lack.

    Raises
    ------
    InputError
        Two constants have one place.
    """
    keys: dict[str, dict[str, Any]] = {}
    for c in constants:
        table, key = c.place.split(".")
        if key in keys.setdefault(table, {}):
            raise InputError(f"two constants are {c.place!r} in a file")
        kind = bool if c.switch else quantity_in(c.unit)
        keys[table][key] = (kind, ...) if c.required else (kind, c.default) if c.switch else (kind | None, None)
    models = {
        table: create_model(f"{table.title()}Constants", __base__=SpecFile, **rows) for table, rows in keys.items()
    }
    needed = {c.place.split(".")[0] for c in constants if c.required}
    return {table: (model, ... if table in needed else model()) for table, model in models.items()}
