"""A JAX function becomes an op graph: traced on shapes alone, lowered as XLA compiles it."""

from __future__ import annotations

from roofline.frontends.jax.api import from_jax
from roofline.frontends.jax.registry import lowering

rule = lowering  #: its name in version 0.1

__all__ = ["from_jax", "lowering", "rule"]
