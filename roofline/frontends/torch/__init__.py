"""PyTorch programs as op graphs. Importing this package needs torch: ``pip install 'roofline[torch]'``."""

from __future__ import annotations

from roofline.errors import InputError

try:
    import torch as _torch  # noqa: F401
except ImportError:
    raise InputError("lowering PyTorch programs needs torch: pip install 'roofline[torch]'") from None

from roofline.frontends.torch.api import from_torch
from roofline.frontends.torch.registry import lowering

__all__ = ["from_torch", "lowering"]
