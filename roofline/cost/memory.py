"""Memory time: padded bytes, what stays on chip between kernels, and the ramp of the far memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roofline.numeric import Array, Numeric


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """The tile of memory, and of a vector register, in which the two minor dimensions of a tensor lie.

    Attributes
    ----------
    half
        What a tile of half the sublanes takes of a whole one, where a dimension needs no more: half of its memory, more
        of its time.
    cut_images
        The width of so many images at most is cut into a piece for each sublane.
    """

    lanes: float
    sublanes: float
    half: float
    cut_images: float


def padding_ratio(
    *, batch: Numeric, inner: Numeric, width: Numeric, channels: Numeric, tile: Tile, in_lanes: float = 1.0
) -> Array:
    """Return stored over useful elements of a tensor whose two minor dimensions are tiled by sublanes x lanes.

    A compiler chooses: channels in the lanes with `sublane_padding`, or batch in the lanes with channels in the
    sublanes, `in_lanes` times as dear; the best is taken. 1 where lanes = sublanes = 1.

    Source: cloud TPU performance guide (no waste with batch a multiple of 8 and features of 128, or batch of 128 and
    features of 8); jax tpu_info for the (8, 128) tile. That width stays out of the lanes is seen in the Accel-NASBench
    networks on TPU v2: at 112 columns, blocks of 64 and of 96 channels add the same time for each further window
    element, that of 128 lanes.
    """
    channels_minor = _waste(channels, tile.lanes) * sublane_padding(batch=batch, inner=inner, width=width, tile=tile)
    return np.asarray(np.minimum(channels_minor, in_lanes * _batch_minor(batch, channels, tile)))


def sublane_padding(*, batch: Numeric, inner: Numeric, width: Numeric, tile: Tile) -> Array:
    """Return the part that sublanes have in it where channels lie in the lanes: of batch, or of the inner dimension.

    Windows slide along the width of an image, so that it lies in neither; but the width of a few images is cut into
    pieces, images of their own with borders.

    Parameters
    ----------
    inner, width
        The dimension before the channels: of tokens the one, of image maps the other; 1 is neither.

    Source: programs compiled ahead of time with libtpu 0.0.42.1 (tiles of 4 sublanes for up to 4 images; the cut, which
    openxla/xla space_to_batch_converter.h has as a pass of 8 pieces and at most one image by default).
    """
    pieces = (np.ceil(width / tile.sublanes) + CUT_BORDER) * tile.sublanes / width
    cut = np.where(batch <= tile.cut_images, pieces, np.inf)
    return np.asarray(np.minimum(np.minimum(_in_sublanes(batch, tile), cut), _waste(inner, tile.sublanes)))


def _batch_minor(batch: Numeric, channels: Numeric, tile: Tile) -> Numeric:
    return _waste(batch, tile.lanes) * _in_sublanes(channels, tile)


def _in_sublanes(size: Numeric, tile: Tile) -> Array:
    return np.where(size <= tile.sublanes / 2.0, tile.half * tile.sublanes / size, _waste(size, tile.sublanes))


def row_major_padding(*, width: Numeric, height: Numeric, lanes: float, sublanes: float, limit: float) -> Array:
    """Return stored over useful elements of a result in the order of its source program; 0 where it needs no copy.

    Width lies in the lanes and height in the sublanes if that pads by less than `limit`; else the largest dimensions
    do, batch and channels, as the compiler has them anyway.

    Source: PyTorch/XLA, layout manager (XLA_MAX_PADDING_FACTOR), recalled.
    """
    padding = _waste(width, lanes) * _waste(height, sublanes)
    return np.asarray(np.where(padding < limit, padding, 0.0))


def _waste(size: Numeric, granule: float) -> Numeric:
    return np.ceil(size / granule) * granule / size


def resident_fraction(size_bytes: Numeric, *, capacity_bytes: float) -> Array:
    """Return which part of `size_bytes` an on-chip level holds: all of it up to the capacity, then its share."""
    return np.asarray(np.minimum(1.0, capacity_bytes / np.maximum(size_bytes, 1.0)))


def split_by_level(size_bytes: Numeric, reach_bytes: Numeric, *, capacities_bytes: Sequence[float]) -> list[Array]:
    """Return the bytes that each level serves: first the main memory, then the on-chip levels from far to near.

    Parameters
    ----------
    size_bytes
        Bytes of each access.
    reach_bytes
        What must stay on chip for the access to hit: reuse distance and working set; infinite where nothing can hit.
    capacities_bytes
        Usable capacity of the on-chip levels, far to near.
    """
    served: list[Array] = []
    nearer = np.zeros_like(np.asarray(size_bytes, dtype=np.float64))
    for capacity_bytes in reversed(capacities_bytes):
        held = np.maximum(resident_fraction(reach_bytes, capacity_bytes=capacity_bytes) * size_bytes, nearer)
        served.insert(0, held - nearer)
        nearer = held
    served.insert(0, np.asarray(size_bytes - nearer))
    return served


def transfer_time_s(
    served_bytes: Sequence[Numeric], bandwidths_bytes_per_s: Sequence[float], *, fraction: float, latency_s: float
) -> Array:
    """Time to move what each level serves [s]: bytes over achieved bandwidth, and the ramp at both ends.

    The first and the last wave of requests find the memory half idle. That costs `latency_s` once the transfer is long
    against it, and as much as the transfer itself where all of it is one wave: x + latency x / (x + latency).
    """
    total: Numeric = 0.0
    for served, bandwidth in zip(served_bytes, bandwidths_bytes_per_s, strict=True):
        total = total + served / (bandwidth * fraction)
    return np.asarray(total + latency_s * total / np.maximum(total + latency_s, SHORTEST_S))


def row_fetches(norm_row_bytes: Numeric, softmax_row: Numeric) -> Array:
    """Return how often rows are fetched that norms [bytes] or softmaxes [elements] must know before their first result.

    Once if they can wait for their statistics beside the processor, once more if they are too long.
    """
    return np.asarray(1.0 + ((norm_row_bytes > NORM_ROW_BYTES) | (softmax_row > SOFTMAX_ROW)))


def border_fetches(*, elements: Numeric, results: Numeric, taps: Numeric, stride: Numeric) -> Array:
    """Return how often the elements along a side are fetched under a window that slides over each channel by itself.

    Blocks of `WINDOW_BLOCK` results read the borders of their neighbours again.
    """
    borders = np.ceil(results / WINDOW_BLOCK) - 1.0
    return np.asarray(1.0 + borders * np.maximum(taps - stride, 0.0) / elements)


def move_slowdown(run_bytes: Numeric, *, fraction: float) -> Array:
    """Return how much longer a copy takes when its neighbours part: runs of `run_bytes` stay side by side.

    Lines that are used in part are moved whole, and some of them twice. Single elements reach `fraction` of the
    bandwidth, long runs all of it: 1 + (1 / fraction - 1) line / (line + run).
    """
    return np.asarray(1.0 + (1.0 / fraction - 1.0) * LINE_BYTES / (LINE_BYTES + run_bytes))


#: how much longer a depthwise window takes in a register with images in its lanes, where a weight must reach all of
#: them: compiled kernels (libtpu 0.0.42.1) of 96 and 144 channels with 128 images take as long as with their channels
#: padded to 128 and 256, 1.33 and 1.68 times; what the Accel-NASBench networks on TPU v2 allow, with 64 images
WINDOWS_IN_LANES = 1.35
#: columns that a piece of a cut image takes as long as beside its own: a 3 x 3 window reaches two of others, and
#: they are copied there. One image of 56 px compiled for TPU v2 (libtpu 0.0.42.1) takes 1.8 times as long as one of
#: eight by estimated cycles, 6 columns, and 1.4 times by its depthwise bundles, 3 columns
CUT_BORDER = 3.0
#: longest row that a norm keeps beside the processor, and that a softmax keeps in its registers (ATen,
#: softmax_warp_forward): layer norms on an A100 (LLMCompass) take 1.0 times the time of one reading and writing up to
#: 16 KiB and 2.0 times that from 32 KiB on, its softmax 1.0 times up to 1,024 elements and 1.5 to 1.8 times beyond
NORM_ROW_BYTES, SOFTMAX_ROW = 16 * 1024, 1024
#: results on each side of the block that a processor computes of a sliding window over single channels: what timm's
#: networks show of 3 x 3 and 5 x 5 windows on two GPUs, at strides of 1 and 2
WINDOW_BLOCK = 10
#: what caches of GPUs fetch at a time (CUDA C++ Programming Guide, device memory accesses)
LINE_BYTES = 128.0
#: no transfer is shorter: keeps the ramp of nothing at zero
SHORTEST_S = 1e-15
