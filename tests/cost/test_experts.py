"""Experts: expected counts against routing that is drawn, and tiles against hand arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chips import CHIP

from roofline.cost.experts import GroupedKernels, memory_time_s, tiles_time_s
from roofline.cost.products import ProductKernels, joined
from roofline.routing import active_experts, even, routed

#: products whose operands arrive, and whose results leave, at once
FREE = ProductKernels(
    launch_s=0.0,
    launch_cycles=0.0,
    latency_s=0.0,
    feed_bytes_per_s=1e21,
    port_bytes_per_clock=1e12,
    epilogue_bytes_per_clock=1e12,
    bulk_stores=1.0,
    sharpness=4.0,
    split_launches=0.0,
    fraction=1.0,
    bandwidth_fraction=1.0,
    mac_w=0.0,
    processor_w=0.0,
    tiles=((64, 64),),
)
PLAIN = GroupedKernels(
    fraction=1.0,
    bandwidth_fraction=0.5,
    products=FREE,
    tail=0.0,
    sharpness=4.0,
    near_fraction=1.0,
    resident_share=0.0,
    heights=(16, 128),
)


def drawn_counts(tokens: int, top_k: int, experts: int, exponent: float, draws: int) -> np.ndarray:
    """Return draws x experts: how many of the tokens take each, by their highest scores with Gumbel noise."""
    rng = np.random.default_rng(7)
    logits = -exponent * np.log(np.arange(1.0, experts + 1.0))
    counts = []
    for _ in range(draws):
        scores = logits + rng.gumbel(size=(tokens, experts))
        highest = np.argpartition(-scores, top_k - 1, axis=1)[:, :top_k]
        counts.append(np.bincount(highest.ravel(), minlength=experts))
    return np.array(counts)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize(
    ("tokens", "top_k", "experts"), [(1, 8, 128), (4, 2, 8), (16, 8, 256), (64, 8, 128), (512, 4, 32)]
)
def test_expected_counts_are_those_of_drawn_routing(tokens: int, top_k: int, experts: int, exponent: float) -> None:
    counts = drawn_counts(tokens, top_k, experts, exponent, draws=max(20, 2000 // tokens))
    load = routed(tokens, top_k, experts, exponent)
    assert load.total_rows == pytest.approx(tokens * top_k, rel=1e-6)
    assert load.active == pytest.approx((counts > 0).sum(axis=1).mean(), rel=0.04)
    for height in (16, 64, 128):
        assert load.tiles(height) == pytest.approx(np.ceil(counts / height).sum(axis=1).mean(), rel=0.08), height


def test_one_token_takes_as_many_experts_as_it_takes_however_unequal_they_are() -> None:
    np.testing.assert_allclose(active_experts(1, 6, 64, np.array([0.0, 1.0, 2.0])), 6.0, rtol=1e-4)


def test_all_experts_are_taken_where_a_token_takes_all() -> None:
    np.testing.assert_allclose(active_experts(np.array([1, 5]), 8, 8, 1.0), 8.0, rtol=1e-6)


def test_columns_are_single_numbers() -> None:
    tokens, exponents = np.array([3.0, 700.0]), np.array([0.3, 1.2])
    both = routed(tokens, 8, 160, exponents)
    for i in range(2):
        one = routed(float(tokens[i]), 8, 160, float(exponents[i]))
        np.testing.assert_array_equal(both.experts[i], one.experts)
        np.testing.assert_array_equal(both.tiles(64)[i], one.tiles(64))


def test_even_rows_have_whole_tiles() -> None:
    assert even(128, 4).tiles(16) == pytest.approx(4 * 2)  # 32 rows each
    assert even(132, 4).tiles(16) == pytest.approx(4 * 3)  # 33 rows each
    assert even(3, 8).tiles(16) == pytest.approx(3)  # no more experts than rows


def test_tiles_fill_waves() -> None:
    # 8 experts of 256 rows by 1,600 columns: 8 x 2 x 25 tiles of 128 x 64 on 100 processors are 4 waves; of 128 x 128
    # 8 x 2 x 13 = 208 are 2.08 waves of twice the work; of 128 x 256 1.12 of four times: no better than 4.16 and 4.48
    time_s = tiles_time_s(even(2048, 8), n=1600, k=1024, row_bytes=0.0, weight_bytes=0.0, chip=CHIP, kernels=PLAIN)
    assert time_s == pytest.approx(4 * 128 * 64 * 1024 / 1e12)


def test_a_few_rows_cost_a_tile_of_the_smallest_instruction() -> None:
    few, one = (
        tiles_time_s(even(rows, 8), n=64, k=1024, row_bytes=0.0, weight_bytes=0.0, chip=CHIP, kernels=PLAIN)
        for rows in (8 * 16, 8)
    )
    assert one == few == pytest.approx(16 * 64 * 1024 / 1e12)  # one wave


def test_a_short_sum_takes_a_whole_step() -> None:
    short, step = (
        tiles_time_s(even(128, 8), n=64, k=k, row_bytes=0.0, weight_bytes=0.0, chip=CHIP, kernels=PLAIN)
        for k in (8, 64)
    )
    assert short == step  # 128 bytes of 16-bit numbers are loaded at a time


def test_feeding_a_tile_takes_its_rows_and_columns() -> None:
    slow = replace(FREE, feed_bytes_per_s=10e9, port_bytes_per_clock=20.0)
    fed = replace(PLAIN, products=slow, sharpness=64.0, heights=(128,))
    load, sizes = even(128, 1), {"n": 64, "k": 1024, "row_bytes": 2.0, "weight_bytes": 1.0}
    time_s = tiles_time_s(load, **sizes, chip=CHIP, kernels=fed)
    assert time_s == pytest.approx(1024 * (128 * 2 + 64) / 10e9)  # slower than 128 x 64 x 1024 / 1e12
    clusters = replace(CHIP, multicast=1.0)
    assert tiles_time_s(load, **sizes, chip=clusters, kernels=fed) == pytest.approx(time_s / 2)


def test_results_leave_after_a_tile() -> None:
    slow = replace(PLAIN, products=replace(FREE, epilogue_bytes_per_clock=4.0), heights=(128,))
    time_s = tiles_time_s(even(128, 1), n=64, k=1024, row_bytes=2.0, weight_bytes=1.0, chip=CHIP, kernels=slow)
    assert time_s == pytest.approx(128 * 64 * 1024 / 1e12 + 128 * 64 * 2 / 4e9)


def test_weights_that_stay_in_the_cache_are_read_from_it() -> None:
    cold = memory_time_s(weight_bytes=10e6, other_bytes=1e6, chip=CHIP, kernels=PLAIN)
    assert cold == pytest.approx(11e6 / 0.5e12)
    warm = replace(PLAIN, resident_share=0.4)  # 20 MB
    sizes = np.array([10e6, 30e6, 50e6])
    expected = sizes * np.array([1 / 4e12, 0.5 / 4e12 + 0.5 / 0.5e12, 1 / 0.5e12])  # all, half, nothing is kept
    np.testing.assert_allclose(memory_time_s(weight_bytes=sizes, other_bytes=0.0, chip=CHIP, kernels=warm), expected)


def test_what_runs_side_by_side_takes_the_longest_or_more() -> None:
    assert joined(3.0, 4.0, 2.0) == pytest.approx(5.0)
    assert joined(0.0, 0.0, 3.0) == 0.0
    assert joined(1.0, 2.0, 60.0) == pytest.approx(2.0)
