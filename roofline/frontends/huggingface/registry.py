"""One function for each family: from a configuration to the stages of a network, by ``model_type``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from roofline.frontends.huggingface.config import Config
from roofline.registry import filed

Table: TypeAlias = dict[str, Any]
#: what reads the configuration of a family: the tables of its stages, as an architecture file would state them
Reader: TypeAlias = Callable[[Config], list[Table]]

FAMILIES: dict[str, Reader] = {}
#: the longest pattern of layers that is stated as one
LONGEST_PATTERN = 12


def family(*model_types: str) -> Callable[[Reader], Reader]:
    """Register the decorated function for configurations of these types."""
    return filed(FAMILIES, model_types, lambda name: f"model type {name!r} is registered twice")


def decoder(config: Config, parts: Table, layers: Sequence[str], **fields: Any) -> list[Table]:
    """Return the stages of a decoder: layers of named parts, and the head.

    Parameters
    ----------
    layers
        The parts of each layer, as their names with spaces between.
    fields
        Further fields of the layers' stages; of the head those that it alone knows.
    """
    of_head = {name: fields.pop(name) for name in ("capped",) if name in fields}
    vocab = config.number("vocab_size")
    width = config.number("hidden_size")
    positions = config.number("max_position_embeddings", 0)
    tied = config.flag("tie_word_embeddings", fields.pop("tied", False))
    tables: list[Table] = []
    for name, its in _stages(list(layers)):
        used = {part: parts[part] for part in parts if any(part in layer.split() for layer in its)}
        pattern = its[: _period(its)]
        first = {"vocab": vocab, "positions": positions} if not tables else {}
        stated = {} if pattern == [" ".join(used)] else {"pattern": pattern}
        tables.append(
            {"name": name, "block": "decoder", "repeats": len(its), "width": width, **first, **fields, "parts": used}
            | stated
        )
    return [*tables, {"name": "head", "block": "decoder_head", "vocab": vocab, "tied": tied, **of_head}]


def _stages(layers: list[str]) -> list[tuple[str, list[str]]]:
    """Return layers as one stage where they follow a short pattern, or as two where they do behind the first few."""
    for first in range(min(LONGEST_PATTERN, len(layers))):
        if _period(layers[first:]) <= LONGEST_PATTERN:
            behind = [("layers", layers[first:])]
            return [("first", layers[:first]), *behind] if first else behind
    return [("layers", layers)]


def _period(layers: Sequence[str]) -> int:
    """Return how long the shortest pattern is that the layers repeat."""
    for period in range(1, len(layers)):
        if all(a == b for a, b in zip(layers, layers[period:], strict=False)):
            return period
    return len(layers)
