"""Counts by brute force: nested loops over every multiply-add of tiny shapes, for comparison with closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

Sizes = Sequence[int]


def window_starts(size: int, kernel: int, stride: int, pad: int | None) -> list[int]:
    """Return where windows start; `pad` is per side, None is "same": one window for every stride-th position."""
    if pad is None:
        return list(range(0, size, stride))
    return [start for start in range(-pad, size + pad, stride) if start + kernel <= size + pad]


def conv_macs(
    image: Sizes, channels: int, *, kernel: Sizes, stride: Sizes, padding: Sizes | None, groups: int, filters: int
) -> int:
    """Count the multiply-adds of one image (`image` is its spatial shape); those with padding zeros count too."""
    pads = padding if padding is not None else [None] * len(image)
    starts = [window_starts(*each) for each in zip(image, kernel, stride, pads, strict=True)]
    count = 0
    for _position in product(*starts):
        for filter_index in range(filters):
            group = filter_index // (filters // groups)
            for channel in range(channels):
                if channel // (channels // groups) != group:
                    continue  # a filter sees the channels of its own group only
                for _tap in product(*(range(k) for k in kernel)):
                    count += 1
    return count


def matmul_macs(rows: int, inner: int, columns: int) -> int:
    """Count the multiply-adds of one matrix product."""
    count = 0
    for _row in range(rows):
        for _column in range(columns):
            for _k in range(inner):
                count += 1
    return count


def attention_macs(batch: int, queries: int, keys: int, heads: int, head: int, value: int) -> int:
    """Count the multiply-adds of softmax(q k^T) v; query heads that share a key head multiply with it each."""
    count = 0
    for _image in range(batch):
        for _head in range(heads):
            for _query in range(queries):
                for _key in range(keys):
                    for _d in range(head):
                        count += 1  # a score
                    for _d in range(value):
                        count += 1  # its share of the context
    return count


def systolic_steps(m: int, n: int, k: int, *, rows: int, columns: int, granule: int, least: int) -> int:
    """Count the row steps of one product on one array: tile by tile of weights, M rows in granules through each."""
    steps = 0
    for _k_tile in range(0, k, rows):
        for _n_tile in range(0, n, columns):
            streamed = 0
            for _granule in range(0, m, granule):
                streamed += granule
            steps += max(streamed, least)
    return steps


def waves(m: int, n: int, *, height: int, width: int, batch: int, split: int, units: int) -> int:
    """Schedule output tiles on `units` processors, one each at a time, and count the rounds until all are done."""
    queue = [
        (b, top, left, part)
        for b in range(batch)
        for top in range(0, m, height)
        for left in range(0, n, width)
        for part in range(split)
    ]
    rounds = 0
    while queue:
        for _unit in range(units):
            if queue:
                queue.pop()
        rounds += 1
    return rounds
