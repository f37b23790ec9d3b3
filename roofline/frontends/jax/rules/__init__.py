"""The rules, by topic; importing this package registers them."""

from __future__ import annotations

from roofline.frontends.jax.rules import (  # noqa: F401
    control,
    elementwise,
    indexing,
    products,
    reductions,
    shapes,
    spectral,
)
