"""Dense products (GEMM): tiles, how they are fed, and what surrounds them."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.software.libraries.library import Library, library_kind


@library_kind("products")
@dataclass(frozen=True, kw_only=True)
class ProductsLibrary(Library):
    """A library of products."""
