"""Memory time: padded bytes, what stays on chip between kernels, and the ramp of the far memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from roofline.numeric import Array, Numeric


def padding_ratio(*, batch: Numeric, inner: Numeric, channels: Numeric, lanes: float, sublanes: float) -> Array:
    """Return stored over useful elements of a tensor whose two minor dimensions are tiled by sublanes x lanes.

    A compiler chooses: channels in the lanes with batch or the inner dimension (width or token) in the sublanes, or
    batch in the lanes with channels in the sublanes; the best is taken. Windows slide along width, and tokens are
    summed over, so neither lies in the lanes. 1 where lanes = sublanes = 1.

    Source: cloud TPU performance guide (no waste with batch a multiple of 8 and features of 128, or batch of 128 and
    features of 8); jax tpu_info for the (8, 128) tile. That width stays out of the lanes is seen in the Accel-NASBench
    networks on TPU v2: at 112 columns, blocks of 64 and of 96 channels add the same time for each further window
    element, that of 128 lanes.
    """
    channels_minor = _waste(channels, lanes) * np.minimum(_waste(batch, sublanes), _waste(inner, sublanes))
    batch_minor = _waste(batch, lanes) * _waste(channels, sublanes)
    return np.asarray(np.minimum(channels_minor, batch_minor))


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
