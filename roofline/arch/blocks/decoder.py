"""Decoder-only language models: layers of parts, each behind a norm, and the scores of the vocabulary.

Layers are cut before their last residual add, as those of all pre-norm transformers are (`blocks.transformer`). What a
layer does depends on the step (`roofline.arch.step`): whole prompts, one more token each, or both at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, PrivateAttr, SerializeAsAny, field_validator, model_validator

from roofline.arch.block import Block, Parts, Ports, Stage, stage
from roofline.arch.blocks.decoder_part import PartFile, part_from
from roofline.arch.blocks.transformer import check_ranks
from roofline.arch.step import PREFILL, Step
from roofline.errors import ShapeError, nearest
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric

#: where norms stand: before each part, behind it too, or only behind it
Norms: TypeAlias = Literal["before", "around", "behind"]


@dataclass(frozen=True, kw_only=True)
class DecoderLayer(Block):
    """One layer; the first of a network embeds the token ids."""

    parts: Parts
    width: Numeric
    vocab: Numeric
    decoding: Numeric
    names: tuple[str, ...]
    embeds: bool
    mixed: bool
    scaled: bool
    norms: Norms

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the stream and the branch that is to be added to it; in a mixed step the prompts' token ids too."""
        tokens = inputs[0 if self.embeds else 2 :] if self.mixed else ()
        stream = self._embedded(b, inputs[0]) if self.embeds else b.add(*inputs[:2], name="residual")
        branch = stream
        for index, (name, part) in enumerate(zip(self.names, self.parts, strict=True)):
            if index:
                stream = b.add(stream, branch, name=f"{name}_residual")
            x = stream if self.norms == "behind" else b.rms_norm(stream, name=f"{name}_norm")
            with b.scope(name):
                (branch,) = part.build(b, x, *tokens)
            if self.norms != "before":
                branch = b.rms_norm(branch, name=f"{name}_norm_behind")
        return stream, branch, *tokens

    def _embedded(self, b: GraphBuilder, tokens: Tensor) -> Tensor:
        """Return the vectors of the token ids; in a mixed step those of prompts and decoding sequences as one row."""
        with b.scope("embed"):
            if self.mixed:
                n, length = tokens.shape
                new = b.input("decoding_tokens", (1, self.decoding), tokens.dtype)
                tokens = b.concat([b.reshape(tokens, (1, n * length), name="prompts"), new], axis=1, name="tokens")
            x = b.embedding(tokens, self.vocab, self.width, name="token")
            return b.activation("scale", x) if self.scaled else x


class DecodingStage(Stage):
    """A stage that differs from step to step."""

    decodes: ClassVar[bool] = True
    _step: Step = PrivateAttr(default=PREFILL)

    def at(self, step: Step) -> Self:
        """Return the stage as it is in a step."""
        found = self.model_copy()
        found._step = step
        return found

    def inputs(self) -> tuple[int, ...]:
        """Return the ranks of what enters a block that is not the first: in a mixed step the token ids too."""
        return (3, 3, 2) if self._step.phase == "mixed" else (3, 3)


@stage("decoder")
class DecoderStage(DecodingStage):
    """Layers of a decoder; those of the first stage of a network begin with the embedding.

    Attributes
    ----------
    parts
        What layers are made of, by name: tables with a `kind`.
    pattern
        The parts of each layer, as their names with spaces between; layers follow it again and again. By default every
        layer has all parts in their order.
    vocab
        Rows of the embedding: for the first stage of a network.
    positions
        Tokens of the longest sequence; 0: any number.
    norms
        Before each part, also behind it ("around"), or only "behind" it.
    scaled
        The embedding is multiplied by a constant.
    """

    width: int = Field(ge=1)
    vocab: int = Field(default=0, ge=0)
    positions: int = Field(default=0, ge=0)
    parts: dict[str, SerializeAsAny[PartFile]] = Field(min_length=1)
    pattern: tuple[str, ...] = ()
    norms: Norms = "before"
    scaled: bool = False

    @field_validator("parts", mode="before")
    @classmethod
    def _known(cls, tables: Any) -> Any:
        return {name: part_from(table) for name, table in tables.items()} if isinstance(tables, dict) else tables

    @model_validator(mode="after")
    def _has_all(self) -> Self:
        for name in " ".join(self.pattern).split():
            if name not in self.parts:
                raise ValueError(f"pattern: no part {name!r}{nearest(name, self.parts)}")
        for name, part in self.parts.items():
            window = getattr(part, "window", 0)
            if self.positions and window > self.positions:
                raise ValueError(f"{name}: a window of {window!r} is longer than the {self.positions!r} positions")
        return self

    def __hash__(self) -> int:
        return hash((self.name, self.repeats, self.width, self.vocab, self.pattern, *self.parts, self._step))

    @property
    def period(self) -> int:
        """Layers lie as far apart as the pattern is long."""
        return max(len(self.pattern), 1)

    def make(self, index: int, ports: Ports) -> Block:
        """Return layer number `index`.

        Raises
        ------
        ShapeError
            The sequence is longer than there are positions, or the first stage has no vocabulary.
        """
        step = self._step
        check_ranks(ports, "a layer of a decoder", (2,), self.inputs())
        embeds = len(ports[0].shape) == 2
        if embeds:
            self._check(ports)
        names = tuple(self.pattern[index % len(self.pattern)].split()) if self.pattern else tuple(self.parts)
        return DecoderLayer(
            parts=tuple(self.parts[name].make(step) for name in names),
            width=self.width,
            vocab=self.vocab if embeds else 0,
            decoding=step.decoding,
            names=names,
            embeds=embeds,
            mixed=step.phase == "mixed",
            scaled=self.scaled and embeds,
            norms=self.norms,
        )

    def _check(self, ports: Ports) -> None:
        if not self.vocab:
            raise ShapeError(f"stage {self.name!r} is the first of a decoder: it needs vocab")
        longest = max(self._step.context + ports[0].shape[1], self._step.decoding_context + 1)
        if self.positions and longest > self.positions:
            raise ShapeError(f"a sequence of {longest!r} tokens has no positions: the network has {self.positions!r}")


@dataclass(frozen=True, kw_only=True)
class DecoderHead(Block):
    """The last residual, the final norm, and the scores of the vocabulary for the tokens that are asked for."""

    vocab: Numeric
    decoding: Numeric
    mixed: bool
    last: bool
    tied: bool
    bias: bool
    capped: bool

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return (N, T, vocab), or (N, 1, vocab) for the last token of each sequence."""
        x = b.rms_norm(b.add(*inputs[:2], name="residual"), name="norm")
        if self.mixed:
            n, length = inputs[2].shape
            prompts = b.reshape(b.part(x, n * length, axis=1, name="prompts"), (n, length, x.shape[-1]), name="apart")
            ends = b.part(prompts, 1, start=length - 1, axis=1, name="last")
            ends = b.reshape(ends, (1, n, x.shape[-1]), name="ends")
            x = b.concat([ends, b.part(x, self.decoding, start=n * length, axis=1, name="decoding")], axis=1)
        elif self.last:
            x = b.part(x, 1, start=x.shape[1] - 1, axis=1, name="last")
        scores = b.linear(x, self.vocab, bias=self.bias, tied=self.tied, part="head", name="vocabulary")
        if self.capped:  # limit * tanh(scores / limit)
            scores = b.activation("scale", b.activation("tanh", b.activation("scale", scores)))
        return (scores,)


@stage("decoder_head")
class DecoderHeadStage(DecodingStage):
    """The scores of the vocabulary.

    Attributes
    ----------
    tied
        The weight is that of the embedding.
    every
        Scores at every position of a prompt, as for training; by default of its last token alone, as for serving.
    capped
        Scores are bounded by a hyperbolic tangent (Gemma 2).
    """

    vocab: int = Field(ge=1)
    tied: bool = False
    every: bool = False
    bias: bool = False
    capped: bool = False

    def make(self, index: int, ports: Ports) -> Block:
        """Return the head."""
        step = self._step
        check_ranks(ports, "the head of a decoder", self.inputs())
        return DecoderHead(
            vocab=self.vocab,
            decoding=step.decoding,
            mixed=step.phase == "mixed",
            last=step.phase == "prefill" and not self.every,
            tied=self.tied,
            bias=self.bias,
            capped=self.capped,
        )
