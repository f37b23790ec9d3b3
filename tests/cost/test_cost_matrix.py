"""Matrix time against brute force: systolic tiles one by one, thread blocks scheduled one by one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import systolic_steps, waves

from roofline.cost.matrix import (
    K_STEP,
    PARTIAL_SUM_BYTES,
    SPLITS,
    TILES,
    Processors,
    Product,
    SystolicArray,
    grouped_systolic_time_s,
    patches_along,
    share_tiles,
    stationary_images_time_s,
    systolic_passes,
    systolic_time_s,
    tensorcore_time_s,
    winograd_time_s,
)

FILL_AND_DRAIN = 128 + 128
MXU = {"rows": 128.0, "columns": 128.0, "units": 1.0, "row_time_s": 1.0, "weight_load_rows": 64.0, "tap_folding": 1.0}
MXU |= {"fill_rows": FILL_AND_DRAIN}


def systolic(**changes: Any) -> float:
    product, array = values({**MXU, **changes})
    return float(systolic_time_s(product, SystolicArray(**array)))


def values(given: dict[str, Any]) -> tuple[Product, dict[str, Any]]:
    """Return a product of the sizes that are given, 128 where not, and what is left."""
    sizes = {"m": 128, "n": 128, "k": 128, "taps": 1, "batch": 1}
    product = Product(**{name: given.get(name, size) for name, size in sizes.items()})
    return product, {name: value for name, value in given.items() if name not in sizes}


sizes = st.integers(1, 700)


def test_images_that_stay_in_the_array_by_hand() -> None:
    """112 x 112 positions of 3 channels and 9 taps: whatever the number of images, a load of 64 rows for each.

    Programs compiled for TPU v2 (libtpu 0.0.42.1) take 66, 66 and 67 cycles a position at 8, 16 and 64 images.
    """
    product, said = values({**MXU, "n": 32, "k": 3, "taps": 9})
    array = SystolicArray(**said)
    for images in (8.0, 16.0, 64.0, 128.0):
        steps = float(stationary_images_time_s(product, array, positions=112.0**2, images=images))
        assert steps == 112**2 * 64 + FILL_AND_DRAIN
    assert float(stationary_images_time_s(product, array, positions=4.0, images=129.0)) == 2 * 4 * 64 + FILL_AND_DRAIN
    many, _ = values({"n": 100, "k": 129})
    assert float(stationary_images_time_s(many, array, positions=4.0, images=8.0)) == 4 * 2 * 104 + FILL_AND_DRAIN


# systolic ------------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(m=sizes, n=sizes, k=sizes, array=st.sampled_from([(128, 128), (256, 256), (128, 64)]))
def test_one_array_tile_by_tile(m: int, n: int, k: int, array: tuple[int, int]) -> None:
    rows, columns = array
    expected = systolic_steps(m, n, k, rows=rows, columns=columns, granule=8, least=64)
    assert systolic(m=m, n=n, k=k, rows=rows, columns=columns, fill_rows=rows + columns) == expected + rows + columns


@settings(max_examples=40)
@given(m=sizes, n=sizes, k=sizes, units=st.integers(1, 8))
def test_several_arrays_share_whole_tiles_or_the_rows_of_each(m: int, n: int, k: int, units: int) -> None:
    tiles = list(itertools.product(range(0, k, 128), range(0, n, 128)))
    rounds = 0
    while tiles:  # whole tiles: every array takes one
        del tiles[:units]
        rounds += 1
    all_rows = max(8 * len(range(0, m, 8)), 64)
    by_tile = rounds * all_rows
    share = len(range(0, m, 8 * units)) * 8  # each array streams its share of the granules through every tile
    by_row = len(range(0, k, 128)) * len(range(0, n, 128)) * max(share, 64)
    assert systolic(m=m, n=n, k=k, units=units) == min(by_tile, by_row) + FILL_AND_DRAIN


@pytest.mark.parametrize("units", [1, 2, 4])
def test_an_aligned_product_reaches_the_peak_up_to_fill(units: int) -> None:
    m, n, k = 4096, 1024, 1024
    ideal = m * n * k / (128 * 128 * units)  # every array multiplies 128 x 128 pairs a step
    assert systolic(m=m, n=n, k=k, units=units) == ideal + FILL_AND_DRAIN


def test_a_column_more_than_the_array_costs_another_tile() -> None:
    full = systolic(m=4096, n=128, k=128) - FILL_AND_DRAIN
    assert systolic(m=4096, n=129, k=128) - FILL_AND_DRAIN == 2 * full
    assert systolic(m=4096, n=128, k=129) - FILL_AND_DRAIN == 2 * full
    assert systolic(m=4096, n=1, k=1) - FILL_AND_DRAIN == full, "a small product wastes the array"


def test_few_rows_cost_the_load_of_the_weights() -> None:
    for m in (1, 8, 63, 64):
        assert systolic(m=m) == 64 + FILL_AND_DRAIN
    assert systolic(m=65) == 72 + FILL_AND_DRAIN  # nine granules of eight rows


@pytest.mark.parametrize(
    ("k", "taps", "folded", "apart"),
    [
        (3, 9, 1, 9),  # an RGB stem: 27 of 128 rows, or nine loads of three rows each
        (64, 9, 5, 9),  # 576 rows are 4.5 loads
        (128, 9, 9, 9),
        (300, 9, 22, 27),  # 2,700 rows are 21.1 loads; three for each tap
        (1, 1, 1, 1),
    ],
)
def test_taps_fold_into_the_contraction(k: int, taps: int, folded: int, apart: int) -> None:
    product = Product(m=1, n=1, k=k, taps=taps)
    for tap_folding, expected in ((1.0, folded), (0.0, apart), (0.5, (folded + apart) / 2)):
        assert systolic_passes(product, SystolicArray(**MXU | {"tap_folding": tap_folding})) == expected


def test_grouped_convolutions_take_the_better_of_two_ways() -> None:
    array = SystolicArray(**MXU)
    # 32 groups of 4 x 4 channels: apart 32 tiles, as one masked 128 x 128 product a single tile
    one = float(grouped_systolic_time_s(Product(m=4096, n=4, k=4, batch=32), array))
    assert one == 4096 + FILL_AND_DRAIN
    # 4 groups of 128 x 128: apart 4 tiles, as one product 16
    four = float(grouped_systolic_time_s(Product(m=4096, n=128, k=128, batch=4), array))
    assert four == 4 * 4096 + FILL_AND_DRAIN
    # 6 groups of 40 x 40: apart 6 tiles, as one product of 240 x 240 only 4
    six = float(grouped_systolic_time_s(Product(m=4096, n=40, k=40, batch=6), array))
    assert six == 4 * 4096 + FILL_AND_DRAIN


@settings(max_examples=80)
@given(
    m=sizes, n=sizes, k=sizes, taps=st.integers(1, 25), batch=st.integers(1, 40), units=st.integers(1, 8),
    argument=st.sampled_from(["m", "n", "k", "taps", "batch"]), more=st.integers(1, 300),
)  # fmt: skip
def test_larger_products_never_take_less(argument: str, more: int, **given_sizes: int) -> None:
    larger = given_sizes | {argument: given_sizes[argument] + more}
    assert systolic(**larger) >= systolic(**given_sizes)
    assert tensorcore(**larger) >= tensorcore(**given_sizes) * (1 - 1e-12)


@settings(max_examples=40)
@given(m=sizes, n=sizes, k=sizes, batch=st.integers(1, 9), units=st.integers(1, 64))
def test_more_units_never_take_longer(m: int, n: int, k: int, batch: int, units: int) -> None:
    given_sizes = {"m": m, "n": n, "k": k, "batch": batch}
    assert systolic(**given_sizes, units=units + 1) <= systolic(**given_sizes, units=units)
    assert tensorcore(**given_sizes, units=units + 1) <= tensorcore(**given_sizes, units=units)


def test_time_scales_with_the_clock() -> None:
    assert systolic(row_time_s=0.5) == systolic() / 2
    assert tensorcore(unit_macs_per_s=2.0) == tensorcore() / 2


# tensor cores --------------------------------------------------------------------------------------------------------

CORES: dict[str, Any] = {
    "units": 8.0, "unit_macs_per_s": 1.0, "alignment": 8.0, "k_loop": 96.0, "tile_reuse": 12.0,
    "operand_macs": 2.0, "partial_sum_bytes_per_s": np.inf,
}  # fmt: skip


def tensorcore(*, divisible: float = 1.0, **changes: Any) -> float:
    product, processors = values({**CORES, **changes})
    (time_s,) = tensorcore_time_s(product, Processors(**processors), divisible=divisible)
    return float(time_s)


def scheduled(
    *, m: int, n: int, k: int, taps: int, batch: int, units: int, alignment: int, bytes_per_s: float = np.inf
) -> float:
    """Every tile shape and split, with its thread blocks scheduled one by one."""
    channels = len(range(0, k, alignment)) * alignment  # padded
    filters = len(range(0, n, alignment)) * alignment
    times = []
    for (height, width), split in itertools.product(TILES, SPLITS):
        rounds = waves(m, filters, height=height, width=width, batch=batch, split=split, units=units)
        deep = -(-channels * taps // split)
        loads = len(range(0, deep, K_STEP))
        operands = 12 * 2 * (height + width)  # per element of K, beside height x width multiply-adds
        per_tile = (loads * K_STEP + 96) * (height * width + operands)
        times.append(rounds * per_tile + (split - 1) * batch * m * n * PARTIAL_SUM_BYTES / bytes_per_s)
    return min(times)


@settings(max_examples=25, derandomize=True)
@given(
    m=sizes, n=st.integers(1, 400), k=sizes, taps=st.sampled_from([1, 9]), batch=st.integers(1, 3),
    units=st.integers(1, 40), alignment=st.sampled_from([1, 8, 64]), bytes_per_s=st.sampled_from([1.0, 100.0, np.inf]),
)  # fmt: skip
def test_thread_blocks_scheduled_one_by_one(
    m: int, n: int, k: int, taps: int, batch: int, units: int, alignment: int, bytes_per_s: float
) -> None:
    found = tensorcore(
        m=m, n=n, k=k, taps=taps, batch=batch, units=units, alignment=alignment, partial_sum_bytes_per_s=bytes_per_s
    )
    expected = scheduled(
        m=m, n=n, k=k, taps=taps, batch=batch, units=units, alignment=alignment, bytes_per_s=bytes_per_s
    )
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_started_wave_costs_a_whole_one() -> None:
    """Deep enough that nobody splits K, wide tiles best: one row over two waves costs a third."""
    shape: dict[str, Any] = {"n": 128, "k": 512, "k_loop": 0, "tile_reuse": 1e6, "partial_sum_bytes_per_s": 1e-12}
    two = tensorcore(m=256 * 16, **shape)  # sixteen tiles of 256 x 128 on eight units: two waves
    assert tensorcore(m=256 * 16 + 1, **shape) == 1.5 * two
    assert tensorcore(m=256 * 24, **shape) == 1.5 * two


def test_an_ideal_machine_reaches_the_peak() -> None:
    shape: dict[str, Any] = {"m": 2048, "n": 1024, "k": 512, "k_loop": 0.0, "tile_reuse": 0.0}
    assert tensorcore(**shape) == 2048 * 1024 * 512 / 8  # one multiply-add per unit and second


def test_a_small_output_is_split_over_idle_units() -> None:
    small: dict[str, Any] = {"m": 64, "n": 64, "k": 1 << 16, "units": 16.0, "k_loop": 0.0, "tile_reuse": 0.0}
    assert tensorcore(**small) == 64 * 64 * (1 << 16) / 16  # 4 tiles of 32 x 32 and K in 4, or one tile and K in 16
    assert tensorcore(**small, partial_sum_bytes_per_s=1e-9) == 64 * 64 * (1 << 16) / 4, "dear partial sums: no split"


def test_what_cannot_be_split_leaves_units_idle() -> None:
    small: dict[str, Any] = {"m": 64, "n": 64, "k": 1 << 16, "units": 16.0, "k_loop": 0.0, "tile_reuse": 0.0}
    assert tensorcore(**small, divisible=0.0) == 64 * 64 * (1 << 16) / 4  # 4 tiles of 32 x 32 on 16 units


def test_the_choices_are_those_that_libraries_offer() -> None:
    """Sides of tiles and splits are powers of two; a large tile comes both ways round; sums are fp32, out and in."""
    assert all(side in (32, 64, 128, 256) for tile in TILES for side in tile)
    assert {(width, height) for height, width in TILES if height * width > 128 * 64} <= set(TILES)
    assert max(height * width for height, width in TILES) == 256 * 128, "what the registers of a processor hold"
    assert all(split.bit_count() == 1 for split in SPLITS) and max(SPLITS) == 16
    assert len(set(TILES)) == len(TILES) and len(set(SPLITS)) == len(SPLITS)
    assert np.float32().nbytes * 2 == PARTIAL_SUM_BYTES
    assert K_STEP == 2 * 16


def test_channels_are_padded_to_the_alignment() -> None:
    assert tensorcore(n=121, k=505) == tensorcore(n=128, k=512)
    assert tensorcore(n=128, k=64 * 3, alignment=64) == tensorcore(n=128, k=64 * 2 + 1, alignment=64)


def test_a_column_of_products_equals_its_rows() -> None:
    rows = [(100, 24, 3, 9, 1), (3136, 64, 64, 1, 2), (1, 1000, 1280, 1, 7)]
    m, n, k, taps, batch = (np.array(c, dtype=np.float64) for c in zip(*rows, strict=True))
    product = Product(m=m, n=n, k=k, taps=taps, batch=batch)
    together = tensorcore_time_s(product, Processors(**CORES))
    array = systolic_time_s(product, SystolicArray(**MXU))
    for i, (m1, n1, k1, t1, b1) in enumerate(rows):
        assert tensorcore(m=m1, n=n1, k=k1, taps=t1, batch=b1) == together[i]
        assert systolic(m=m1, n=n1, k=k1, taps=t1, batch=b1) == array[i]


def test_batches_have_the_one_tile_that_is_offered() -> None:
    free = {"k_loop": 0.0, "tile_reuse": 0.0, "divisible": 0.0}
    one = {"batched_tile": 128.0, **free}
    assert tensorcore(m=1, n=1, k=128, batch=2, **one) == 128 * 128 * 128  # a whole tile each, side by side
    assert tensorcore(m=1, n=1, k=128, batch=9, **one) == 2 * 128 * 128 * 128  # the ninth waits for eight units
    assert tensorcore(m=1, n=1, k=128, **one) == tensorcore(m=1, n=1, k=128, **free) < 128 * 128 * 128


def test_patches_cover_the_outputs_of_three_taps_one_step_apart() -> None:
    for results in range(1, 30):
        assert patches_along(results=results, taps=3, stride=1) == len(range(0, results, 4))
        assert patches_along(results=results, taps=3, stride=2) == 0
        assert patches_along(results=results, taps=5, stride=1) == 0


def test_winograd_by_hand() -> None:
    lanes = {**CORES, "alignment": 1.0, "k_loop": 0.0, "tile_reuse": 0.0, "units": 1.0}
    product = Product(m=128.0 * 16, n=128.0, k=64.0, taps=9.0)

    def winograd(bytes_per_s: float, floor_s: float, **changes: Any) -> float:
        (time_s,) = winograd_time_s(
            product, Processors(**lanes | changes), patches=128.0, element_bytes=4.0, bytes_per_s=bytes_per_s,
            floor_s=floor_s,
        )  # fmt: skip
        return float(time_s)

    products_s = winograd(np.inf, 0.0)
    assert products_s == 36 * 128 * 128 * 64  # 36 products of one tile each, instead of 9 of 16 tiles
    (direct_s,) = tensorcore_time_s(product, Processors(**lanes))
    assert direct_s == 4 * products_s
    moved_s = winograd(1.0, 0.0, unit_macs_per_s=np.inf)
    between = 36 * (128 * 64 + 128 * 128 + 64 * 128) * 4  # transformed patches, products, kernels
    outside = (2048 * 64 + 2048 * 128 + 9 * 64 * 128) * 4  # input, output, kernel
    assert moved_s == 2 * between + outside  # written and read, or read and written
    assert winograd(np.inf, 5.0) == products_s + 3 * 5.0


def tiles_of(n: float, k: float, batch: float, shared: float = 1.0) -> list[float]:
    found = share_tiles(Product(m=1.0, n=float(n), k=float(k), batch=float(batch)), shared=shared)
    return [float(size) for size in (found.n, found.k, found.batch)]


@given(st.integers(1, 64), st.integers(1, 300), st.booleans())
def test_groups_share_tiles_as_long_as_they_fit(width: int, groups: int, shared: bool) -> None:
    n, k, batch = tiles_of(width, width, groups, shared=1.0 * shared)
    together = int(n / width)
    assert n == k == together * width and batch * together == pytest.approx(groups)  # nothing is lost
    if not shared:
        assert together == 1
    else:
        assert 1 <= together <= groups and (together == 1 or together * width <= 32)
        assert together == groups or (together + 1) * width > 32  # one more would not fit


def test_groups_of_unequal_sides_share_by_the_wider() -> None:
    assert tiles_of(4.0, 16.0, 8.0) == [8.0, 32.0, 4.0]
    assert tiles_of(16.0, 4.0, 8.0) == [32.0, 8.0, 4.0]
    assert tiles_of(0.5, 0.5, 64.0) == [16.0, 16.0, 2.0]
    assert tiles_of(4.0, 4.0, 0.5) == [4.0, 4.0, 0.5]
