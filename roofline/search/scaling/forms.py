"""The scaled forms of a network as a space of three genes.

Depth and width are multiples, in hundredths, of a base's repeats and channels, rounded as architecture files round
them. Multiples that round to the same network are one point: a depth is named by the middle of those that round to it
(1 is 1), because published ones lie all over them, and a width by the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np

from roofline.arch.block import out_ports
from roofline.arch.build import instances
from roofline.arch.load import scale_stage
from roofline.arch.spec import MAX_INPUT_SIZE, Arch
from roofline.errors import InputError, RooflineError
from roofline.numeric import Array, whole_number
from roofline.search.space.genomes import Changes, Choice
from roofline.search.space.spec import Space, space_from

#: pixels between two resolutions, unless patches ask for more
PIXEL_STEP = 8
#: options of a dimension, evenly spread where there are more: bounds the grid at 150,000 points
MOST_OPTIONS = {"depth": 40, "width": 64, "resolution": 60}
#: the hundredths in which multiples are stated
HUNDREDTHS = 100

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How far a search looks: (least, most) multiples of the base, and the steps between them.

    Attributes
    ----------
    depth, width, resolution
        Multiples of the base; (1, 1) holds a dimension as it is.
    width_step
        Between two widths, in hundredths at least.
    resolution_step
        Pixels between two resolutions; None: 8, or what patches allow.
    """

    depth: tuple[float, float] = (1.0, 6.0)
    width: tuple[float, float] = (1.0, 4.0)
    resolution: tuple[float, float] = (1.0, 3.0)
    width_step: float = 0.05
    resolution_step: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises
        ------
        InputError
            A range is none.
        """
        for name in ("depth", "width", "resolution"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 64:
                raise InputError(f"{name} must range from one multiple to another in 0..64, got {(low, high)!r}")
        if not self.width_step >= 1 / HUNDREDTHS:
            raise InputError(f"width_step must be at least {1 / HUNDREDTHS}, got {self.width_step!r}")


def scaling_space(base: Arch, limits: Limits) -> tuple[Space, Array, list[str]]:
    """Return a base's scaled forms (genes depth, width, resolution), the largest multiple of each depth, and notes.

    Raises
    ------
    InputError
        The base reads no images, or the limits hold no resolution that its patches divide.
    """
    if base.input != "image":
        raise InputError(f"scaling is of networks that read images; {base.name!r} reads {base.input}")
    depths = _depths(base, limits)
    tried = _hundredths(*limits.width, limits.width_step)
    widths: dict[Changes, float] = {}
    for multiple in tried:
        widths.setdefault(_channels(base, multiple), multiple)
    merged = [f"{w:g}" for w in tried if w not in widths.values()]
    sizes = _sizes(base, limits)
    notes = [f"{len(depths)} depths differ once repeats are rounded; each is named by the middle of its multiples"]
    if merged:
        notes.append(f"widths that round to the network of a smaller one are merged into it: {_listed(merged)}")
    depths, wide = _thinned(depths, "depth"), _thinned(list(widths.items()), "width")
    choices = [
        Choice(name="depth", values=tuple(d.name for d in depths), changes=tuple(d.changes for d in depths)),
        Choice(name="width", values=tuple(w for _, w in wide), changes=tuple(c for c, _ in wide)),
        Choice(
            name="resolution",
            values=tuple(sizes),
            changes=tuple((("", "image_size", size),) for size in sizes),
        ),
    ]
    return space_from(f"{base.name}-scaled", base, choices, title=base.title), np.array([d.top for d in depths]), notes


def _listed(words: Sequence[str], most: int = 6) -> str:
    return ", ".join(words[:most]) + (", ..." if len(words) > most else "")


def _hundredths(low: float, high: float, step: float) -> list[float]:
    count = math.floor((high - low) / step + 1e-9) + 1
    return list(dict.fromkeys(round((low + i * step) * HUNDREDTHS) / HUNDREDTHS for i in range(count)))


def _repeats(base: Arch, depth: float) -> Changes:
    """Return the repeats of each stage that can be deeper at a multiple of the depth."""
    deeper = _deeper(base)
    scaled = [scale_stage(s, base.scaling, width=1.0, depth=depth) for s in base.stages]
    return tuple((s.name, "repeats", s.repeats) for s in scaled if s.name in deeper)


@lru_cache(maxsize=64)
def _deeper(base: Arch) -> frozenset[str]:
    """Return the stages between stem and head that take more blocks: one after the first leaves what it was given."""
    inputs = {instance.stage: instance.inputs for instance in reversed(instances(base, 1))}
    deeper = set()
    for stage in base.stages[1:-1]:
        longer = stage.model_copy(update={"repeats": 3})  # the second block is neither the first nor the last
        try:
            between = out_ports(longer.make(0, inputs[stage.name]), inputs[stage.name])
            after = out_ports(longer.make(1, between), between)
        except RooflineError:
            continue
        if stage.scale_depth and [p.shape for p in after] == [p.shape for p in between]:
            deeper.add(stage.name)
    return frozenset(deeper)


def _channels(base: Arch, width: float) -> Changes:
    """Return the channels of each stage at a multiple of the width."""
    scaled = [scale_stage(s, base.scaling, width=width, depth=1.0) for s in base.stages]
    return tuple((s.name, f, getattr(s, f)) for s in scaled if s.scale_width for f in s.width_fields if getattr(s, f))


class _Depth(NamedTuple):
    """Multiples of the depth that round to one network: the name they go by, the largest, what it changes."""

    name: float
    top: float
    changes: Changes


def _depths(base: Arch, limits: Limits) -> list[_Depth]:
    same: dict[Changes, list[float]] = {}
    for multiple in _hundredths(*limits.depth, 1 / HUNDREDTHS):
        same.setdefault(_repeats(base, multiple), []).append(multiple)
    return [
        _Depth(name=1.0 if 1.0 in of else of[len(of) // 2], top=of[-1], changes=changes) for changes, of in same.items()
    ]


def _thinned(options: list[T], name: str) -> list[T]:
    """Return at most `MOST_OPTIONS` of what is found, evenly spread, the ends among them."""
    count = min(len(options), MOST_OPTIONS[name])
    return [options[i] for i in np.unique(np.linspace(0, len(options) - 1, count).round().astype(int))]


def _sizes(base: Arch, limits: Limits) -> list[int]:
    """Return the resolutions [px] in the limits, on steps from the base's."""
    patches = [int(patch) for s in base.stages if (patch := getattr(s, "patch", None))]
    patch = math.lcm(*patches) if patches else 1
    step = math.lcm(PIXEL_STEP, patch)
    if limits.resolution_step is not None:
        step = whole_number(limits.resolution_step, "resolution_step", most=MAX_INPUT_SIZE)
        if step % patch:
            raise InputError(
                f"resolutions of {base.name!r} must divide by patches of {patch} px: resolution_step {step} does not"
            )
    low, high = (multiple * base.image_size for multiple in limits.resolution)
    first = math.ceil((low - base.image_size) / step - 1e-9)
    last = math.floor((high - base.image_size) / step + 1e-9)
    sizes = [base.image_size + i * step for i in range(first, last + 1) if base.image_size + i * step > 0]
    if not sizes or any(size % patch for size in sizes):
        raise InputError(
            f"no resolution from {low:g} to {high:g} px in steps of {step} divides by patches of {patch} px"
        )
    stride = math.ceil(len(sizes) / MOST_OPTIONS["resolution"])
    return sizes[::stride]
