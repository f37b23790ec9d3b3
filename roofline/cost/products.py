"""Dense products by a library (GEMM): tiles on many processors, how they are fed, and what surrounds them.

Times are in seconds, shapes are numbers or columns. The law, and what each effect buys, is in docs/cost-model.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from roofline.cost import power
from roofline.cost.chip import Chip
from roofline.cost.matrix import Product
from roofline.numeric import Array, Numeric

#: output tiles (rows, columns) of one thread block that libraries have for matrix instructions of one warp
#: (cuBLAS and CUTLASS kernel names for Ampere and Ada: ampere_bf16_s16816gemm_bf16_ROWSxCOLUMNS)
WARP_TILES: tuple[tuple[int, int], ...] = (
    *((256, 128), (128, 256), (256, 64), (64, 256), (128, 128), (128, 64), (64, 128), (64, 64)),
    *((32, 128), (128, 32), (32, 64), (64, 32), (16, 64), (16, 128)),
)
#: outputs of the largest tile whose accumulators, 4 bytes each, leave room in the registers of a processor (192 x 256)
MOST_OUTPUTS = 49152
_SIDES = (64, 128, 192, 256)
_WIDTHS = (8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256)
#: the same where a group of warps multiplies together: multiples of 64 by multiples of 8, either way round (PTX ISA,
#: wgmma.mma_async: m64nNk16, N from 8 to 256 by 8)
GROUP_TILES: tuple[tuple[int, int], ...] = tuple(
    sorted({tile for a in _SIDES for b in _WIDTHS if a * b <= MOST_OUTPUTS for tile in ((a, b), (b, a))})
)
#: elements of K that a tile loads at a time (128 bytes of 16-bit numbers, a line of the cache); fewer take as long
STEP = 64
#: ways to cut K over thread blocks, of a step at least
SPLITS: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
#: bytes of a result's element on its way out of a tile
RESULT_BYTES = 2.0
#: rows that are costed at a time: their candidates stay in a processor's cache
CHUNK = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class ProductKernels:
    """How a library's products drive a chip; see `roofline.software.libraries.products` for what each stands for.

    `fraction` and `bandwidth_fraction` may be columns, as a library's kernels for different formats differ.
    """

    launch_s: float
    launch_cycles: float
    latency_s: float
    feed_bytes_per_s: float
    port_bytes_per_clock: float
    epilogue_bytes_per_clock: float
    bulk_stores: float
    sharpness: float
    split_launches: float
    fraction: Numeric
    bandwidth_fraction: Numeric
    mac_w: float
    processor_w: float
    tiles: tuple[tuple[int, int], ...]
    splits: tuple[int, ...] = SPLITS


@dataclass(frozen=True, kw_only=True, eq=False)
class ProductTimes:
    """What products take [s]: matrix units with all that waits for them, memory, launches, and the whole.

    `tiles_s` and `memory_s` run side by side.
    """

    tiles_s: Array
    memory_s: Array
    launch_s: Array
    time_s: Array


def launch_s(chip: Chip, kernels: ProductKernels) -> float:
    """Return what the launch of a kernel of a captured graph takes [s]: a part of it in clocks of the processors."""
    return kernels.launch_s + kernels.launch_cycles / chip.clock_hz


def feed_bytes_per_s(chip: Chip, kernels: ProductKernels) -> float:
    """Return the operands that reach one processor [bytes/s].

    Thread blocks that copy for themselves have some stages in flight for the latency of the last cache, which does not
    follow the clock. Where clusters share what hardware copies for them (bulk copies, multicast), the port of the
    processor is the limit.
    """
    port = kernels.port_bytes_per_clock * chip.clock_hz
    return kernels.feed_bytes_per_s + chip.multicast * (port - kernels.feed_bytes_per_s)


def result_bytes_per_s(chip: Chip, kernels: ProductKernels) -> float:
    """Return the results that leave one processor [bytes/s]: faster where hardware copies them in bulk."""
    bulk = 1.0 + chip.multicast * (kernels.bulk_stores - 1.0)
    return kernels.epilogue_bytes_per_clock * bulk * chip.clock_hz


def joined(first: Numeric, second: Numeric, sharpness: float) -> Array:
    """Return the time of two things that run side by side."""
    larger = np.maximum(first, second)
    ratio = np.minimum(first, second) / np.maximum(larger, 1e-30)
    return np.asarray(larger * (1.0 + ratio**sharpness) ** (1.0 / sharpness))


def product_times(
    product: Product,
    *,
    row_bytes: Numeric,
    weight_bytes: Numeric,
    far_bytes: Numeric,
    chip: Chip,
    kernels: ProductKernels,
) -> ProductTimes:
    """Return the times of products under the best tile and cut of K.

    Tiles go over the processors in waves. A tile multiplies while its operands arrive, and leaves through an epilogue;
    processors that multiply one tile together fetch its longer side once.
    The main memory streams beside that. A cut of K takes a second kernel that adds up. Long runs of full matrix
    units meet the power limit, where everything slows down.

    Parameters
    ----------
    row_bytes, weight_bytes
        Of an element of the two operands as they are fetched.
    far_bytes
        What the main memory moves for each product.

    Source: NVIDIA, Matrix Multiplication Background User's Guide (tiles, waves); CUTLASS documentation (split-K,
    multicast); the form of the sum is this project's.
    """
    columns = (product.m, product.n, product.k, product.batch, row_bytes, weight_bytes, far_bytes)
    rates = (chip.macs_per_s, kernels.fraction, kernels.bandwidth_fraction)
    rows = [np.atleast_1d(x).astype(np.float64) for x in np.broadcast_arrays(*columns, *rates)]
    parts = [_best([x[start : start + CHUNK] for x in rows], chip, kernels) for start in range(0, len(rows[0]), CHUNK)]
    tiles_s, memory_s, fixed_s, time_s = (np.concatenate(found) for found in zip(*parts, strict=True))
    return ProductTimes(tiles_s=tiles_s, memory_s=memory_s, launch_s=fixed_s, time_s=time_s)


@lru_cache(maxsize=64)
def _sides(tiles: tuple[tuple[int, int], ...]) -> Array:
    return np.array(tiles, dtype=np.float64).T


def _best(rows: list[Array], chip: Chip, kernels: ProductKernels) -> tuple[Array, ...]:
    """Return times of tiles, memory and launches, and the whole, of some rows."""
    m, n, k, batch, row_bytes, weight_bytes, far_bytes, macs_per_s, fraction, bandwidth_fraction = (
        x[:, None] for x in rows
    )
    high, wide = _sides(kernels.tiles)
    multiplied_s = high * wide / (macs_per_s * fraction)  # for each element of K, by rows and tiles
    rows_of, columns_of = high * row_bytes, wide * weight_bytes
    of_both = np.minimum(rows_of, columns_of) + np.maximum(rows_of, columns_of) / chip.operand_sharing
    fed_s = of_both / feed_bytes_per_s(chip, kernels)
    element_s = joined(multiplied_s, fed_s, kernels.sharpness)[..., None]
    left_s = (high * wide * RESULT_BYTES / result_bytes_per_s(chip, kernels))[:, None]
    splits = np.array(kernels.splits, dtype=np.float64)
    deep = STEP * np.ceil(k / (STEP * splits))
    blocks = (batch * np.ceil(m / high) * np.ceil(n / wide))[..., None] * splits
    waves = np.ceil(blocks / chip.processors)
    # where groups of warps take turns, a tile begins while the one before it leaves
    starts = waves + chip.multicast * (1.0 - waves)
    tiles_s = waves * (deep[:, None, :] * element_s + left_s) + starts * kernels.latency_s
    tile = np.argmin(tiles_s, axis=1)  # by rows and cuts
    row, cut = np.arange(len(m)), np.arange(len(splits))
    tiles_s = tiles_s[row[:, None], tile, cut]
    memory_s = far_bytes / (chip.far_bytes_per_s * bandwidth_fraction)
    added_s = np.where(splits > 1.0, kernels.split_launches * launch_s(chip, kernels), 0.0)
    whole_s = joined(tiles_s, memory_s, kernels.sharpness) + added_s
    cut = np.argmin(np.where((splits > 1.0) & (k < STEP * splits), np.inf, whole_s), axis=1)
    tile, tiles_s, whole_s, added_s = tile[row, cut], tiles_s[row, cut], whole_s[row, cut], added_s[cut]
    busy_s = multiplied_s[row, tile] * deep[row, cut] * blocks[row, tile, cut] / chip.processors
    load = power.full_load(
        replace(chip, macs_per_s=macs_per_s[:, 0]),
        mac_w=kernels.mac_w,
        processor_w=kernels.processor_w,
        operand_bytes=row_bytes[:, 0],
    )
    slower = power.throttled_s(1.0, busy_s / whole_s, load=load)
    fixed_s = launch_s(chip, kernels) + added_s * slower
    return tiles_s * slower, memory_s[:, 0] * np.ones_like(slower), fixed_s, launch_s(chip, kernels) + whole_s * slower
