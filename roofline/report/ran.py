"""What a run was of: its examples, and of a decoder which step."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.arch.step import Step
from roofline.text import counted


@dataclass(frozen=True, kw_only=True, eq=False)
class Ran:
    """What was run.

    Attributes
    ----------
    image_size, length
        Of one example: pixels per side of an image, or new tokens of a sequence.
    step
        Which step of a decoder it is; None for other networks.
    mode
        Inference, training, or a forward pass that saves what a backward pass needs.
    optimizer, recompute
        Of a training step: None and False without one.
    batch, busy_cores
        Examples per run, and the cores they are spread over.
    """

    image_size: int | None
    length: int | None
    step: Step | None
    mode: str
    optimizer: str | None
    recompute: bool
    batch: int
    busy_cores: int

    @property
    def phase(self) -> str | None:
        """Which step of a decoder it is: prefill, decode or mixed."""
        return None if self.step is None else self.step.phase

    @property
    def context(self) -> float | None:
        """Tokens that each sequence kept from before; in a mixed step each of those that decode."""
        if self.step is None:
            return None
        return float(self.step.decoding_context if self.step.phase == "mixed" else self.step.context)

    @property
    def decoding(self) -> int | None:
        """Sequences of a mixed step that get one token each, on all busy cores."""
        return int(self.step.decoding) * self.busy_cores if self.step and self.step.phase == "mixed" else None

    @property
    def asked(self) -> str:
        """What is run, in words: inference or training of examples, or which step of a decoder."""
        new = counted(self.length or 0, "token")
        if self.step is None or self.mode != "inference":
            return f"{new}, {self.mode}" if self.length else self.mode
        if self.phase == "decode":
            return f"decode, context {self.context:,.0f}" + (f", {new} each" if self.length != 1 else "")
        cached = f", {self.step.context:,.0f} cached" if self.step.context else ""
        beside = counted(self.decoding or 0, "decoding sequence")
        return f"{self.phase} of {new}{cached}" + (
            f" beside {beside} with {self.context:,.0f} kept" if self.decoding else ""
        )

    @property
    def tokens(self) -> int | None:
        """New tokens of the run; None where nobody knows how long its examples are."""
        return None if self.length is None else self.batch * self.length + (self.decoding or 0)
