"""Memory and vector time, their combination and the folds: by enumeration and by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.cost.combine import attainable_flops_per_s, kernel_time_s
from roofline.cost.fold import latency_s, peak_memory_bytes, segment_max, segment_product, segment_sum
from roofline.cost.memory import (
    Tile,
    border_fetches,
    move_slowdown,
    padding_ratio,
    resident_fraction,
    row_fetches,
    row_major_padding,
    split_by_level,
    sublane_padding,
    transfer_time_s,
)
from roofline.cost.vector import partial_sum_ops, refills, slot_time_s, vector_time_s
from roofline.graph.builder import GraphBuilder
from roofline.hardware.load import device as load_device
from roofline.report.run import simulate
from roofline.software.load import runtime as load_runtime

sizes = st.integers(1, 300)
positive = st.floats(1.0, 1e12, allow_nan=False)


# layout padding ------------------------------------------------------------------------------------------------------


def lying(lanes: float, sublanes: float, *, half: float = 0.5, cut_images: float = 0.0) -> Tile:
    return Tile(lanes=lanes, sublanes=sublanes, half=half, cut_images=cut_images)


def stored_elements(shape: tuple[int, int, int], lanes: int, sublanes: int) -> float:
    """Try every pair of (batch, inner, channels) as (sublanes, lanes) and count what the tiles hold."""
    best = None
    for second, minor in itertools.permutations(range(3), 2):
        if 2 not in (second, minor) or minor == 1:
            continue  # a layout keeps the channels in a minor dimension, and windows slide along no lanes
        halves = sublanes / 2 if second != 1 and shape[second] <= sublanes / 2 else sublanes
        padded: list[float] = list(shape)
        padded[second] = len(range(0, shape[second], math.ceil(halves))) * halves
        padded[minor] = len(range(0, shape[minor], lanes)) * lanes
        count = padded[0] * padded[1] * padded[2]
        best = count if best is None else min(best, count)
    assert best is not None
    return best


@settings(max_examples=80)
@given(batch=sizes, inner=sizes, channels=sizes, tile=st.sampled_from([(128, 8), (128, 16), (1, 1), (256, 8)]))
def test_padding_by_trying_every_layout(batch: int, inner: int, channels: int, tile: tuple[int, int]) -> None:
    found = padding_ratio(batch=batch, inner=inner, width=1, channels=channels, tile=lying(*tile))
    expected = stored_elements((batch, inner, channels), *tile) / (batch * inner * channels)
    assert float(found) == pytest.approx(expected, rel=1e-12)
    assert found >= 1


@pytest.mark.parametrize(
    ("batch", "inner", "width", "channels", "ratio"),
    [
        (8, 7, 1, 128, 1),  # cloud TPU performance guide: batch a multiple of 8, features of 128
        (128, 7, 1, 8, 1),  # or batch 128 and features a multiple of 8
        (1, 112, 1, 32, 128 / 32),  # 112 tokens in the sublanes, 32 channels in the lanes
        (64, 1, 112, 16, 128 / 64),  # 64 images fill half of the lanes, 16 channels two sets of sublanes
        (2, 1, 56, 128, 2),  # two images fill half of a tile of four sublanes
        (1, 1, 56, 128, (7 + 3) / 7),  # one image, cut into eight pieces of seven columns with borders of three
        (1, 1, 1, 1000, 4 * 1024 / 1000),  # a vector fills one sublane of four
        (1, 1, 1, 1, 512),  # a number takes half a tile
    ],
)
def test_padding_by_hand(batch: int, inner: int, width: int, channels: int, ratio: float) -> None:
    tile = lying(128, 8, cut_images=1)
    found = padding_ratio(batch=batch, inner=inner, width=width, channels=channels, tile=tile)
    assert float(found) == pytest.approx(ratio, rel=1e-12)


def test_half_a_register_takes_more_than_half_the_time() -> None:
    four = {"batch": 4.0, "inner": 1.0, "width": 56.0}
    assert float(sublane_padding(**four, tile=lying(128, 8))) == 1
    assert float(sublane_padding(**four, tile=lying(128, 8, half=0.75))) == 1.5  # of the time that 8 images take half
    assert float(sublane_padding(**four | {"batch": 5.0}, tile=lying(128, 8, half=0.75))) == 8 / 5


def test_windows_gain_less_from_images_in_the_lanes() -> None:
    images: dict[str, Any] = {"batch": 128.0, "inner": 1.0, "width": 28.0, "tile": lying(128, 8)}
    assert float(padding_ratio(**images, channels=32.0)) == 1
    assert float(padding_ratio(**images, channels=32.0, in_lanes=1.35)) == 1.35
    assert float(padding_ratio(**images, channels=120.0, in_lanes=1.35)) == 128 / 120, "then channels lie there"


def test_rows_in_the_lanes_by_hand() -> None:
    tile = {"width": 4.0, "height": 7.0, "lanes": 5.0, "sublanes": 7.0}
    assert float(row_major_padding(**tile, limit=1.26)) == 5 / 4
    assert float(row_major_padding(**tile, limit=1.25)) == 0, "the limit itself is too much"
    assert float(row_major_padding(**tile | {"height": 6.0}, limit=1.5)) == pytest.approx(5 / 4 * 7 / 6, rel=1e-12)


# what is fetched again ------------------------------------------------------------------------------------------------


@given(results=st.integers(1, 95), taps=st.integers(1, 9), stride=st.integers(1, 4))
def test_borders_by_listing_what_each_block_reads(results: int, taps: int, stride: int) -> None:
    """Blocks of ten results; where windows leave elements between them out, a block reads what lies between too."""
    elements = (results - 1) * stride + max(taps, stride)
    blocks = [range(first, min(first + 10, results)) for first in range(0, results, 10)]
    read = sum((len(block) - 1) * stride + max(taps, stride) for block in blocks)
    found = border_fetches(elements=elements, results=results, taps=taps, stride=stride)
    assert float(found) == pytest.approx(read / elements, rel=1e-12)


def test_rows_are_fetched_again_beyond_what_waits_beside_the_processor() -> None:
    norms, softmaxes = np.array([0.0, 16384.0, 16385.0, np.inf]), np.array([[0.0], [1024.0], [1025.0]])
    assert row_fetches(norms, softmaxes).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [2, 2, 2, 2]]


# what stays on chip --------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(size=positive, capacity=positive, more=positive)
def test_residency_is_a_share_that_falls_with_size(size: float, capacity: float, more: float) -> None:
    share = float(resident_fraction(size, capacity_bytes=capacity))
    assert 0 <= share <= 1
    assert (share == 1) == (size <= capacity)
    assert resident_fraction(size + more, capacity_bytes=capacity) <= share
    assert resident_fraction(size, capacity_bytes=capacity + more) >= share


@settings(max_examples=80)
@given(
    size=positive,
    reach=st.one_of(positive, st.just(np.inf)),
    capacities=st.lists(st.floats(0, 1e9, allow_nan=False), max_size=3),
)
def test_levels_serve_every_byte_once(size: float, reach: float, capacities: list[float]) -> None:
    served = split_by_level(size, reach, capacities_bytes=capacities)
    assert len(served) == 1 + len(capacities)
    assert all(float(s) >= 0 for s in served)
    assert sum(map(float, served)) == pytest.approx(size, rel=1e-9)
    if reach == np.inf:
        assert float(served[0]) == size, "what nothing can hold comes from far"


def test_levels_by_hand() -> None:
    # a reach of 100: the near level (20) holds a fifth, the far one (50) half, the memory serves the rest
    served = split_by_level(1000.0, 100.0, capacities_bytes=[50.0, 20.0])
    assert list(map(float, served)) == [500.0, 300.0, 200.0]
    # a far level smaller than the near one adds nothing
    assert list(map(float, split_by_level(1000.0, 100.0, capacities_bytes=[10.0, 20.0]))) == [800.0, 0.0, 200.0]
    assert list(map(float, split_by_level(1000.0, 5.0, capacities_bytes=[50.0, 20.0]))) == [0.0, 0.0, 1000.0]
    assert list(map(float, split_by_level(1000.0, 5.0, capacities_bytes=[]))) == [1000.0]


def test_transfer_time_by_hand() -> None:
    # 1 us to start, 900 B at half of 900 B/s, 100 B at half of 400 B/s
    found = transfer_time_s([900.0, 100.0], [900.0, 400.0], fraction=0.5, latency_s=1e-6)
    assert float(found) == pytest.approx(1e-6 + 2.0 + 0.5)
    # a short transfer: 1 us of bytes and 3 us of latency overlap to 1 + 3 x 1 / (1 + 3) us
    short = transfer_time_s([100.0], [1e8], fraction=1.0, latency_s=3e-6)
    assert float(short) == pytest.approx(1.75e-6, rel=1e-12)
    assert float(transfer_time_s([0.0], [1e8], fraction=1.0, latency_s=3e-6)) == 0
    assert float(transfer_time_s([0.0], [1e8], fraction=1.0, latency_s=0.0)) == 0
    with pytest.raises(ValueError, match="zip"):
        transfer_time_s([100.0, 1.0], [1e8], fraction=1.0, latency_s=0.0)


@settings(max_examples=40)
@given(size=positive, reach=positive, capacity=positive, more=positive)
def test_more_bytes_never_take_less_and_more_capacity_never_more(
    size: float, reach: float, capacity: float, more: float
) -> None:
    def time_s(size_bytes: float, capacity_bytes: float) -> float:
        served = split_by_level(size_bytes, reach, capacities_bytes=[capacity_bytes])
        return float(transfer_time_s(served, [1e9, 1e10], fraction=0.8, latency_s=1e-6))

    assert time_s(size + more, capacity) >= time_s(size, capacity)
    assert time_s(size, capacity + more) <= time_s(size, capacity) * (1 + 1e-12)


# vector --------------------------------------------------------------------------------------------------------------

VPU: dict[str, Any] = {
    "simple_ops_per_s": 100.0,
    "transcendental_ops_per_s": 25.0,
    "load_ops_per_s": 50.0,
    "fraction": 0.5,
}


def test_vector_time_by_hand() -> None:
    # 200 simple operations take 2 s, 50 transcendental ones 2 s more; half of the slots are free: 8 s
    assert float(vector_time_s(simple_ops=200, transcendental_ops=50, load_ops=0, **VPU)) == 8
    assert (
        float(vector_time_s(simple_ops=200, transcendental_ops=0, load_ops=100, **VPU)) == 8
    )  # 100 loads take 2 s too
    assert float(vector_time_s(simple_ops=0, transcendental_ops=0, load_ops=0, **VPU)) == 0


SLOTS: dict[str, Any] = {
    "simple_ops_per_s": 100.0,
    "transcendental_ops_per_s": 25.0,
    "loads_per_s": 50.0,
    "stores_per_s": 50.0,
    "transposes_per_s": 10.0,
    "fraction": 0.5,
}


@pytest.mark.parametrize(
    ("fullest", "count", "time_s"),
    [
        ("simple_ops", 300, 6),
        ("transcendental_ops", 100, 8),
        ("loads", 150, 6),
        ("stores", 150, 6),
        ("transposes", 30, 6),
    ],
)
def test_the_fullest_slot_decides(fullest: str, count: float, time_s: float) -> None:
    """Each at most 1 s of its slot but one; half of the bundles do something."""
    work = dict.fromkeys(("simple_ops", "transcendental_ops", "loads", "stores", "transposes"), 10.0)
    assert float(slot_time_s(**work | {fullest: count}, **SLOTS)) == time_s


def test_weights_of_large_windows_are_loaded_again() -> None:
    # 100 results of 9 and of 25 elements, 4 weights stay: 5 and 21 are fetched for each
    assert float(refills(900.0, 100.0, kept_weights=4)) == 500
    assert float(refills(2500.0, 100.0, kept_weights=4)) == 2100
    assert float(refills(300.0, 100.0, kept_weights=4)) == 0


#: cycles of one register of 128 x 8 results, of programs compiled for 64 images of 56 px with 128 channels in bf16
#: (libtpu 0.0.42.1): device -> 3 x 3 window, 5 x 5 window, swish
COMPILED = {"tpu-v2": (16.9, 51.0, 5.1), "tpu-v4i": (11.9, 45.5, 4.55), "tpu-v5e": (6.2, 15.1, 2.06)}


@pytest.mark.parametrize("device", COMPILED)
def test_slots_fill_as_those_of_compiled_programs(device: str) -> None:
    """Within 20 %; the share of bundles that nothing waits for is another matter."""
    shape, registers = (64, 56, 56, 128), 64 * 56 * 56 * 128 / 1024
    found = []
    for op in ("3", "5", "swish"):
        b = GraphBuilder(op)
        x = b.input("x", shape)
        y = b.activation("swish", x) if op == "swish" else b.depthwise(x, kernel=int(op), name="dw")
        kernels = simulate(b.graph([y]), device, batch=64, cores=1, runtime="xla").kernels
        busy_s = (
            kernels[kernels["kind"] != "movement"]["vector_time_s"].sum() * load_runtime("xla", "tpu").vector_fraction
        )
        found.append(busy_s * (load_device(device).clock_hz or 0.0) / registers)
    assert found == pytest.approx(COMPILED[device], rel=0.2)


def test_swish_costs_more_than_relu() -> None:
    elements = 1e6
    relu = vector_time_s(simple_ops=elements, transcendental_ops=0, load_ops=0, **VPU)
    swish = vector_time_s(simple_ops=4 * elements, transcendental_ops=2 * elements, load_ops=0, **VPU)
    assert float(swish) == pytest.approx(12 * float(relu))  # 4 + 2 x (100 / 25) slots against one


def test_depthwise_and_partial_sums_by_hand() -> None:
    # 4 x 5 results, twice, are added up over three passes: two additions each
    assert partial_sum_ops(m=4, n=5, batch=2, passes=3, ops_per_sum=1) == 2 * 20 * 2
    assert partial_sum_ops(m=4, n=5, batch=2, passes=1, ops_per_sum=1) == 0
    assert partial_sum_ops(m=4, n=5, batch=2, passes=3, ops_per_sum=3) == 2 * 20 * 2 * 3


# together ------------------------------------------------------------------------------------------------------------

times = st.floats(0, 10, allow_nan=False)


@settings(max_examples=60)
@given(matrix=times, vector=times, memory=times, overlap=st.floats(0, 1, allow_nan=False), floor=times)
def test_engines_overlap_between_the_longest_and_the_sum(
    matrix: float, vector: float, memory: float, overlap: float, floor: float
) -> None:
    engine_s = np.array([matrix, vector, memory])
    found = float(kernel_time_s(engine_s, overlap=overlap, floor_s=floor))
    longest, total = max(matrix, vector, memory), matrix + vector + memory
    assert longest - 1e-9 <= found - floor <= total + 1e-9
    assert float(kernel_time_s(engine_s, overlap=1.0, floor_s=0.0)) == longest
    assert float(kernel_time_s(engine_s, overlap=0.0, floor_s=0.0)) == total
    assert float(kernel_time_s(engine_s + np.array([1, 0, 0]), overlap=overlap, floor_s=floor)) >= found


def test_combination_by_hand() -> None:
    # longest 3, sum 6, three quarters overlapped: 0.75 x 3 + 0.25 x 6, and a floor of 1
    assert float(kernel_time_s(np.array([1, 2, 3]), overlap=0.75, floor_s=1)) == 4.75
    # a fourth engine of 2: the longest is the same, the sum 8
    assert float(kernel_time_s(np.array([1, 2, 3, 2]), overlap=0.75, floor_s=1)) == 5.25


def test_the_roof_by_hand() -> None:
    roof: dict[str, float] = {"peak_flops_per_s": 100e12, "bandwidth_bytes_per_s": 1e12}
    assert float(attainable_flops_per_s(10, **roof)) == 10e12  # under the ridge at 100: bandwidth
    assert float(attainable_flops_per_s(100, **roof)) == 100e12
    assert float(attainable_flops_per_s(1000, **roof)) == 100e12


# folds ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(data=st.data(), length=st.integers(0, 40), count=st.integers(1, 6))
def test_segments_by_loops(data: st.DataObject, length: int, count: int) -> None:
    values = data.draw(st.lists(st.floats(0, 1e6, allow_nan=False), min_size=length, max_size=length))
    owners = data.draw(st.lists(st.integers(0, count - 1), min_size=length, max_size=length))
    column, index = np.array(values, dtype=np.float64), np.array(owners, dtype=np.int64)
    for segment in range(count):
        total, largest, times = 0.0, 0.0, 1.0
        for value, owner in zip(values, owners, strict=True):
            if owner == segment:
                total, largest, times = total + value, max(largest, value), times * value
        assert segment_sum(column, index, count)[segment] == total, "added in order, to the last bit"
        assert segment_max(column, index, count)[segment] == largest
        assert segment_product(column, index, count)[segment] == times


def test_latency_is_that_of_the_slower_queue() -> None:
    assert float(latency_s(5.0, 3.0, program_s=1.0)) == 6
    assert float(latency_s(3.0, 5.0, program_s=1.0)) == 6
    assert list(latency_s(np.array([1.0, 4.0]), np.array([2.0, 2.0]), program_s=0.5)) == [2.5, 4.5]
    assert peak_memory_bytes(100.0, 50.0) == 150
    assert peak_memory_bytes(100.0, 50.0, 25.0) == 175  # what stays
    assert peak_memory_bytes(100.0, 50.0, 25.0, 10.0, 5.0) == 190


def test_formulas_do_not_depend_on_the_company() -> None:
    """A column and its rows one by one agree to the last bit."""
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(1, 1000, 500).astype(np.float64) for _ in range(3))
    tile = lying(128.0, 8.0, cut_images=1.0)
    ratio = padding_ratio(batch=a, inner=b, width=b, channels=c, tile=tile)
    combined = kernel_time_s(np.stack([a, b, c]), overlap=0.7, floor_s=1e-6)
    served = split_by_level(a, b, capacities_bytes=[100.0, 10.0])
    for i in range(500):
        assert ratio[i] == padding_ratio(batch=a[i], inner=b[i], width=b[i], channels=c[i], tile=tile)
        assert combined[i] == kernel_time_s(np.array([a[i], b[i], c[i]]), overlap=0.7, floor_s=1e-6)
        column = np.array([[a[i]], [b[i]], [c[i]]])
        assert combined[i] == kernel_time_s(column, overlap=0.7, floor_s=1e-6)[0]
        alone = split_by_level(a[i], b[i], capacities_bytes=[100.0, 10.0])
        assert [s[i] for s in served] == [float(s) for s in alone]


def test_copies_slow_down_as_their_runs_get_short() -> None:
    assert move_slowdown(np.inf, fraction=0.5) == 1.0
    assert move_slowdown(0.0, fraction=0.5) == 2.0
    assert move_slowdown(128.0, fraction=0.25) == 1.0 + 3.0 / 2.0  # a run as long as a line
    assert move_slowdown(384.0, fraction=0.25) == 1.0 + 3.0 / 4.0
    assert np.all(np.diff(move_slowdown(np.array([2.0, 64.0, 1e3, 1e6]), fraction=0.4)) < 0)
