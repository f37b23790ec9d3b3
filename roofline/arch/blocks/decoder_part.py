"""What the layers of decoders are made of: parts of a layer, each behind a norm, as tables of an architecture file.

A part of a kind is a class with the fields that a file states (`PartFile`), registered by `part`; it makes the block
that builds the part's ops. The module of a kind holds both.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from roofline.arch.block import Block
from roofline.arch.step import Step
from roofline.errors import InputError, RooflineError
from roofline.graph.builder import GraphBuilder
from roofline.graph.movement import Window
from roofline.graph.tensor import Tensor
from roofline.names import lookup
from roofline.numeric import Numeric, least
from roofline.quantity import SpecFile
from roofline.registry import filed


class PartFile(SpecFile):
    """A part of a layer, as an architecture file states it: ``parts.NAME = { kind = "...", ... }``."""

    kind: str

    @abstractmethod
    def make(self, step: Step) -> Block:
        """Return the block that adds the part's ops in a step: a normed stream in, a branch out."""


PARTS: dict[str, type[PartFile]] = {}
P = TypeVar("P", bound=type[PartFile])


def part(kind: str) -> Callable[[P], P]:
    """Register the class of a kind of part."""
    return filed(PARTS, (kind,), lambda name: f"part kind {name!r} is registered twice")


def part_from(table: object) -> PartFile:
    """Return the part that a table of an architecture file states.

    Raises
    ------
    InputError
        It is no table, or has no kind or one that nobody registered.
    """
    if isinstance(table, PartFile):
        return table
    if not isinstance(table, dict) or "kind" not in table:
        raise InputError(f"a part is a table with a kind, got {table!r}")
    try:
        cls = lookup(str(table["kind"]), PARTS, "part kind")
    except RooflineError as error:
        raise InputError(str(error)) from None
    return cls.model_validate(table)


@dataclass(frozen=True, kw_only=True)
class Span:
    """Sequences that a step treats alike: `new` tokens each, behind `kept` ones."""

    name: str
    sequences: Numeric
    new: Numeric
    kept: Numeric


@dataclass(frozen=True, kw_only=True)
class Recalling(Block):
    """A part that keeps something of the tokens it has seen.

    All sequences enter as (N, T, C); in a mixed step the rows of prompts and of decoding sequences lie one after the
    other, (1, N T + decoding, C), and the prompts' token ids (N, T) come with them.
    """

    phase: str
    context: Numeric
    decoding: Numeric
    decoding_context: Numeric

    def spans(self, x: Tensor, *tokens: Tensor) -> tuple[Span, ...]:
        """Return which sequences a step has."""
        if self.phase != "mixed":
            return (Span(name="", sequences=x.shape[0], new=x.shape[1], kept=self.context),)
        sequences, new = tokens[0].shape
        return (
            Span(name="prompts", sequences=sequences, new=new, kept=self.context),
            Span(name="decoding", sequences=self.decoding, new=1, kept=self.decoding_context),
        )


def step_fields(step: Step) -> dict[str, Any]:
    """Return the fields of a `Recalling` part that a step says."""
    return {
        "phase": step.phase,
        "context": step.context,
        "decoding": step.decoding,
        "decoding_context": step.decoding_context,
    }


def rows_of(b: GraphBuilder, x: Tensor, spans: Sequence[Span]) -> list[Tensor]:
    """Return views of x with the sequences of each span, (sequences, new, C)."""
    if len(spans) == 1:
        return [x]
    found: list[Tensor] = []
    start: Numeric = 0
    for span in spans:
        rows = span.sequences * span.new
        apart = b.part(x, rows, start=start, axis=1, name=f"{span.name}_rows")
        found.append(b.reshape(apart, (span.sequences, span.new, x.shape[-1]), name=span.name))
        start = start + rows
    return found


def together(b: GraphBuilder, parts: list[Tensor]) -> Tensor:
    """Return the rows of all spans one after the other, as they entered; one span stays as it is."""
    if len(parts) == 1:
        return parts[0]
    flat = [b.reshape(x, (1, x.shape[0] * x.shape[1], x.shape[2]), name="rows") for x in parts]
    return b.concat(flat, axis=1, name="together")


def kept_rows(
    b: GraphBuilder, span: Span, new: Tensor, name: str, *, window: Numeric = 0, windowed: bool = False
) -> Tensor:
    """Write new rows into a cache, in place, and return all rows that the queries of the step see.

    A windowed layer keeps no more than its window. During the step its queries see the whole window of the first.
    """
    total, width = span.kept + span.new, new.shape[-1]
    size = least(total, window) if windowed else total
    cache = b.tensor(f"{name}_cache", (span.sequences, size, width), "cache")
    cache = b.update(cache, new, name=f"keep_{name}")
    if not windowed:
        return cache
    seen = least(span.kept, window - 1) + span.new
    return b.add_op(f"{name}_seen", Window, cache, shape=(span.sequences, seen, width))


def kept_state(b: GraphBuilder, name: str, *shape: Numeric) -> Tensor:
    """Return state of a fixed size for each sequence, as the last step left it."""
    return b.tensor(f"{name}_state", shape, "state")


def rotated(b: GraphBuilder, x: Tensor, angles: Tensor, name: str) -> Tensor:
    """Return x (..., heads, D) turned by the angle of each token's position (Su et al., arXiv 2104.09864).

    Where part of each head turns, the rest is copied along.
    """
    return b.elementwise("rotary", x, angles, broadcast=(False, True), name=f"{name}_rotary")


def angles_of(b: GraphBuilder, x: Tensor, rotary: Numeric) -> Tensor:
    """Return the cosines and sines of the positions: they enter, computed once for all layers."""
    return b.input("angles", (x.shape[1], rotary))
