"""Shapes and multiply-adds of contractions against brute-force loops on tiny shapes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import attention_macs, conv_macs, matmul_macs, window_starts

from roofline.graph.builder import GraphBuilder
from roofline.graph.ops import MatMul

tiny = st.integers(1, 5)


@settings(max_examples=60)
@given(
    image=st.tuples(st.integers(3, 6), st.integers(3, 6)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.none() | st.tuples(st.integers(0, 1), st.integers(0, 1)),
    groups=st.integers(1, 3),
    per_group=st.integers(1, 3),
    filters_per_group=st.integers(1, 2),
    batch=st.integers(1, 2),
)
def test_convolution_by_loops(
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int] | None,
    groups: int,
    per_group: int,
    filters_per_group: int,
    batch: int,
) -> None:
    channels, filters = groups * per_group, groups * filters_per_group
    b = GraphBuilder()
    y = b.conv(
        b.input("x", (batch, *image, channels)), filters, kernel=kernel, stride=stride,
        padding="same" if padding is None else padding, groups=groups,
    )  # fmt: skip
    pads = padding if padding is not None else (None, None)
    starts = [window_starts(*each) for each in zip(image, kernel, stride, pads, strict=True)]
    assert y.shape == (batch, len(starts[0]), len(starts[1]), filters)
    expected = conv_macs(image, channels, kernel=kernel, stride=stride, padding=padding, groups=groups, filters=filters)
    assert b.graph([y]).macs == batch * expected


@settings(max_examples=30)
@given(size=st.integers(3, 6), channels=st.integers(1, 5), kernel=st.integers(1, 3), stride=st.integers(1, 3))
def test_depthwise_convolution_by_loops(size: int, channels: int, kernel: int, stride: int) -> None:
    b = GraphBuilder()
    graph = b.graph([b.depthwise(b.input("x", (1, size, size, channels)), kernel=kernel, stride=stride)])
    expected = conv_macs(
        (size, size), channels, kernel=(kernel,) * 2, stride=(stride,) * 2, padding=None,
        groups=channels, filters=channels,
    )  # fmt: skip
    assert graph.macs == expected
    assert graph.params == kernel * kernel * channels  # one filter plane per channel


@pytest.mark.parametrize("rank", [1, 3])
def test_convolutions_of_other_ranks_by_loops(rank: int) -> None:
    b = GraphBuilder()
    image = (5, 4, 3)[:rank]
    graph = b.graph([b.conv(b.input("x", (2, *image, 3)), 4, kernel=3, stride=2, padding=(1,) * rank)])
    assert graph.macs == 2 * conv_macs(
        image, 3, kernel=(3,) * rank, stride=(2,) * rank, padding=(1,) * rank, groups=1, filters=4
    )


@settings(max_examples=30)
@given(batch=tiny, rows=tiny, inner=tiny, columns=tiny)
def test_matrix_products_by_loops(batch: int, rows: int, inner: int, columns: int) -> None:
    b = GraphBuilder()
    shared = b.linear(b.input("x", (batch, rows, inner)), columns, bias=False, name="shared")
    apart = b.add_op("apart", MatMul, b.input("a", (batch, rows, inner)), b.input("b", (batch, inner, columns)))
    assert b.graph([shared, apart]).macs == 2 * batch * matmul_macs(rows, inner, columns)


@settings(max_examples=40)
@given(
    batch=st.integers(1, 3),
    queries=tiny,
    keys=tiny,
    kv_heads=st.integers(1, 3),
    shared_by=st.integers(1, 3),
    head=st.integers(1, 4),
    value=st.integers(1, 4),
)
def test_attention_by_loops(
    batch: int, queries: int, keys: int, kv_heads: int, shared_by: int, head: int, value: int
) -> None:
    """With grouped queries (`shared_by` query heads per key head) every query head still does its own products."""
    heads = kv_heads * shared_by
    b = GraphBuilder()
    context = b.attention(
        b.input("q", (batch, queries, heads * head)),
        b.input("k", (batch, keys, kv_heads * head)),
        b.input("v", (batch, keys, kv_heads * value)),
        heads=heads,
        kv_heads=kv_heads,
    )
    assert context.shape == (batch, queries, heads * value)
    assert b.graph([context]).macs == attention_macs(batch, queries, keys, heads, head, value)


def test_a_loop_body_counts_as_often_as_it_runs() -> None:
    b = GraphBuilder()
    y = b.add_op("step", MatMul, b.input("x", (1, 4)), b.parameter("w", 4, 5), times=7)
    graph = b.graph([y])
    assert graph.macs == 7 * matmul_macs(1, 4, 5)
    assert graph.params == 20  # the weights are there once
