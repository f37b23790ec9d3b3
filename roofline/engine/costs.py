"""What kernels and blocks cost on one machine, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from roofline.numeric import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelCosts:
    """What one run of each kernel costs on one machine [s], and the bytes it moves with layout padding.

    `engine_s` has a row for each of `ENGINES`: how long it alone needs.
    `conversion_s` goes into the order of bytes that a library wants and overlaps with nothing, as `floor_s` does.
    `far_bytes` are those of the padded bytes that the main memory moves.
    `ideal_memory_s` is the time of the unpadded traffic at the nominal bandwidth of the levels that serve it.
    """

    engine_s: Array
    floor_s: Array
    conversion_s: Array
    host_s: Array
    time_s: Array
    padded_bytes: Array
    far_bytes: Array
    ideal_memory_s: Array

    @property
    def bound(self) -> Array:
        """Index into `combine.BOUNDS` of what each kernel spends most on."""
        return np.asarray(np.argmax(np.vstack([self.engine_s, self.floor_s]), axis=0))

    def part(self, kernels: slice) -> KernelCosts:
        """Return the costs of some kernels."""
        return KernelCosts(**{f.name: getattr(self, f.name)[..., kernels] for f in fields(self)})


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockCosts:
    """Per-block sums and maxima: all that the folds of whole networks need."""

    device_s: Array
    host_s: Array
    macs: Array
    vector_ops: Array
    traffic_bytes: Array
    weight_traffic_bytes: Array
    ideal_memory_s: Array
    live_bytes: Array
    weight_bytes: Array
    cache_bytes: Array
    resident_bytes: Array
    saved_bytes: Array
    state_bytes: Array
    params: Array
