"""How much work an op is: one rule per op type, with no device in sight."""

from __future__ import annotations

from roofline.work import rules as _rules  # noqa: F401  (fills the registry)
from roofline.work import rules_gradients as _rules_gradients  # noqa: F401
from roofline.work.registry import count, work_of

__all__ = ["count", "work_of"]
