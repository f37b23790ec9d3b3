"""Fused attention on many processors: blocks of queries that walk over tiles of keys.

Two ways to run it. A *prompt* has many queries: a block of them stays with a processor, scores of whole tiles are
computed and tiles nobody may see are skipped. A *decoding step* has one query for each sequence: what is waited for are
keys and values, which the query heads of a group share, and which are split over blocks where heads are few.

All sizes are numbers or columns. Times in cycles are of the matrix units' clock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline.cost.chip import Chip
from roofline.numeric import Array, Numeric

#: rows of queries that a tensor-core instruction takes at least (PTX ISA: mma m16n8k16)
FEWEST_ROWS = 16.0
#: keys that a block of a decoding step loads at a time, and keys of a split at least
STEP_KEYS, SPLIT_KEYS = 64.0, 128.0
#: bytes of a partial result: splits write and read them in fp32
PARTIAL_BYTES = 8.0
#: part of a processor's share that must be filled before nobody splits keys any more (flash-attention,
#: num_splits_heuristic)
FILLED = 0.8
#: tiles of keys that a split of a prompt has at least
FEWEST_TILES = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """The last `queries` of `keys` positions of `batch` sequences look at those before them.

    Attributes
    ----------
    head, value
        Width of a head of queries and keys, and of values.
    kept_width
        Elements that are kept for each key and head of keys: `head` + `value`, or `head` where values are a part of it.
    window
        Keys that a query sees at most; infinite without limit.
    query_bytes, kept_bytes
        Of an element of queries, and of keys and values.
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
    query_bytes: Numeric
    kept_bytes: Numeric

    @property
    def group(self) -> Array:
        """Query heads that share a head of keys."""
        return np.asarray(self.heads / self.kv_heads)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What a score costs a processor, and what surrounds it.

    Attributes
    ----------
    fraction
        Share of the matrix peak that products of scores reach: 1 but for kernels that were written less well.
    softmax_ops
        Lane operations for each score beside its exponential.
    serial
        Share of the shorter of products and softmax that the longer does not hide.
    """

    fraction: Numeric
    softmax_ops: Numeric
    serial: Numeric

    def score_s(self, chip: Chip, widths: Numeric) -> tuple[Array, Array, Array]:
        """Time of a score on one processor [s]: of products over `widths` elements, of softmax, and of both."""
        products = np.asarray(widths / (chip.macs_per_s * self.fraction))
        softmax = np.asarray(1.0 / chip.transcendental_ops_per_s + self.softmax_ops / chip.lane_ops_per_s)
        both = np.maximum(products, softmax) + self.serial * np.minimum(products, softmax)
        return products, softmax, both


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptKernel:
    """A kernel for many queries.

    Attributes
    ----------
    rows, columns
        Queries and keys of a tile; one a multiple of the other.
    width
        Width that heads of `Shape.head` are padded to.
    block_cycles, step_cycles
        Of a block, and of a tile, beside scores.
    key_cycles
        For each key of a tile, to find the page that it lies in.
    end_bytes_per_clock
        At which a processor loads a block's queries and stores its results.
    packs
        1 where the heads of a group lie in one tile when queries are fewer than its rows.
    splits
        1 where keys are split over processors that would have nothing to do.
    mixing
        Exponent under which the work of all blocks and the way of the longest make the time.
    """

    scores: Scores
    rows: Numeric
    columns: Numeric
    width: Numeric
    block_cycles: Numeric
    step_cycles: Numeric
    key_cycles: Numeric
    end_bytes_per_clock: Numeric
    packs: Numeric
    splits: Numeric
    mixing: Numeric


@dataclass(frozen=True, kw_only=True, eq=False)
class StepKernel:
    """A kernel for one query of each sequence.

    Attributes
    ----------
    shares
        1 where the query heads of a group share what they load.
    rows
        Rows of queries that it computes at least, needed or not.
    most_rows
        Rows of queries of a block at most.
    width
        Width that a head of queries and values together is padded to.
    splits
        Splits at most; each has `SPLIT_KEYS` keys at least.
    windows
        1 where keys outside of the window are not loaded.
    block_cycles, row_cycles
        Of a block, and for each row of queries in it.
    load_bytes_per_clock
        At which one block loads keys and values.
    convert_ops
        Lane operations for each element that must be converted.
    resident
        Blocks that share a processor at full speed.
    combine_cycles, combine_each_cycles
        To combine splits: at all, and for each of them.
    combine_bytes_per_s
        At which partial results are written and read.
    mixing, memory_mixing
        Exponents under which one block and all of them, and processors and memory, make the time.
    """

    scores: Scores
    shares: Numeric
    rows: Numeric
    most_rows: Numeric
    width: Numeric
    splits: Numeric
    windows: Numeric
    block_cycles: Numeric
    row_cycles: Numeric
    load_bytes_per_clock: Numeric
    convert_ops: Numeric
    resident: Numeric
    combine_cycles: Numeric
    combine_each_cycles: Numeric
    combine_bytes_per_s: float
    mixing: Numeric
    memory_mixing: Numeric


@dataclass(frozen=True, kw_only=True, eq=False)
class Times:
    """What attentions take [s] beside their floor: of each engine alone, and of all together."""

    matrix_s: Array
    vector_s: Array
    memory_s: Array
    time_s: Array


def _ceil_sum(count: Numeric, ratio: Numeric) -> Array:
    """Return the sum of ceil(j / ratio) for j = 1 ... count."""
    whole = np.floor(count / ratio)
    return np.asarray(ratio * whole * (whole + 1.0) / 2.0 + (count - ratio * whole) * (whole + 1.0))


def _floor_sum(count: Numeric, ratio: Numeric) -> Array:
    """Return the sum of floor(j / ratio) for j = 0 ... count - 1."""
    whole = np.floor(count / ratio)
    return np.asarray(ratio * whole * (whole - 1.0) / 2.0 + (count - ratio * whole) * whole)


def attended_tiles(shape: Shape, *, rows: Numeric, columns: Numeric) -> Array:
    """Return how many tiles of `rows` queries by `columns` keys have a score that a head of one sequence may see.

    Exact where one side of the tile is a multiple of the other.
    """
    blocks = np.ceil(shape.queries / rows)
    before = np.maximum(shape.keys - shape.queries, 0.0)
    tall, wide = np.maximum(rows / columns, 1.0), np.maximum(columns / rows, 1.0)
    # keys up to a block's last query: the sum over blocks of ceil((before + (i + 1) rows) / columns)
    skipped = np.ceil(before / rows)
    upper = np.where(
        rows >= columns,
        blocks * np.ceil(before / columns) + tall * blocks * (blocks + 1.0) / 2.0,
        _ceil_sum(skipped + blocks, wide) - _ceil_sum(skipped, wide),
    )
    last = np.where(
        rows >= columns, np.ceil(before / columns) + tall * blocks, np.ceil((skipped + blocks) / wide)
    )  # the last block ends with the keys
    upper = upper - (last - np.minimum(last, np.ceil(shape.keys / columns)))
    # keys that fell out of a block's window: floor((before + i rows - window + 1) / columns) where not negative
    lag = np.minimum(shape.window, shape.keys + shape.queries) - 1.0 - before
    first = np.clip(np.ceil(lag / rows), 0.0, blocks)
    left = blocks - first
    start = np.floor((first * rows - lag) / columns)
    by_rows = left * start + tall * left * (left - 1.0) / 2.0
    offset = np.floor((first * rows - lag) / rows)
    by_columns = _floor_sum(offset + left, wide) - _floor_sum(offset, wide)
    lower = np.where(rows >= columns, by_rows, by_columns)
    every = blocks * np.ceil(shape.keys / columns)
    return np.asarray(np.where(shape.causal > 0, np.maximum(upper - lower, blocks), every))


def prompt_times(shape: Shape, kernel: PromptKernel, chip: Chip, *, memory_s: Numeric) -> Times:
    """Time of attention of many queries [s].

    A tile costs its scores, `Scores.score_s` each, the finding of its keys, and a step; a block its ends. All blocks
    spread over the processors; none is faster than the longest. `memory_s` hides behind what is computed.

    Sources: Dao, FlashAttention-2, arXiv 2307.08691 (tiles, causal skipping, occupancy); Shah et al., FlashAttention-3,
    arXiv 2407.08608 (softmax beside products).
    """
    k, clock_hz = kernel, chip.clock_hz
    together = (k.packs > 0) & (shape.queries < k.rows)
    heads = np.where(together, shape.kv_heads, shape.heads)
    blocks = np.where(together, np.ceil(shape.queries * shape.group / k.rows), np.ceil(shape.queries / k.rows))
    across = np.ceil(shape.keys / k.columns)
    tiles = np.where(together, blocks * across, attended_tiles(shape, rows=k.rows, columns=k.columns))
    rows = np.where(together, shape.queries * shape.group, shape.queries) / blocks
    blocks, tiles = blocks * heads * shape.batch, tiles * heads * shape.batch
    products_s, softmax_s, score_s = k.scores.score_s(chip, 2.0 * k.width)
    tile = k.rows * k.columns
    step_s = tile * score_s + (k.columns * k.key_cycles + k.step_cycles) / clock_hz
    ends_s = (k.block_cycles + rows * k.width * 2.0 * shape.query_bytes / k.end_bytes_per_clock) / clock_hz
    all_s = (blocks * ends_s + tiles * step_s) / chip.processors
    longest = np.minimum(across, np.ceil((shape.window + k.rows) / k.columns))
    ways = np.clip(FILLED * chip.processors / blocks, 1.0, np.maximum(longest / FEWEST_TILES, 1.0))
    longest = longest / np.where(k.splits > 0, ways, 1.0)
    one_s = ends_s + longest * step_s
    compute_s = (all_s**k.mixing + one_s**k.mixing) ** (1.0 / k.mixing)
    return Times(
        matrix_s=np.asarray(tiles * tile * products_s / chip.processors),
        vector_s=np.asarray(tiles * tile * softmax_s / chip.processors),
        memory_s=np.asarray(memory_s),
        time_s=np.asarray(np.maximum(compute_s, memory_s)),
    )


def step_times(shape: Shape, kernel: StepKernel, chip: Chip, *, cache_s: Numeric) -> Times:
    """Time of attention of one query for each sequence [s].

    A block holds the query heads that share a head of keys, walks over its split of them, and adds what it found to the
    others'. It loads no faster than one block can; nor do all faster than memory, which takes `cache_s`.

    Source: Dao et al., Flash-Decoding for long-context inference, crfm.stanford.edu/2023/10/12/flashdecoding.html.
    """
    k, clock_hz = kernel, chip.clock_hz
    shared = np.where(k.shares > 0, shape.group, 1.0)
    rows = np.minimum(shared, k.most_rows)
    units = shape.batch * shape.heads / shared * np.ceil(shared / k.most_rows)
    keys = seen_keys(shape, windows=k.windows)
    room = np.minimum(np.floor(keys / SPLIT_KEYS), k.splits)
    splits = np.clip(np.floor(chip.processors / units), 1.0, np.maximum(room, 1.0))
    steps = np.ceil(np.maximum(keys, 1.0) / STEP_KEYS / splits)
    elements = STEP_KEYS * shape.kept_width
    load_s = elements * shape.kept_bytes / (k.load_bytes_per_clock * clock_hz)
    load_s = load_s + elements * k.convert_ops / chip.lane_ops_per_s
    scores = np.maximum(FEWEST_ROWS * np.ceil(rows / FEWEST_ROWS), k.rows) * STEP_KEYS
    products_s, softmax_s, score_s = k.scores.score_s(chip, k.width)
    step_s = (load_s**k.memory_mixing + (scores * score_s) ** k.memory_mixing) ** (1.0 / k.memory_mixing)
    block_s = (k.block_cycles + k.row_cycles * rows) / clock_hz + steps * step_s
    waves = units * splits / (chip.processors * k.resident)
    compute_s = block_s * (1.0 + waves**k.mixing) ** (1.0 / k.mixing)
    partial_bytes = splits * units * rows * shape.value * PARTIAL_BYTES
    combine_s = (k.combine_cycles + splits * k.combine_each_cycles) / clock_hz + partial_bytes / k.combine_bytes_per_s
    both_s = (compute_s**k.memory_mixing + cache_s**k.memory_mixing) ** (1.0 / k.memory_mixing)
    all_scores = units * splits * steps * scores / chip.processors
    return Times(
        matrix_s=np.asarray(all_scores * products_s),
        vector_s=np.asarray(all_scores * softmax_s),
        memory_s=np.asarray(cache_s + 0.0 * all_scores),
        time_s=np.asarray(both_s + np.where(splits > 1.0, combine_s, 0.0)),
    )


def seen_keys(shape: Shape, *, windows: Numeric) -> Array:
    """Return the keys that the last query looks at, where `windows` is 1; all of them where it is 0."""
    return np.asarray(np.where(windows > 0, np.minimum(shape.keys, shape.window), shape.keys))


def cache_bytes(shape: Shape, *, windows: Numeric) -> Array:
    """Return the bytes of keys and values that a decoding step must read."""
    keys = seen_keys(shape, windows=windows)
    return np.asarray(shape.batch * shape.kv_heads * keys * shape.kept_width * shape.kept_bytes)


def moved_bytes(shape: Shape) -> Array:
    """Return the bytes of queries, results, keys and values."""
    seen = np.minimum(shape.keys, shape.window + shape.queries)
    kept = shape.kv_heads * seen * shape.kept_width * shape.kept_bytes
    own = shape.queries * shape.heads * (shape.head + shape.value) * shape.query_bytes
    return np.asarray(shape.batch * (own + kept))
