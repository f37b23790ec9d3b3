"""The training step: backward pass and optimizer of any op graph, as graphs that the rest of the package prices."""

from __future__ import annotations

from roofline.passes.backward import moves, norms, pointwise, products  # noqa: F401  (fills the registry)
from roofline.passes.backward.registry import backward
from roofline.passes.backward.tape import Backward, Step, backward_of

__all__ = ["Backward", "Step", "backward", "backward_of"]
