"""A JAX function becomes an op graph: traced on shapes alone, lowered as XLA compiles it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roofline.frontends.jax.registry import rule

if TYPE_CHECKING:
    from roofline.frontends.jax.api import from_jax as from_jax

__all__ = ["from_jax", "rule"]


def __getattr__(name: str) -> Any:
    if name == "from_jax":
        from roofline.frontends.jax import api

        return api.from_jax
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
