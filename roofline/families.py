"""What fusion looks at: a runtime fuses by family and topology, never by size."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Family: TypeAlias = Literal[
    "contraction", "depthwise", "attention", "pointwise", "reduction", "pool", "movement", "free"
]

FAMILIES: tuple[str, ...] = get_args(Family)
