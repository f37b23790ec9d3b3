"""A JAX function becomes an op graph: traced on shapes alone, lowered as XLA compiles it."""

from __future__ import annotations

from roofline.frontends.jax.registry import rule

__all__ = ["from_jax", "rule"]


def __getattr__(name: str) -> object:
    if name == "from_jax":
        from roofline.frontends.jax.entry import from_jax

        return from_jax
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
