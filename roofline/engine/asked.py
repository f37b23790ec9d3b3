"""What of a network a run is of: pictures of a size, sequences of a length, or one step of a decoder."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from roofline.arch.build import MAX_BATCH
from roofline.arch.spec import MAX_INPUT_SIZE, MAX_POSITIONS, Arch
from roofline.arch.step import PHASES, Step
from roofline.errors import InputError, nearest
from roofline.numeric import whole_number
from roofline.text import words

#: tokens that are kept, and the share of the sequences that keep so many; shares add up to 1
Contexts: TypeAlias = tuple[tuple[int, float], ...]
#: options that say it
NAMES = words("image_size length phase context prefix decoding")
#: what ``k`` and ``m`` behind a number of tokens mean
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}


def tokens(text: str, what: str) -> int:
    """Return a number of tokens that is written with or without ``k`` or ``m``, which are 2^10 and 2^20.

    Raises
    ------
    InputError
        It is none; the message says `what` it is for.

    Examples
    --------
    >>> tokens("4k", "context"), tokens("1000", "context")
    (4096, 1000)
    """
    found = re.fullmatch(r"(\d{1,12})([km]?)", text.strip().lower())
    if found is None:
        raise InputError(f"{what} must be a whole number of tokens such as 4096 or 4k, got {text!r}")
    return int(found[1]) * UNITS[found[2]]


def contexts(value: Any) -> Contexts:
    """Return how many tokens are kept, and by which share of the sequences.

    Parameters
    ----------
    value
        A number, text (``"4k"``, ``"1k:0.5,8k:0.5"``), or pairs of a number and a weight.

    Raises
    ------
    InputError
        It is none of these, or a number or a weight is out of range.

    Examples
    --------
    >>> contexts(4096), contexts("1k:1,8k:3")
    (((4096, 1.0),), ((1024, 0.25), (8192, 0.75)))
    """
    if isinstance(value, str):
        pairs = [part.partition(":") for part in value.split(",")]
        value = [(tokens(number, "context"), _weight(weight) if colon else 1.0) for number, colon, weight in pairs]
    if not isinstance(value, Sequence):
        return ((_kept(value, "context"), 1.0),)
    if not value or not all(isinstance(pair, Sequence) and len(pair) == 2 for pair in value):
        raise InputError(f"context must be a number, or pairs of a number of tokens and a share, got {value!r}")
    total = sum(_weight(weight) for _, weight in value)
    return tuple((_kept(number, "context"), _weight(weight) / total) for number, weight in value)


def _kept(value: object, what: str) -> int:
    """Return a number of tokens that are kept: 0 is one, too."""
    return 0 if value == 0 and not isinstance(value, bool) else whole_number(value, what, most=MAX_POSITIONS)


def _weight(value: Any) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = 0.0
    if not 0.0 < weight < float("inf"):
        raise InputError(f"shares of context must be numbers above 0, got {value!r}")
    return weight


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a run is asked to be of; None is up to the network.

    Attributes
    ----------
    image_size, length
        Pixels per side; new tokens per sequence.
    phase, context, prefix, decoding
        Of a step of a decoder: see `roofline.arch.step.Step`. `context` is what decoding sequences keep, `prefix` what
        is cached of prompts.
    """

    image_size: int | None = None
    length: int | None = None
    phase: str | None = None
    context: Contexts | None = None
    prefix: int | None = None
    decoding: int | None = None

    @property
    def of_step(self) -> tuple[str, ...]:
        """The options that only decoders have, as far as they are given."""
        return tuple(n for n in NAMES[2:] if getattr(self, n) is not None)

    @property
    def mean_context(self) -> float | None:
        """What sequences keep on average; None where nothing is said."""
        return None if self.context is None else sum(number * share for number, share in self.context)

    @property
    def longest(self) -> int:
        """The most that a sequence keeps."""
        return max((number for number, _ in self.context or ()), default=0)


#: all is up to the network
NOTHING = Asked()
#: options that belong to some phases, and what to say instead in another
OF_PHASE = (
    ("context", ("decode", "mixed"), ": what is cached of a prompt is its prefix"),
    ("prefix", ("prefill", "mixed"), ": what a decoding sequence keeps is its context"),
    ("decoding", ("mixed",), ": in 'decode' all sequences of the batch do"),
)


def asked(options: Mapping[str, Any]) -> Asked:
    """Return what options ask for, checked as far as it can be without a network.

    Raises
    ------
    InputError
        A value is out of range, or belongs to another phase.
    """
    given = {name: options.get(name) for name in NAMES}
    phase = given["phase"]
    if phase is not None and phase not in PHASES:
        raise InputError(f"unknown phase {phase!r}{nearest(str(phase), PHASES)}")
    for name, phases, instead in OF_PHASE:
        if given[name] is not None and (phase or "prefill") not in phases:
            raise InputError(f"{name} is for phase {' or '.join(map(repr, phases))}{instead}")
    if phase == "mixed" and given["decoding"] is None:
        raise InputError("in a mixed step sequences decode beside prompts: give decoding, how many")
    return Asked(
        image_size=_count("image size", given["image_size"], MAX_INPUT_SIZE),
        length=_count("length", given["length"], MAX_INPUT_SIZE),
        phase=phase,
        context=None if given["context"] is None else contexts(given["context"]),
        prefix=None if given["prefix"] is None else _kept(given["prefix"], "prefix"),
        decoding=_count("decoding", given["decoding"], MAX_BATCH),
    )


def _count(what: str, value: object, most: int) -> int | None:
    return None if value is None else whole_number(value, what, most=most)


@dataclass(frozen=True, kw_only=True)
class Sized:
    """A network as a run has it.

    Attributes
    ----------
    image_size, length
        Of one example: pixels per side of an image, or else new tokens of a sequence.
    step
        Of a decoder, which step it is; None for other networks.
    """

    arch: Arch
    image_size: int | None = None
    length: int | None = None
    step: Step | None = None


def sized(arch: Arch, ask: Asked, share: float = 1.0) -> Sized:
    """Return a network as a run has it that asks for something.

    Parameters
    ----------
    share
        Part of the batch that the fullest core has: so many of the decoding sequences of a mixed step are its own.

    Raises
    ------
    InputError
        What is asked for is no property of the network, or more tokens than it has positions for.
    """
    if ask.of_step and not arch.decodes:
        raise InputError(f"{ask.of_step[0]} is for decoders, and {arch.name!r} is none: it keeps no cache")
    if arch.input == "image":
        if ask.length is not None:
            raise InputError(f"length is for networks of tokens, and {arch.name!r} takes images: give image_size")
        found = arch.with_image_size(ask.image_size)
        return Sized(arch=found, image_size=found.image_size)
    if ask.length is not None and ask.image_size is not None:
        raise InputError("length and image_size of a network of tokens are the same: give length")
    if not arch.decodes:
        found = arch.with_length(ask.length) if ask.image_size is None else arch.with_image_size(ask.image_size)
        return Sized(arch=found, length=found.image_size)
    return _step_of(arch, ask, share)


def _step_of(arch: Arch, ask: Asked, share: float) -> Sized:
    """Return a decoder in the step that is asked for."""
    one, positions = ask.phase == "decode", arch.positions
    found = arch.with_length(ask.length or (1 if one else None)).with_image_size(ask.image_size)
    length = found.image_size
    kept: float | None = ask.mean_context
    longest = ask.longest
    if kept is None:
        kept = longest = min(arch.image_size, positions - 1)
    decoding = {"decode": ((longest, length),), "mixed": ((longest, 1), (ask.prefix or 0, length))}
    for before, new in decoding.get(ask.phase or "", ((ask.prefix or 0, length),)):
        if before + new > positions:
            what = f"{before:,} kept and {new:,} new tokens" if before else f"{new:,} tokens"
            raise InputError(f"{what} are beyond the {positions:,} positions of {arch.name!r}")
    step = {
        "decode": Step(phase="decode", context=kept),
        "mixed": Step(
            phase="mixed",
            context=ask.prefix or 0,
            decoding=math.ceil((ask.decoding or 0) * share),
            decoding_context=kept,
        ),
    }.get(ask.phase or "", Step(context=ask.prefix or 0))
    return Sized(arch=found.at(step), length=length, step=step)
