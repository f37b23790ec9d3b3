"""What an architecture file says, and the architecture as a value."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from roofline.arch.block import Stage
from roofline.arch.rounding import KEPT_SHARE
from roofline.arch.step import PREFILL, Step
from roofline.errors import InputError
from roofline.numeric import whole_number
from roofline.quantity import SpecFile

#: pixels per side or tokens per sequence; beyond it a network is a typing mistake, not a workload
MAX_INPUT_SIZE = 1 << 17
#: tokens that a sequence may have grown to; beyond it a context is a typing mistake
MAX_POSITIONS = 1 << 24


class Published(SpecFile):
    """Counts that somebody else states for the network, with where."""

    params: int | None = None
    params_million: float | None = None
    macs_billion: float | None = None
    source: str
    note: str | None = None


class Scaling(SpecFile):
    """How width multipliers round: to a multiple of `divisor`, up where less than the share `kept` would be left."""

    divisor: int = Field(default=8, ge=1)
    kept: float = Field(default=KEPT_SHARE, ge=0, le=1)


#: what files that say nothing round by
EFFICIENTNET_ROUNDING = Scaling()


class Variant(SpecFile):
    """One network of a family: multipliers, input size, and what it changes in the family's stages."""

    title: str | None = None
    width: float = Field(default=1.0, gt=0, le=64)
    depth: float = Field(default=1.0, gt=0, le=64)
    image_size: int | None = Field(default=None, ge=1, le=MAX_INPUT_SIZE)
    sequence_length: int | None = Field(default=None, ge=1, le=MAX_INPUT_SIZE)
    stages: list[dict[str, Any]] | None = None
    set: dict[str, dict[str, Any]] = Field(default_factory=dict)
    published: Published | None = None


class FamilyFile(SpecFile):
    """A file in ``models/``: the stages that its variants share, and the variants."""

    family: str
    title: str
    input: Literal["image", "tokens"] = "image"
    sources: dict[str, str] = Field(min_length=1)
    scaling: Scaling = EFFICIENTNET_ROUNDING
    stages: list[dict[str, Any]] = Field(default_factory=list)
    variants: dict[str, Variant] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True)
class Arch:
    """A network as a value: what scaling scales, what a genome decodes to, what `simulate` accepts.

    Attributes
    ----------
    image_size
        Pixels per side (``input="image"``) or tokens (``input="tokens"``) of one example.
    stages
        In execution order.
    scaling
        How a width multiplier would round.
    """

    name: str
    family: str
    title: str
    image_size: int
    stages: tuple[Stage, ...]
    input: Literal["image", "tokens"] = "image"
    published: Published | None = None
    sources: tuple[tuple[str, str], ...] = ()
    scaling: Scaling = EFFICIENTNET_ROUNDING

    @property
    def decodes(self) -> bool:
        """Whether it has stages that keep a cache from step to step."""
        return any(stage.decodes for stage in self.stages)

    def at(self, step: Step) -> Arch:
        """Return the network as it is in a step of a decoder.

        Raises
        ------
        InputError
            It keeps nothing from step to step, so it has no steps.
        """
        if not self.decodes:
            if step == PREFILL:
                return self
            raise InputError(f"{self.name!r} is no decoder: it keeps no cache, so it has no phase {step.phase!r}")
        return replace(self, stages=tuple(stage.at(step) for stage in self.stages))

    @property
    def positions(self) -> int:
        """The most tokens that a sequence may have: what the stage with the fewest positions has."""
        return min((getattr(stage, "positions", 0) or MAX_POSITIONS for stage in self.stages), default=MAX_POSITIONS)

    def with_image_size(self, image_size: int | None) -> Arch:
        """Return the same network for another input size.

        Raises
        ------
        InputError
            The size is not in 1..131072.
        """
        if image_size is not None and self.input == "tokens":
            told = f"image_size of a network of tokens ends with version 0.3: give length ({self.name!r})"
            warnings.warn(told, DeprecationWarning, stacklevel=3)
        return self.with_input_size(image_size, "image size")

    def with_length(self, length: int | None) -> Arch:
        """Return the same network for another number of tokens per sequence.

        Raises
        ------
        InputError
            It is not in 1..131072, or the network takes images.
        """
        if length is not None and self.input == "image":
            raise InputError(f"length is for networks of tokens, and {self.name!r} takes images: give image_size")
        return self.with_input_size(length, "length")

    def with_input_size(self, size: int | None, what: str = "input size") -> Arch:
        """Return the same network for pixels per side, or tokens per sequence: whichever it takes.

        Raises
        ------
        InputError
            The size is not in 1..131072; the message says `what` it is.
        """
        if size is None:
            return self
        found = whole_number(size, what, most=MAX_INPUT_SIZE)
        return self if found == self.image_size else replace(self, image_size=found)
