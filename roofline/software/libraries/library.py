"""What all kernel libraries have in common; `load` goes from a file to a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeAlias, TypeVar

from pydantic import Field

from roofline.hardware.silicon import Kind
from roofline.quantity import SpecFile
from roofline.registry import filed
from roofline.software.constant import constants_of

#: the lowest and the highest compute capability
Span: TypeAlias = tuple[float, float]


def covers(span: Span | None, capability: float | None) -> bool:
    """Whether kernels for a span of compute capabilities run on a device of one; those without a span run on all."""
    return span is None or (capability is not None and span[0] <= capability <= span[1])


def family(number: str) -> str:
    """Return the format that files of libraries name for all that their kernels take alike: both 16-bit floats."""
    return "bf16" if number == "fp16" else number


class Facts(SpecFile):
    """What a file says of its library beside constants, in ``[facts]``: a kind of library adds keys of its own.

    `capabilities` are the lowest and the highest compute capability that it has kernels for; all where they are
    missing.
    """

    capabilities: Span | None = None
    why: str


@dataclass(frozen=True, kw_only=True)
class Library:
    """A kernel library: a class of each kind adds constants and facts."""

    kind: ClassVar[str]
    facts_class: ClassVar[type[Facts]] = Facts

    name: str
    title: str
    device_kinds: tuple[str, ...]
    facts: Facts

    def runs_on(self, kind: str, capability: float | None) -> bool:
        """Whether it has kernels for a kind of device of a compute capability."""
        if kind not in self.device_kinds:
            return False
        return covers(self.facts.capabilities, capability)

    def without(self, effect: str) -> Self:
        """Return it without an effect: the constants that stand for it, or for a part of it, have no effect."""
        known = {c.field: c.without for c in constants_of(type(self)) if c.without is not None}
        values: dict[str, Any] = {field: w.value for field, w in known.items() if effect in (w.effect, w.part_of)}
        return replace(self, **values)


class LibraryFile(SpecFile):
    """A file in ``libraries/``, but for its tables of constants: those follow from the class of its kind."""

    name: str
    title: str
    kind: str
    device_kinds: tuple[Kind, ...] = Field(min_length=1)
    sources: dict[str, str] = Field(min_length=1)
    facts: Facts


KINDS: dict[str, type[Library]] = {}
L = TypeVar("L", bound=type[Library])


def library_kind(kind: str) -> Callable[[L], L]:
    """Register the class of a kind of library under the name that files use in ``kind = "..."``."""

    def register(cls: L) -> L:
        found = filed(KINDS, (kind,), lambda name: f"kind of library {name!r} is registered twice")(cls)
        found.kind = kind
        return found

    return register
