"""Element-wise ops for rules of your own; they stand in `roofline.frontends.jax.rules.elementwise`."""

from roofline.frontends.jax.rules.elementwise import elementwise

__all__ = ["elementwise"]
