"""Matrix time: how well a product fills a systolic array, or the tensor cores of many processors."""

from __future__ import annotations

from typing import Any

import numpy as np

from roofline.numeric import Array, Numeric
from roofline.winograd import POINTS, WINDOW

#: rows of the streamed operand that a systolic array takes together: the sublanes of a vector register
#: (jax docs, Pallas TPU details: bf16[8,128] @ bf16[128,128] every 8 cycles)
ROW_GRANULE = 8

#: output tiles (rows, columns) of one thread block that GEMM libraries offer (NVIDIA DL performance guide, matrix
#: multiplication background, lists 256x128 down to 64x64; the narrow ones serve small outputs)
TILES: tuple[tuple[int, int], ...] = (
    (256, 128),
    (128, 256),
    (128, 128),
    (128, 64),
    (64, 128),
    (64, 64),
    (128, 32),
    (32, 32),
)
#: columns of the tile that narrow groups share: the narrowest that libraries offer
GROUP_COLUMNS = 32
#: elements of K that a tile loads at a time (two steps of the 16-deep instruction)
K_STEP = 32
#: ways to cut K over thread blocks (CUTLASS, split-K)
SPLITS: tuple[int, ...] = (1, 2, 4, 8, 16)
#: kernels that Winograd's algorithm adds: transforms of input, kernel and output
TRANSFORMS = 3
#: bytes that one partial sum moves: written once and read once in fp32
PARTIAL_SUM_BYTES = 8


def systolic_passes(k: Numeric, taps: Numeric, *, rows: float, tap_folding: float) -> Array:
    """Return how many array loads deep the contraction is.

    With taps folded into K the last load is shared by all taps, else each tap rounds up by itself;
    `tap_folding` weighs the two.
    """
    folded = np.ceil(k * taps / rows)
    apart = taps * np.ceil(k / rows)
    return np.asarray(tap_folding * folded + (1.0 - tap_folding) * apart)


def systolic_time_s(
    *,
    m: Numeric,
    n: Numeric,
    k: Numeric,
    taps: Numeric,
    batch: Numeric,
    rows: float,
    columns: float,
    units: float,
    row_time_s: Numeric,
    weight_load_rows: float,
    fill_rows: float,
    tap_folding: float,
) -> Array:
    """Time of `batch` products on weight-stationary arrays [s].

    A tile of rows x columns weights stays while M rows stream through, one per `row_time_s`; a tile costs at least its
    own load. Either whole tiles, or the rows of each tile, spread over the `units`; the better is taken. One fill and
    drain of `fill_rows` steps is exposed.

    Sources: jax Pallas TPU details and scaling-book (8 rows per push, one row per cycle); weight load and fill are
    inferred from compiler dumps and fitted, not published.
    """
    tiles = batch * systolic_passes(k, taps, rows=rows, tap_folding=tap_folding) * np.ceil(n / columns)
    streamed = ROW_GRANULE * np.ceil(m / ROW_GRANULE)
    shared = ROW_GRANULE * np.ceil(m / (ROW_GRANULE * units))
    by_tile = np.ceil(tiles / units) * np.maximum(streamed, weight_load_rows)
    by_row = tiles * np.maximum(shared, weight_load_rows)
    return np.asarray((np.minimum(by_tile, by_row) + fill_rows) * row_time_s)


def grouped_systolic_time_s(
    *, m: Numeric, n: Numeric, k: Numeric, taps: Numeric, batch: Numeric, **array: Any
) -> Array:
    """Time of a grouped convolution on systolic arrays [s]: group by group, or as one dense masked product.

    Source: openxla/xla, ConvolutionFeatureGroupConverter (filter expansion) for the dense form.
    """
    apart = systolic_time_s(m=m, n=n, k=k, taps=taps, batch=batch, **array)
    dense = systolic_time_s(m=m, n=n * batch, k=k * batch, taps=taps, batch=1.0, **array)
    return np.asarray(np.minimum(apart, dense))


def share_tiles(*, n: Numeric, k: Numeric, batch: Numeric, shared: Numeric) -> tuple[Array, Array, Array]:
    """Return n, k and the number of the products that narrow groups become where `shared` is 1, not 0.

    As many groups as fit into `GROUP_COLUMNS` make one dense product, which multiplies by zeros between them.
    """
    fitting = np.floor(GROUP_COLUMNS / np.maximum(np.maximum(n, k), 1.0))
    together = np.where(shared > 0, np.clip(fitting, 1.0, np.maximum(batch, 1.0)), 1.0)
    return np.asarray(n * together), np.asarray(k * together), np.asarray(batch / together)


def tensorcore_time_s(
    *,
    m: Numeric,
    n: Numeric,
    k: Numeric,
    taps: Numeric,
    batch: Numeric,
    units: float,
    unit_macs_per_s: Numeric,
    alignment: Numeric,
    k_loop: float,
    tile_reuse: Numeric,
    operand_macs: Numeric,
    partial_sum_bytes_per_s: float,
    splits: Numeric = 1.0,
    batched_tile: Numeric = 0.0,
) -> Array:
    """Time of `batch` products whose output is cut into tiles over `units` processors [s].

    Channels are padded to `alignment`. For every tile shape and every split of K: the tiles come in waves of one per
    processor, a started wave costs a whole one, and the K loop costs `k_loop` elements to start and end. A tile of
    height h and width w keeps the tensor cores busy for h w / (h w + tile_reuse x operand_macs x (h + w)) of the time:
    work grows with the area, operands with the sides, and fetching an element from shared memory takes as long as
    `operand_macs` multiply-accumulates. A split adds partial sums that pass through memory; only products with `splits`
    of 1, not 0, may be split. The best choice is taken; where `batched_tile` is not 0, batches of products have no
    choice but the square tile of that side.

    Sources: NVIDIA DL performance guide (tile and wave quantization, alignment); CUTLASS documentation (split-K).
    """
    m, n, batch = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (m, n, batch))
    depth = alignment * np.ceil(k / alignment) * taps
    columns = alignment * np.ceil(n / alignment)
    height = np.array([t[0] for t in TILES], dtype=np.float64)[:, None, None]
    width = np.array([t[1] for t in TILES], dtype=np.float64)[:, None, None]
    split = np.array(SPLITS, dtype=np.float64)[None, :, None]
    busy = height * width / (height * width + tile_reuse * operand_macs * (height + width))
    split = 1.0 + (split - 1.0) * splits
    offered = (batch <= 1.0) | (batched_tile == 0.0) | ((height == batched_tile) & (width == batched_tile))
    tiles = batch * np.ceil(m / height) * np.ceil(columns / width)
    waves = np.ceil(tiles * split / units)
    steps = K_STEP * np.ceil(depth / (split * K_STEP)) + k_loop
    partial_s = (split - 1.0) * (batch * m * n) * (PARTIAL_SUM_BYTES / partial_sum_bytes_per_s)
    time_s = waves * (height * width) * steps / (unit_macs_per_s * busy) + partial_s
    return np.asarray(np.where(offered, time_s, np.inf).min(axis=(0, 1)))


def winograd_time_s(
    *,
    patches: Numeric,
    m: Numeric,
    n: Numeric,
    k: Numeric,
    element_bytes: Numeric,
    bytes_per_s: float,
    floor_s: float,
    **processors: Any,
) -> Array:
    """Time of a 3 x 3 convolution by Winograd's algorithm F(4 x 4, 3 x 3), each step a kernel of its own [s].

    Input patches of 6 x 6 elements (16 of them new) and kernels become 36 numbers each; 36 products of
    (patches, k) x (k, n) take the place of nine of (m, k) x (k, n) and multiply a fourth as often; 36 numbers become 16
    outputs. What the transforms and the products hand each other passes through memory.

    Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308.
    """
    product_s = tensorcore_time_s(m=patches, n=n, k=k, taps=1.0, batch=POINTS, **processors)
    inside = 1.0 * POINTS * (patches * (k + n) + k * n)
    outside = m * (k + n) + WINDOW**2 * k * n
    moved_s = inside * element_bytes / bytes_per_s
    return np.asarray(
        np.maximum(product_s, moved_s) + moved_s + outside * element_bytes / bytes_per_s + TRANSFORMS * floor_s
    )
