"""Attention over a paged cache on a core with systolic arrays: blocks of queries that walk through their keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline.cost.matrix import ROW_GRANULE, Product, SystolicArray, systolic_time_s
from roofline.numeric import Array, Numeric


@dataclass(frozen=True, kw_only=True, eq=False)
class PagedAttention:
    """The last `queries` positions of `batch` sequences look at the `keys` positions they have; numbers, or columns.

    `head` and `value` are widths of a head, `kept_width` is what is kept of both (less where values are a part of
    keys); `causal` is 1 or 0; a query sees at most `window` keys.
    """

    batch: Numeric
    queries: Numeric
    keys: Numeric
    heads: Numeric
    kv_heads: Numeric
    head: Numeric
    value: Numeric
    kept_width: Numeric
    causal: Numeric
    window: Numeric


@dataclass(frozen=True, kw_only=True, eq=False)
class PagedKernel:
    """How a library walks, on one core.

    Attributes
    ----------
    block_queries, page_tokens
        Queries taken together, and tokens of a page.
    visit_s, page_s
        Time of a block of queries that nothing hides, and of a page of the cache beside its bytes [s].
    query_passes
        How often queries and results pass through memory while nothing else does.
    softmax_ops, lane_ops_per_s
        Lane operations per score, and how many there are in a second.
    convert_ops
        Lane operations per element of keys and values that are kept in another format than is multiplied.
    lanes
        Scores, and elements of a head, fill registers of so many.
    bytes_per_s
        Of the main memory, as reached.
    cache_factor
        How much longer pages of the cache take than from the main memory, where they come from elsewhere.
    matrix_fraction
        Share of the arrays' rate that products reach.
    overlap
        1: pages are copied while scores are computed, 0: they take turns.
    """

    block_queries: float
    page_tokens: float
    visit_s: float
    page_s: float
    query_passes: float
    softmax_ops: float
    lane_ops_per_s: float
    convert_ops: Numeric
    lanes: float
    bytes_per_s: float
    cache_factor: Numeric
    matrix_fraction: float
    overlap: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PagedTimes:
    """What all visits of a kernel spend [s]: products, softmax, keys and values, and what nothing hides."""

    matrix_s: Array
    vector_s: Array
    memory_s: Array
    visits_s: Array
    overlap: float

    @property
    def time_s(self) -> Array:
        """Time of the kernel [s] but for its start; products and softmax of a block wait for each other."""
        computed_s = self.matrix_s + self.vector_s
        hidden_s = self.overlap * np.minimum(computed_s, self.memory_s)
        return np.asarray(computed_s + self.memory_s - hidden_s + self.visits_s)


def visited_keys(a: PagedAttention, *, rows: Numeric, granule: float) -> Array:
    """Return how many keys blocks of `rows` queries walk through in the mean, in whole `granule`.

    A block of a causal prompt ends at its own last query; what lies before the window of its first one is skipped. The
    first and the last block tell how much whole granules add.
    """
    seen = np.minimum(a.keys, a.window + rows - 1.0)
    first = a.keys - a.causal * (a.queries - rows)
    mean = _mean_up_to(first, rows, count=a.queries / rows, most=seen)
    return mean + 0.5 * (_rest(np.minimum(first, seen), granule) + _rest(seen, granule))


def visited_pages(a: PagedAttention, *, rows: Numeric, page_tokens: float) -> Array:
    """Return how many pages of what was kept before, without the new tokens, such blocks walk through in the mean."""
    seen = np.minimum(a.keys, a.window + rows - 1.0)
    kept, last = a.keys - a.queries, seen - a.queries  # the fewer of them the more new tokens lie before a block
    count = a.queries / rows
    mean = _mean_up_to(last, rows, count=count, most=kept) - _mean_up_to(last, rows, count=count, most=0.0 * kept)
    ends = (np.clip(seen - rows, 0.0, kept), np.clip(last, 0.0, kept))
    return (mean + 0.5 * (_rest(ends[0], page_tokens) + _rest(ends[1], page_tokens))) / page_tokens


def _mean_up_to(start: Numeric, step: Numeric, *, count: Numeric, most: Numeric) -> Array:
    """Return the mean of `count` numbers that begin at `start` and grow by `step`, each at most `most`."""
    below = np.clip(np.ceil((most - start) / step), 0.0, count)
    return np.asarray((below * start + 0.5 * step * below * (below - 1.0) + (count - below) * most) / count)


def _rest(length: Numeric, granule: float) -> Array:
    """Return what a length lacks to whole granules."""
    return np.asarray(granule * np.ceil(length / granule) - length)


def paged_attention(
    a: PagedAttention, kernel: PagedKernel, array: SystolicArray, *, query_bytes: Numeric, kept_bytes: Numeric
) -> PagedTimes:
    """Return what the visits of a kernel spend [s]; `query_bytes` and `kept_bytes` are those of an element.

    A sequence has ceil(queries / block) blocks of equally many queries. The query heads of a group lie below each
    other: they share the keys and values of their head, and fill rows of 8. Scores lie in the lanes. Keys and values
    pass the main memory once for each block, all heads of a token together, each padded to whole lanes; those that were
    kept before come page by page, and each page costs `page_s` too, while those of new tokens lie side by side.

    Sources: ragged paged attention (vllm-project/tpu-inference, kernels/ragged_paged_attention: pages are copied one by
    one into double buffers); jax docs, Pallas TPU details (registers of 8 x 128).
    """
    blocks = np.ceil(a.queries / kernel.block_queries)
    rows = a.queries / blocks
    visits = a.batch * blocks
    group_rows = rows * a.heads / a.kv_heads
    keys = visited_keys(a, rows=rows, granule=1.0)
    scores = Product(m=group_rows, n=keys, k=a.head, batch=a.kv_heads)
    context = Product(m=group_rows, n=a.value, k=keys, batch=a.kv_heads)
    products_s = (systolic_time_s(scores, array) + systolic_time_s(context, array)) / kernel.matrix_fraction
    padded = ROW_GRANULE * np.ceil(group_rows / ROW_GRANULE) * visited_keys(a, rows=rows, granule=kernel.lanes)
    converted = keys * a.kept_width * kernel.convert_ops
    vector_ops = a.kv_heads * (padded * kernel.softmax_ops + converted)
    head, value = (kernel.lanes * np.ceil(width / kernel.lanes) for width in (a.head, a.value))
    padded_width = a.kept_width * (head + value) / (a.head + a.value)
    token_s = a.kv_heads * padded_width * kept_bytes / kernel.bytes_per_s
    pages = visited_pages(a, rows=rows, page_tokens=kernel.page_tokens)
    kept_s = pages * (kernel.page_s + kernel.page_tokens * token_s) * kernel.cache_factor
    new_s = np.maximum(keys - pages * kernel.page_tokens, 0.0) * token_s
    query_s = a.heads * (a.head + a.value) * query_bytes / kernel.bytes_per_s
    return PagedTimes(
        matrix_s=np.asarray(visits * products_s),
        vector_s=np.asarray(visits * vector_ops / kernel.lane_ops_per_s),
        memory_s=np.asarray(visits * (kept_s + new_s)),
        visits_s=np.asarray(visits * (kernel.visit_s + kernel.query_passes * rows * query_s)),
        overlap=kernel.overlap,
    )
