"""Products of experts: one launch for the rows of all experts that have any."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.software.libraries.library import Library, library_kind


@library_kind("experts")
@dataclass(frozen=True, kw_only=True)
class ExpertsLibrary(Library):
    """A library of products of experts."""
