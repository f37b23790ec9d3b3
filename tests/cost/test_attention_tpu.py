"""Attention over a paged cache on TPUs: hand arithmetic, blocks walked one by one, and what must never fall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from roofline.cost.attention_tpu import PagedAttention, PagedKernel, paged_attention, visited_keys, visited_pages
from roofline.cost.matrix import SystolicArray
from roofline.numeric import Numeric

#: one array of 128 x 128 at a row a nanosecond; a lane operation takes a picosecond, a byte too
ARRAY = SystolicArray(rows=128, columns=128, units=1, row_time_s=1e-9, weight_load_rows=0, fill_rows=0, tap_folding=1.0)
KERNEL = PagedKernel(
    block_queries=64,
    page_tokens=16,
    visit_s=2e-6,
    page_s=1e-7,
    query_passes=3.0,
    softmax_ops=30.0,
    lane_ops_per_s=1e12,
    convert_ops=0.0,
    lanes=128,
    bytes_per_s=1e12,
    cache_factor=1.0,
    matrix_fraction=1.0,
    overlap=0.5,
)


def case(
    batch: Numeric, queries: Numeric, keys: Numeric, *, causal: float = 1.0, window: float = np.inf
) -> PagedAttention:
    """Eight heads of 128 in two groups."""
    return PagedAttention(
        batch=batch,
        queries=queries,
        keys=keys,
        heads=8.0,
        kv_heads=2.0,
        head=128.0,
        value=128.0,
        kept_width=256.0,
        causal=causal,
        window=window,
    )


def time_s(a: PagedAttention, kernel: PagedKernel = KERNEL) -> float:
    return float(paged_attention(a, kernel, ARRAY, query_bytes=2.0, kept_bytes=2.0).time_s)


def test_a_decoding_step_by_hand() -> None:
    """Three sequences that look back at 320 tokens and at their own new one."""
    found = paged_attention(case(3, 1, 321), KERNEL, ARRAY, query_bytes=2.0, kept_bytes=2.0)
    # four queries a group fill 8 rows; 321 keys are 3 tiles of 128: of columns, and of passes
    assert found.matrix_s == pytest.approx(3 * 2 * (3 + 3) * 8 * 1e-9)
    # 8 rows x 2 groups x 384 lanes of scores
    assert found.vector_s == pytest.approx(3 * 8 * 2 * 384 * 30 * 1e-12)
    token_bytes = 2 * (128 + 128) * 2
    # 20 pages of 16 tokens, and one token beside them
    assert found.memory_s == pytest.approx(3 * (20 * (1e-7 + 16 * token_bytes * 1e-12) + token_bytes * 1e-12))
    # one query: 8 heads of 128 in, 8 heads of 128 out, three times
    assert found.visits_s == pytest.approx(3 * (2e-6 + 3 * 8 * 256 * 2 * 1e-12))
    computed_s = found.matrix_s + found.vector_s
    shorter_s = min(float(computed_s), float(found.memory_s))
    assert found.time_s == pytest.approx(computed_s + found.memory_s - 0.5 * shorter_s + found.visits_s)


@pytest.mark.parametrize("window", [np.inf, 200.0])
@pytest.mark.parametrize("context", [0, 96, 1000])
@pytest.mark.parametrize("queries", [1, 64, 128, 640])
def test_mean_keys_are_those_of_blocks_walked_one_by_one(queries: int, context: int, window: float) -> None:
    """Each query of a block sees itself and what lies before it, at most the window; a block walks their union."""
    a = case(1, queries, context + queries, window=window)
    rows = min(queries, 64)
    walked, kept = [], []
    for start in range(0, queries, rows):
        seen = {
            key
            for q in range(start, start + rows)
            for key in range(context + queries)
            if 0 <= context + q - key < window
        }
        walked.append(len(seen))
        kept.append(len([key for key in seen if key < context]))
    assert float(visited_keys(a, rows=rows, granule=1.0)) == np.mean(walked)
    assert float(visited_pages(a, rows=rows, page_tokens=1.0)) == pytest.approx(np.mean(kept))
    # whole pages are those of each block where the cache is walked to its end, and near them under a window
    whole = float(visited_pages(a, rows=rows, page_tokens=16.0))
    assert whole == pytest.approx(np.mean(np.ceil(np.array(kept) / 16)), abs=0.0 if np.isinf(window) else 0.6)


def test_all_keys_are_walked_where_nothing_is_causal() -> None:
    assert float(visited_keys(case(1, 640, 640, causal=0.0), rows=64.0, granule=128.0)) == 640.0


def test_time_never_falls_with_size() -> None:
    """In batch, context, window and new tokens that fill whole blocks."""
    by_batch = [time_s(case(b, 1, 1000)) for b in (1, 2, 3, 64)]
    by_context = [time_s(case(4, 1, 1 + c)) for c in range(0, 2000, 7)]
    by_window = [time_s(case(4, 1, 2000, window=w)) for w in (1, 16, 128, 500, 4000)]
    by_prompt = [time_s(case(1, 64 * n, 64 * n)) for n in range(1, 40)]
    for found in (by_batch, by_context, by_window, by_prompt):
        assert found == sorted(found)
        assert found[-1] > found[0]


def test_columns_equal_numbers() -> None:
    sizes = [(1, 1, 33), (7, 1, 500), (1, 96, 1000), (2, 2048, 2048)]
    batch, queries, keys = (np.array(column, dtype=np.float64) for column in zip(*sizes, strict=True))
    columns = paged_attention(case(batch, queries, keys), KERNEL, ARRAY, query_bytes=2.0, kept_bytes=2.0).time_s
    assert columns.tolist() == [time_s(case(*size)) for size in sizes]


def test_caches_in_other_formats_move_fewer_bytes_and_are_converted() -> None:
    eight = paged_attention(case(8, 1, 1601), replace(KERNEL, convert_ops=2.0), ARRAY, query_bytes=2.0, kept_bytes=1.0)
    sixteen = paged_attention(case(8, 1, 1601), KERNEL, ARRAY, query_bytes=2.0, kept_bytes=2.0)
    # 100 pages and a token: half the bytes, the same starts
    assert sixteen.memory_s - eight.memory_s == pytest.approx(8 * 1601 * 512 * 1e-12)
    assert eight.vector_s - sixteen.vector_s == pytest.approx(8 * 2 * 1601 * 256 * 2 * 1e-12)


def test_narrow_heads_are_padded_to_the_lanes() -> None:
    """Heads of 64 take the bytes of 128."""
    narrow = replace(case(1, 1, 1001), head=64.0, value=64.0, kept_width=128.0)
    found = [
        float(paged_attention(a, KERNEL, ARRAY, query_bytes=2.0, kept_bytes=2.0).memory_s)
        for a in (narrow, case(1, 1, 1001))
    ]
    assert found[0] == found[1]


def test_values_that_are_a_part_of_keys_are_read_once() -> None:
    """Latent attention keeps 576 elements of a token, of which the first 512 are its value."""
    apart = replace(case(1, 1, 1601), heads=16.0, kv_heads=1.0, head=576.0, value=512.0, kept_width=1088.0)
    part = replace(apart, kept_width=576.0)
    found = [float(paged_attention(a, KERNEL, ARRAY, query_bytes=2.0, kept_bytes=2.0).memory_s) for a in (apart, part)]
    # 640 + 512 lanes of a token, or the same share of them as of elements; 100 pages start in both
    assert found[0] - 1e-5 == pytest.approx(1601 * 1152 * 2e-12)
    assert found[1] - 1e-5 == pytest.approx(1601 * 1152 * 576 / 1088 * 2e-12)
