"""One step of a decoder as a value: what its sequences have behind them, and what enters them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from roofline.errors import InputError, nearest
from roofline.numeric import Numeric

Phase: TypeAlias = Literal["prefill", "decode", "mixed"]
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What runs at once: how many sequences, and how many new tokens each has, says the shape of the input (N, T).

    Attributes
    ----------
    phase
        ``prefill`` enters prompts, ``decode`` one more token each (or a few, all scored), ``mixed`` prompts beside
        sequences that get one more token.
    context
        Tokens of each sequence whose keys and values are kept from before: in prefill the cached prefix. A mean where
        sequences differ.
    decoding, decoding_context
        Of a mixed step: sequences that get one token each, and what they have kept.
    """

    phase: Phase = "prefill"
    context: Numeric = 0
    decoding: Numeric = 0
    decoding_context: Numeric = 0

    def __post_init__(self) -> None:
        """Refuse a phase that there is not, and decoding sequences outside a mixed step.

        Raises
        ------
        InputError
            Names the phases.
        """
        if self.phase not in PHASES:
            raise InputError(f"unknown phase {self.phase!r}{nearest(str(self.phase), PHASES)}")


#: a whole prompt with nothing kept before it: what runs where nobody says otherwise
PREFILL = Step()
