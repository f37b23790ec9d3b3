"""Matrix time: how well a product fills a systolic array, or the tensor cores of many processors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from roofline.numeric import Array, Numeric

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
#: Winograd's algorithm F(4 x 4, 3 x 3): outputs of a patch, and elements of the window, along a side (the variant whose
#: transforms are kernels of their own in cuDNN, CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED)
PATCH, WINDOW = 4, 3
#: numbers that stand for a patch, and for a window, between the transforms: one product each
POINTS = (PATCH + WINDOW - 1) ** 2
#: kernels that Winograd's algorithm adds: transforms of input, kernel and output
TRANSFORMS = 3
#: bytes that one partial sum moves: written once and read once in fp32
PARTIAL_SUM_BYTES = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """`batch` products of (m, k x taps) with (k x taps, n); a field is a number, or a column with a row per product."""

    m: Numeric
    n: Numeric
    k: Numeric
    taps: Numeric = 1.0
    batch: Numeric = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class SystolicArray:
    """The `units` weight-stationary arrays of one core.

    Attributes
    ----------
    row_time_s
        Time of one row of operands [s]; a number, or a column with a row per product.
    weight_load_rows, fill_rows
        Rows that could stream while a tile of weights loads, and while an array fills and drains.
    tap_folding
        Share of products whose taps lie in K beside each other, 0 to 1.
    """

    rows: float
    columns: float
    units: float
    row_time_s: Numeric
    weight_load_rows: float
    fill_rows: float
    tap_folding: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Processors:
    """The `units` processors of one core, and the choices of their library; rates may be columns, as `Product` is.

    Attributes
    ----------
    alignment
        Channels are padded to multiples of it.
    k_loop
        Elements of K that starting and ending the loop costs.
    tile_reuse
        Share of a tile's operand fetch that its multiply-accumulates do not hide.
    operand_macs
        Multiply-accumulates that fetching one element from shared memory takes as long as.
    batched_tile
        Side of the only tile for batches of products; 0 where they have all `tiles`.
    tiles
        Output tiles (rows, columns) of one thread block.
    splits
        Ways to cut K over thread blocks.
    """

    units: float
    unit_macs_per_s: Numeric
    alignment: Numeric
    k_loop: float
    tile_reuse: Numeric
    operand_macs: Numeric
    partial_sum_bytes_per_s: float
    batched_tile: Numeric = 0.0
    tiles: tuple[tuple[int, int], ...] = TILES
    splits: tuple[int, ...] = SPLITS


def systolic_passes(product: Product, array: SystolicArray) -> Array:
    """Return how many array loads deep the contraction is.

    With taps folded into K the last load is shared by all taps, else each tap rounds up by itself;
    `tap_folding` weighs the two.
    """
    folded = np.ceil(product.k * product.taps / array.rows)
    apart = product.taps * np.ceil(product.k / array.rows)
    return np.asarray(array.tap_folding * folded + (1.0 - array.tap_folding) * apart)


def systolic_time_s(product: Product, array: SystolicArray) -> Array:
    """Time of a product on weight-stationary arrays [s].

    A tile of rows x columns weights stays while M rows stream through, one per `row_time_s`; a tile costs at least its
    own load. Either whole tiles, or the rows of each tile, spread over the `units`; the better is taken. One fill and
    drain of `fill_rows` steps is exposed.

    Sources: jax Pallas TPU details and scaling-book (8 rows per push, one row per cycle); weight load and fill are
    inferred from compiler dumps and fitted, not published.
    """
    tiles = product.batch * systolic_passes(product, array) * np.ceil(product.n / array.columns)
    streamed = ROW_GRANULE * np.ceil(product.m / ROW_GRANULE)
    shared = ROW_GRANULE * np.ceil(product.m / (ROW_GRANULE * array.units))
    by_tile = np.ceil(tiles / array.units) * np.maximum(streamed, array.weight_load_rows)
    by_row = tiles * np.maximum(shared, array.weight_load_rows)
    return np.asarray((np.minimum(by_tile, by_row) + array.fill_rows) * array.row_time_s)


def stationary_images_time_s(product: Product, array: SystolicArray, *, positions: Numeric, images: Numeric) -> Array:
    """Time of a convolution on the same arrays [s] where the images lie in the lanes: they stay, weights stream.

    For every position, a tile of the images' elements is loaded, and a row for each output channel streams through it.

    Source: programs compiled ahead of time with libtpu 0.0.42.1: a convolution of 3 channels takes 66 cycles a position
    on TPU v2, whether of 8, 16 or 64 images.
    """
    tiles = product.batch * positions * systolic_passes(product, array) * np.ceil(images / array.columns)
    streamed = np.maximum(ROW_GRANULE * np.ceil(product.n / ROW_GRANULE), array.weight_load_rows)
    return np.asarray((np.ceil(tiles / array.units) * streamed + array.fill_rows) * array.row_time_s)


def grouped_systolic_time_s(product: Product, array: SystolicArray) -> Array:
    """Time of a grouped convolution on systolic arrays [s]: group by group, or as one dense masked product.

    Source: openxla/xla, ConvolutionFeatureGroupConverter (filter expansion) for the dense form.
    """
    dense = replace(product, n=product.n * product.batch, k=product.k * product.batch, batch=1.0)
    return np.asarray(np.minimum(systolic_time_s(product, array), systolic_time_s(dense, array)))


def share_tiles(product: Product, *, shared: Numeric) -> Product:
    """Return the products that narrow groups become where `shared` is 1, not 0.

    As many groups as fit into `GROUP_COLUMNS` make one dense product, which multiplies by zeros between them.
    """
    n, k, batch = product.n, product.k, product.batch
    fitting = np.floor(GROUP_COLUMNS / np.maximum(np.maximum(n, k), 1.0))
    together = np.where(shared > 0, np.clip(fitting, 1.0, np.maximum(batch, 1.0)), 1.0)
    return replace(product, n=n * together, k=k * together, batch=batch / together)


def tensorcore_time_s(product: Product, processors: Processors, *, divisible: Numeric = 1.0) -> Array:
    """Time of a product whose output is cut into tiles over processors [s].

    Channels are padded to `alignment`. For every tile shape and every split of K: the tiles come in waves of one per
    processor, a started wave costs a whole one, and the K loop costs `k_loop` elements to start and end. A tile of
    height h and width w keeps the tensor cores busy for h w / (h w + tile_reuse x operand_macs x (h + w)) of the time:
    work grows with the area, operands with the sides, and fetching an element from shared memory takes as long as
    `operand_macs` multiply-accumulates. A split adds partial sums that pass through memory; only products that are
    `divisible`, 1 and not 0, may be split. The best choice is taken; where `batched_tile` is not 0, batches of products
    have no choice but the square tile of that side.

    Sources: NVIDIA DL performance guide (tile and wave quantization, alignment); CUTLASS documentation (split-K).
    """
    p = processors
    m, n, batch = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (product.m, product.n, product.batch))
    depth = p.alignment * np.ceil(product.k / p.alignment) * product.taps
    columns = p.alignment * np.ceil(n / p.alignment)
    height, width = (np.array(sides, dtype=np.float64)[:, None, None] for sides in zip(*p.tiles, strict=True))
    split = np.array(p.splits, dtype=np.float64)[None, :, None]
    busy = height * width / (height * width + p.tile_reuse * p.operand_macs * (height + width))
    split = 1.0 + (split - 1.0) * divisible
    offered = (batch <= 1.0) | (p.batched_tile == 0.0) | ((height == p.batched_tile) & (width == p.batched_tile))
    tiles = batch * np.ceil(m / height) * np.ceil(columns / width)
    waves = np.ceil(tiles * split / p.units)
    steps = K_STEP * np.ceil(depth / (split * K_STEP)) + p.k_loop
    partial_s = (split - 1.0) * (batch * m * n) * (PARTIAL_SUM_BYTES / p.partial_sum_bytes_per_s)
    time_s = waves * (height * width) * steps / (p.unit_macs_per_s * busy) + partial_s
    return np.asarray(np.where(offered, time_s, np.inf).min(axis=(0, 1)))


def patches_along(*, results: Numeric, taps: Numeric, stride: Numeric) -> Array:
    """Return how many patches cover a side of the outputs; 0 where Winograd's algorithm has no such window.

    It is 3 taps long and moves by one.
    """
    return np.asarray((taps == WINDOW) * (stride == 1) * np.ceil(results / PATCH))


def winograd_time_s(
    product: Product,
    processors: Processors,
    *,
    patches: Numeric,
    element_bytes: Numeric,
    bytes_per_s: float,
    floor_s: float,
) -> Array:
    """Time of a 3 x 3 convolution by Winograd's algorithm F(4 x 4, 3 x 3), each step a kernel of its own [s].

    Input patches of 6 x 6 elements (16 of them new) and kernels become 36 numbers each; 36 products of
    (patches, k) x (k, n) take the place of nine of (m, k) x (k, n) and multiply a fourth as often; 36 numbers become 16
    outputs. What the transforms and the products hand each other passes through memory.

    Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308.
    """
    m, n, k = product.m, product.n, product.k
    product_s = tensorcore_time_s(Product(m=patches, n=n, k=k, batch=POINTS), processors)
    inside = 1.0 * POINTS * (patches * (k + n) + k * n)
    outside = m * (k + n) + WINDOW**2 * k * n
    moved_s = inside * element_bytes / bytes_per_s
    return np.asarray(
        np.maximum(product_s, moved_s) + moved_s + outside * element_bytes / bytes_per_s + TRANSFORMS * floor_s
    )
