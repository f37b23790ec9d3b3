"""The version of the package: below everything, so that a file can say who wrote it."""

from __future__ import annotations

__version__ = "0.1.0"
