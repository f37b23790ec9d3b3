"""Products of libraries against hand arithmetic, candidates tried one by one, and what no product may do."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from chips import CHIP

from roofline.cost.chip import Chip
from roofline.cost.matrix import Product
from roofline.cost.products import GROUP_TILES, SPLITS, WARP_TILES, ProductKernels, product_times
from roofline.numeric import Array

REAL = ProductKernels(
    launch_s=1e-6,
    launch_cycles=2000.0,
    latency_s=0.5e-6,
    feed_bytes_per_s=40e9,
    port_bytes_per_clock=64.0,
    epilogue_bytes_per_clock=10.0,
    bulk_stores=1.5,
    sharpness=4.0,
    split_launches=1.2,
    fraction=1.0,
    bandwidth_fraction=0.8,
    mac_w=0.0006,
    processor_w=0.4,
    tiles=WARP_TILES,
)
#: nothing but multiplication, in tiles of 128 x 128: a cut of K costs a second
BARE = replace(
    REAL,
    launch_s=1e-15,
    launch_cycles=0.0,
    latency_s=0.0,
    feed_bytes_per_s=1e18,
    epilogue_bytes_per_clock=1e18,
    split_launches=1e15,
    bandwidth_fraction=1.0,
    processor_w=0.0,
    mac_w=0.0,
    tiles=((128, 128),),
)


def time_s(m: float, n: float, k: float, kernels: ProductKernels = REAL, chip: Chip = CHIP, far: float = 0.0) -> float:
    found = product_times(
        Product(m=m, n=n, k=k), row_bytes=2.0, weight_bytes=2.0, far_bytes=far, chip=chip, kernels=kernels
    )
    return float(found.time_s[0])


def test_full_waves_run_at_the_peak() -> None:
    # 10 x 10 tiles on 100 processors: one wave of 128 x 128 x 640 multiply-accumulates each
    assert time_s(1280, 1280, 640, BARE) == pytest.approx(128 * 128 * 640 / 1e12)


def test_one_tile_more_is_a_wave_more() -> None:
    assert time_s(1281, 1280, 640, BARE) == pytest.approx(2 * 128 * 128 * 640 / 1e12)


def test_a_cut_sum_pays_for_the_kernel_that_adds_up() -> None:
    kernels = replace(BARE, split_launches=2.0, launch_s=3e-6)
    # one tile: 32 parts of 20 steps of 64, then two launches beside the first
    assert time_s(128, 128, 32 * 20 * 64, kernels) == pytest.approx(128 * 128 * 20 * 64 / 1e12 + 9e-6)


def test_operands_that_arrive_slowly_decide() -> None:
    # a tile of 128 x 128 fetches 256 numbers of 2 bytes for each element of K
    assert time_s(128, 128, 64, replace(BARE, feed_bytes_per_s=1e9)) == pytest.approx(64 * 256 * 2 / 1e9, rel=1e-6)


def test_two_processors_of_one_tile_fetch_its_longer_side_once() -> None:
    kernels, chip = replace(BARE, feed_bytes_per_s=1e9, tiles=((64, 128),)), replace(CHIP, operand_sharing=2.0)
    assert time_s(64, 128, 64, kernels, chip) == pytest.approx(64 * (64 + 128 / 2) * 2 / 1e9, rel=1e-6)


def test_a_product_without_a_sum_to_speak_of_leaves_at_the_rate_of_the_epilogue() -> None:
    kernels = replace(BARE, epilogue_bytes_per_clock=10.0)
    multiplied = 128 * 128 * 64 / 1e12
    assert time_s(128, 128, 64, kernels) == pytest.approx(multiplied + 128 * 128 * 2 / (10.0 * 1e9))


def test_weights_of_the_main_memory_stream_beside_it_all() -> None:
    assert time_s(1, 128, 64, BARE, far=1e8) == pytest.approx(1e8 / 1e12, rel=1e-4)


def brute_force(m: int, n: int, k: int, far: float, kernels: ProductKernels, chip: Chip) -> float:
    """Return the best of all candidates, one by one."""
    best = float("inf")
    launch = kernels.launch_s + kernels.launch_cycles / chip.clock_hz
    for high, wide in kernels.tiles:
        for split in SPLITS:
            if split > 1 and k < 64 * split:
                continue
            steps = ceil(k / (64 * split))
            blocks = ceil(m / high) * ceil(n / wide) * split
            waves = ceil(blocks / chip.processors)
            multiply = high * wide * 64 / 1e12
            fetch = (high + wide) * 2 * 64 / kernels.feed_bytes_per_s
            tile = steps * (multiply**4 + fetch**4) ** 0.25 + high * wide * 2 / (10.0 * chip.clock_hz)
            tiles = waves * (tile + kernels.latency_s)
            memory = far / (chip.far_bytes_per_s * 0.8)
            best = min(best, (tiles**4 + memory**4) ** 0.25 + (split > 1) * 1.2 * launch)
    return best + launch


@pytest.mark.parametrize("far", [0.0, 3e6])
def test_the_best_of_all_candidates_is_taken(far: float) -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        m, n, k = (int(x) for x in np.exp(rng.uniform(0, [8, 8, 9])))
        assert time_s(m, n, k, far=far) == pytest.approx(brute_force(m, n, k, far, REAL, CHIP)), (m, n, k)


def test_rows_of_a_column_are_what_each_is_alone() -> None:
    rng = np.random.default_rng(6)
    m, n, k = np.exp(rng.uniform(0, 9, (3, 700))).round()
    found = product_times(
        Product(m=m, n=n, k=k), row_bytes=2.0, weight_bytes=1.0, far_bytes=n * k, chip=CHIP, kernels=REAL
    )
    for i in range(0, 700, 97):
        one = product_times(
            Product(m=m[i], n=n[i], k=k[i]),
            row_bytes=2.0,
            weight_bytes=1.0,
            far_bytes=n[i] * k[i],
            chip=CHIP,
            kernels=REAL,
        )
        assert one.time_s[0] == found.time_s[i]


def test_batches_of_products_share_waves() -> None:
    apart = time_s(128, 128, 640, BARE)
    found = product_times(
        Product(m=128, n=128, k=640, batch=100), row_bytes=2.0, weight_bytes=2.0, far_bytes=0.0, chip=CHIP, kernels=BARE
    )
    assert found.time_s[0] == pytest.approx(apart)


def grid() -> Array:
    sizes = np.array([1.0, 16, 64, 100, 256, 1000, 4096, 20000])
    return np.stack([x.ravel() for x in np.meshgrid(sizes, sizes, sizes)])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("tiles", [WARP_TILES, GROUP_TILES])
def test_more_of_a_dimension_is_never_faster(axis: int, tiles: tuple[tuple[int, int], ...]) -> None:
    shape = grid()
    larger = shape.copy()
    larger[axis] *= 2.0
    kernels, chip = replace(REAL, tiles=tiles), replace(CHIP, multicast=1.0)
    of = [
        product_times(
            Product(m=m, n=n, k=k), row_bytes=2.0, weight_bytes=2.0, far_bytes=n * k * 2, chip=chip, kernels=kernels
        ).time_s
        for m, n, k in (shape, larger)
    ]
    assert (of[1] >= of[0] * (1 - 1e-9)).all()


def test_the_power_limit_slows_busy_processors_down_and_no_others() -> None:
    chip = replace(CHIP, budget_w=100.0)  # 1 W for each processor, which draws 0.0006 x 1000 + 0.4 = 1 W at 1 GHz
    kernels = replace(BARE, mac_w=0.0006, processor_w=0.4)
    alone_s, half_s = 128 * 128 * 640 / 1e12, 128 * 128 * 640 / 1e12
    # all processors busy: 0.2 of the limit beside a full load
    assert time_s(1280, 1280, 640, kernels, chip) == pytest.approx(alone_s * 1.2 ** (1 / 2.2))
    assert time_s(1280, 640, 640, kernels, chip) == pytest.approx(half_s)  # half of them: 0.2 + 0.5
    narrow = product_times(
        Product(m=1280, n=1280, k=640), row_bytes=1.0, weight_bytes=1.0, far_bytes=0.0, chip=chip, kernels=kernels
    )
    assert narrow.time_s[0] == pytest.approx(alone_s)  # 0.2 + 0.3 + 0.4
