"""Fused attention: what it skips, what its loop hides, and which cases it has kernels for."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.software.libraries.library import Library, library_kind


@library_kind("attention")
@dataclass(frozen=True, kw_only=True)
class AttentionLibrary(Library):
    """A library of attention."""
