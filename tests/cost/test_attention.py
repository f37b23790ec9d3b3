"""Fused attention of libraries: tiles counted one by one, and times by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from roofline.cost import attention as cost
from roofline.cost import power
from roofline.cost.chip import Chip

#: round numbers: a processor multiplies 1000 pairs, does 100 lane operations and 10 exponentials in a clock of 1 ns
CHIP = Chip(
    processors=10.0,
    clock_hz=1e9,
    macs_per_s=1e12,
    lane_ops_per_s=1e11,
    transcendental_ops_per_s=1e10,
    local_bytes_per_s=1e11,
    near_bytes_per_s=1e12,
    far_bytes_per_s=1e11,
    near_bytes=1e6,
    multicast=0.0,
    budget_w=np.inf,
)
SCORES = cost.Scores(fraction=0.5, softmax_ops=10.0, serial=0.25)


def _shape(queries: int, keys: int, *, causal: bool = True, window: float = np.inf, **sizes: float) -> cost.Shape:
    whole = {"batch": 1.0, "heads": 1.0, "kv_heads": 1.0, "head": 64.0, "value": 64.0, "kept_width": 128.0} | sizes
    return cost.Shape(
        queries=float(queries),
        keys=float(keys),
        causal=float(causal),
        window=window,
        query_bytes=2.0,
        kept_bytes=2.0,
        **whole,
    )


def _counted(queries: int, keys: int, *, causal: bool, window: float, rows: int, columns: int) -> int:
    """Go through every score: a tile counts if one of its scores may be seen."""
    seen = set()
    for q, k in product(range(queries), range(keys)):
        position = keys - queries + q
        if not causal or (k <= position and position - k < window):
            seen.add((q // rows, k // columns))
    return len(seen)


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (8, 4), (4, 8), (2, 8), (12, 4)])
def test_tiles_are_those_with_a_score_that_somebody_sees(rows: int, columns: int) -> None:
    for queries, before, window in product((2, 7, 16, 33), (0, 1, 5, 8, 24, 31), (np.inf, 1, 3, 8, 13, 40)):
        keys = queries + before
        found = cost.attended_tiles(_shape(queries, keys, window=window), rows=rows, columns=columns)
        sizes: dict[str, Any] = {"causal": True, "window": window, "rows": rows, "columns": columns}
        assert found == _counted(queries, keys, **sizes), (queries, before, window)
    whole = cost.attended_tiles(_shape(9, 9, causal=False), rows=rows, columns=columns)
    assert whole == _counted(9, 9, causal=False, window=np.inf, rows=rows, columns=columns)


def test_a_score_costs_the_longer_of_products_and_softmax_and_a_share_of_the_other() -> None:
    products, softmax, both = SCORES.score_s(CHIP, 128.0)
    assert products == pytest.approx(0.256e-9)  # 128 pairs at half of 1000 a clock
    assert softmax == pytest.approx(0.2e-9)  # an exponential in a tenth of a clock, ten operations in another
    assert both == pytest.approx(0.306e-9)  # and a quarter of the shorter


PROMPT = cost.PromptKernel(
    scores=SCORES,
    rows=128.0,
    columns=64.0,
    width=64.0,
    block_cycles=1000.0,
    step_cycles=100.0,
    key_cycles=2.0,
    end_bytes_per_clock=32.0,
    packs=0.0,
    splits=0.0,
    mixing=1.0,
)


def test_time_of_a_prompt_by_hand() -> None:
    """256 queries: two blocks, of 2 and 4 tiles of 64 keys."""
    found = cost.prompt_times(_shape(256, 256, heads=5.0, kv_heads=5.0), PROMPT, CHIP, memory_s=0.0)
    tile = 128 * 64 * 0.306 + 64 * 2 + 100  # clocks of a tile: scores, pages, the step
    ends = 1000 + 128 * 64 * 4 / 32  # queries in, results out, two bytes each
    every = (5 * 2 * ends + 5 * 6 * tile) / 10
    longest = ends + 4 * tile
    assert found.time_s == pytest.approx(1e-9 * (every + longest))
    assert found.matrix_s == pytest.approx(1e-9 * 5 * 6 * 128 * 64 * 0.256 / 10)
    assert found.vector_s == pytest.approx(1e-9 * 5 * 6 * 128 * 64 * 0.2 / 10)
    slow = cost.prompt_times(_shape(256, 256), PROMPT, CHIP, memory_s=1.0)
    assert slow.time_s == 1.0


def test_few_queries_of_a_group_share_a_tile_where_the_kernel_packs_them() -> None:
    """16 queries of 8 heads are the 128 rows of one block, which walks over the keys once."""
    shape = _shape(16, 640, heads=80.0, kv_heads=10.0)
    apart = cost.prompt_times(shape, PROMPT, CHIP, memory_s=0.0)
    packed = cost.prompt_times(shape, replace(PROMPT, packs=1.0), CHIP, memory_s=0.0)
    assert packed.matrix_s == pytest.approx(apart.matrix_s / 8)


def test_a_lone_prompt_is_split_over_its_keys_where_the_kernel_can() -> None:
    shape = _shape(128, 64 * 400)
    whole = cost.prompt_times(shape, PROMPT, CHIP, memory_s=0.0)
    split = cost.prompt_times(shape, replace(PROMPT, splits=1.0), CHIP, memory_s=0.0)
    assert 1 / 5 < split.time_s / whole.time_s < 1 / 3  # an eighth of its way, beside its share of all work


STEP = cost.StepKernel(
    scores=SCORES,
    shares=1.0,
    rows=16.0,
    most_rows=64.0,
    width=128.0,
    splits=128.0,
    windows=1.0,
    block_cycles=3000.0,
    row_cycles=100.0,
    load_bytes_per_clock=16.0,
    convert_ops=0.0,
    resident=2.0,
    combine_cycles=2000.0,
    combine_each_cycles=50.0,
    combine_bytes_per_s=1e12,
    mixing=1.0,
    memory_mixing=8.0,
)


def test_time_of_a_step_by_hand() -> None:
    """Ten blocks of 4 query heads for ten processors: nothing is split; loads take longer than scores."""
    found = cost.step_times(_shape(1, 640, heads=40.0, kv_heads=10.0), STEP, CHIP, cache_s=0.0)
    load, scores = 64 * 128 * 2 / 16, 16 * 64 * 0.306
    block = 3000 + 4 * 100 + 10 * (load**8 + scores**8) ** (1 / 8)
    assert found.time_s == pytest.approx(1e-9 * block * (1 + 10 / 20))


def test_a_lone_sequence_is_split_over_the_processors() -> None:
    found = cost.step_times(_shape(1, 6400), STEP, CHIP, cache_s=0.0)
    load, scores = 64 * 128 * 2 / 16, 16 * 64 * 0.306
    block = 3000 + 100 + 10 * (load**8 + scores**8) ** (1 / 8)  # a tenth of 100 steps
    combine = 2000 + 10 * 50 + 10 * 64 * 8 / 1000  # ten partial results of 64 elements, written and read in fp32
    assert found.time_s == pytest.approx(1e-9 * (block * (1 + 10 / 20) + combine))
    unsplit = cost.step_times(_shape(1, 6400), replace(STEP, splits=1.0), CHIP, cache_s=0.0)
    assert unsplit.time_s > 4 * found.time_s


def test_heads_that_do_not_share_load_keys_for_each() -> None:
    shape = _shape(1, 640, heads=320.0, kv_heads=10.0)
    shared = cost.step_times(shape, STEP, CHIP, cache_s=0.0)
    apart = cost.step_times(shape, replace(STEP, shares=0.0), CHIP, cache_s=0.0)
    assert apart.time_s > 5 * shared.time_s


def test_long_steps_take_the_time_of_their_cache() -> None:
    """Twice as many keys, twice the time, where memory decides; a window ends it."""
    keys = np.array([1e5, 2e5])
    cached = cost.cache_bytes(replace(_shape(1, 1), batch=64.0, keys=keys), windows=1.0)
    np.testing.assert_allclose(cached, 64 * keys * 128 * 2)
    seen = cost.seen_keys(replace(_shape(1, 1, window=4096.0), keys=keys), windows=np.array([1.0, 0.0]))
    np.testing.assert_allclose(seen, [4096, 2e5])
    shape = replace(_shape(1, 1), batch=64.0, keys=keys)
    found = cost.step_times(shape, STEP, CHIP, cache_s=cached / CHIP.far_bytes_per_s).time_s
    assert found[1] / found[0] == pytest.approx(2.0, rel=0.01)
    assert found[0] == pytest.approx(cached[0] / CHIP.far_bytes_per_s, rel=0.1)


def test_more_work_never_takes_less() -> None:
    lengths = np.arange(1.0, 3000.0)
    for window in (np.inf, 100.0):
        prompt = cost.prompt_times(
            replace(_shape(1, 1, window=window), queries=lengths, keys=lengths), PROMPT, CHIP, memory_s=0.0
        )
        assert (np.diff(prompt.time_s) > -1e-15).all()
    batches = replace(_shape(1, 4096), batch=np.arange(1.0, 200.0))
    whole = cost.step_times(batches, replace(STEP, splits=1.0), CHIP, cache_s=0.0)
    assert (np.diff(whole.time_s) > 0).all()


def test_a_power_limit_slows_full_matrix_units() -> None:
    limited = replace(CHIP, budget_w=10.0 * (power.MAC_W * 1000 + power.PROCESSOR_W) / 4.0)
    load = power.full_load(limited)
    assert load == pytest.approx(4.0)
    assert power.full_load(CHIP) == 0.0
    assert power.throttled_s(1.0, 1.0, load=load) == pytest.approx(4.2 ** (1 / 2.2))
    assert power.throttled_s(1.0, 0.1, load=load) == 1.0  # 0.2 + a tenth of 4 is within the limit
