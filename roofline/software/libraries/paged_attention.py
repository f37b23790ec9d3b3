"""Attention over a cache kept in pages, as kernels for TPUs run it: one core walks through blocks of queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from roofline.software.constant import TPU, Range, Without, constant
from roofline.software.libraries.library import Facts, Library, library_kind


class PagedAttentionFacts(Facts):
    """What files of such libraries say beside constants.

    Attributes
    ----------
    block_queries
        Queries of a sequence that are taken together; fewer where it has fewer.
    page_tokens
        Tokens whose keys and values lie side by side.
    """

    block_queries: int = Field(gt=0)
    page_tokens: int = Field(gt=0)


@library_kind("paged_attention")
@dataclass(frozen=True, kw_only=True)
class PagedAttentionLibrary(Library):
    """A library of attention over paged caches; `visit` is one block of queries walking through its keys."""

    facts_class: ClassVar[type[Facts]] = PagedAttentionFacts
    facts: PagedAttentionFacts

    floor_s: float = constant(
        "launch.floor",
        "device time per kernel at least",
        unit="us",
        fitted=Range(0.5, 10.0, "from a fused kernel to a dozen steps of a grid (0.35 us each)", kinds=TPU),
        told_by="one short sequence",
        without=Without(
            0.0, "attention start", "kernels of attention start at no cost", kinds=TPU, part_of="kernel floor"
        ),
    )
    visit_s: float = constant(
        "launch.visit",
        "time per block of queries that nothing hides: its first page, the end of its loop, its results",
        unit="us",
        fitted=Range(0.35, 5.0, "from one step of a grid to a dozen", kinds=TPU),
        told_by="many short sequences",
        without=Without(0.0, "visits", "sequences start at no cost", kinds=TPU, part_of="kernel floor"),
    )
    page_s: float = constant(
        "memory.page",
        "time per page of the cache beside its bytes: its copy is started, and waited for, by itself",
        unit="us",
        fitted=Range(
            0.02, 0.5, "from some thirty cycles of the scalar core to the latency of the main memory", kinds=TPU
        ),
        told_by="decoding with long contexts",
        without=Without(0.0, "page copies", "pages stream as one", kinds=TPU, part_of="exposed memory"),
    )
    query_passes: float = constant(
        "memory.query_passes",
        "times that queries and results pass through memory while nothing else does",
        fitted=Range(0.0, 6.0, "from copies that hide to other orders of both before and after the kernel", kinds=TPU),
        told_by="long prompts",
        without=Without(0.0, "copies of queries", "queries and results move for nothing", kinds=TPU),
    )
    overlap: float = constant(
        "memory.overlap",
        "1: keys and values arrive while others are computed with, 0: they take turns",
        unit="fraction",
        fitted=Range(0.0, 1.0, "from no double buffers to copies that compute never waits for", kinds=TPU),
        told_by="prompts behind a long cached prefix",
        without=Without(
            1.0, "waits for pages", "copies and computing overlap fully", kinds=TPU, part_of="imperfect overlap"
        ),
    )
    softmax_ops: float = constant(
        "softmax.ops",
        "lane operations per score: scale, mask, maximum, exponential, sum, and what they wait for",
        fitted=Range(8.0, 100.0, "from the six operations themselves to reductions across lanes", kinds=TPU),
        told_by="long prompts",
        without=Without(0.0, "softmax", "scores need products only", kinds=TPU),
    )
