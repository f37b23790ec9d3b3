"""What attention in windows knows beforehand: which offsets pairs of positions have, and who must not see whom.

The JAX writer copies these functions as text, the ONNX writer stores their results.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def window_offsets(window: int) -> Any:
    """Return which row of a table (2 window - 1)^2 belongs to each pair of positions in a window."""
    y, x = np.divmod(np.arange(window * window), window)
    rows, columns = (a[:, None] - a[None, :] + window - 1 for a in (y, x))
    return (rows * (2 * window - 1) + columns).reshape(-1)


def shift_mask(height: int, width: int, window: int) -> Any:
    """Return what keeps positions of shifted windows apart that are no neighbours: (windows, 1, area, area)."""

    def region(size: int) -> Any:
        at = np.arange(size)
        return (at >= size - window).astype(int) + (at >= size - window // 2)

    regions = 3 * region(height)[:, None] + region(width)[None, :]
    regions = regions.reshape(height // window, window, width // window, window).swapaxes(1, 2)
    regions = regions.reshape(-1, window * window)
    apart = regions[:, :, None] != regions[:, None, :]
    return np.where(apart, -100.0, 0.0)[:, None].astype("float32")
