"""What a workload of a language model holds in memory, and how much more of it there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roofline.engine.step_oracle import StepOracle
from roofline.engine.workload import Workload
from roofline.numeric import Array

#: contexts that are tried at a time in search of the longest that fits
TRIED = 257


@dataclass(frozen=True, kw_only=True)
class Room:
    """Bytes at the end of the answers, when caches are largest.

    Attributes
    ----------
    weight_bytes, cache_bytes, activation_bytes
        What is held; activations are those of the widest step, of prompts or of answers.
    memory_bytes, usable_bytes
        The main memory, and the share of it that the engine uses.
    largest_batch
        The most sequences of this length that fit; 0 where not even one does.
    longest_context
        The most tokens that each sequence of this batch can keep; 0 where there is no room for any.
    """

    model: str
    device: str
    batch: int
    weight_bytes: float
    cache_bytes: float
    activation_bytes: float
    memory_bytes: float
    usable_bytes: float
    largest_batch: int
    longest_context: int

    @property
    def total_bytes(self) -> float:
        """All of it."""
        return self.weight_bytes + self.cache_bytes + self.activation_bytes

    @property
    def fits(self) -> bool:
        """Whether it is no more than the engine uses."""
        return self.total_bytes <= self.usable_bytes

    @property
    def warnings(self) -> tuple[str, ...]:
        """That it does not fit, and what would."""
        if self.fits:
            return ()
        need, have = self.total_bytes / 2**30, self.usable_bytes / 2**30
        fits = f"the largest batch that does is {self.largest_batch:,}" if self.largest_batch else "no batch does"
        at = f"{self.model} at batch {self.batch:,} needs {need:.1f} GiB, {self.device} has {have:.1f} GiB for it"
        return (f"{at}: it does not fit, {fits}",)


def rooms_of(oracle: StepOracle, works: Sequence[Workload]) -> list[Room]:
    """Return what each workload holds, and what would fit in its place."""
    runtime, memory = oracle.setting.runtime, oracle.setting.device.main_memory
    usable_bytes, block = runtime.memory_share * memory.capacity_bytes, int(runtime.block_tokens)
    entering = np.array([(*work.entering, work.prefix) for work in works]).T
    prompt_bytes = oracle.memory(*entering, phase="prefill").live_bytes
    kept = np.minimum(np.ceil([work.kept / block for work in works]) * block, oracle.arch.positions)
    batch = np.array([work.batch for work in works], dtype=np.float64)
    last = oracle.memory(batch, 1, kept - 1)
    one = oracle.memory(1, 1, kept - 1)
    decodes = np.array([work.decode_steps > 0 for work in works])
    activation_bytes = np.maximum(prompt_bytes, decodes * last.live_bytes)
    free_bytes = usable_bytes - last.weight_bytes
    # prompts of all sequences enter at once, or as many of them as a chunk holds
    at_once = np.array([work.chunk is None for work in works])
    each_bytes = np.maximum(one.live_bytes, at_once * prompt_bytes / batch) + one.cache_bytes
    most = np.minimum(free_bytes // each_bytes, (free_bytes - ~at_once * prompt_bytes) // one.cache_bytes)
    longest = _longest(oracle, batch, free_bytes - activation_bytes)
    return [
        Room(
            model=oracle.arch.name,
            device=oracle.setting.device.name,
            batch=work.batch,
            weight_bytes=float(last.weight_bytes[i]),
            cache_bytes=float(last.cache_bytes[i]),
            activation_bytes=float(activation_bytes[i]),
            memory_bytes=memory.capacity_bytes,
            usable_bytes=usable_bytes,
            largest_batch=max(int(most[i]), 0),
            longest_context=int(longest[i]) // block * block,
        )
        for i, work in enumerate(works)
    ]


def _longest(oracle: StepOracle, batch: Array, room_bytes: Array) -> Array:
    """Return the most tokens that so many sequences can keep in so much memory."""
    low, high = np.zeros(len(batch)), np.full(len(batch), 1.0 * oracle.arch.positions)  # `low` tokens fit
    while (high > low).any():
        tried = np.round(low + (high - low) * np.linspace(0.0, 1.0, TRIED)[1:, None])  # (tried, workloads)
        held = oracle.memory(np.broadcast_to(batch, tried.shape), 1, np.maximum(tried - 1, 0)).cache_bytes
        fits = np.concatenate([np.zeros((1, len(batch))), held.reshape(tried.shape) <= room_bytes])
        count = np.argmax(np.cumsum(fits, axis=0), axis=0)  # more tokens never take less: the last that fits
        places = np.concatenate([low[None], tried, high[None] + 1.0])
        low, high = places[count, range(len(batch))], places[count + 1, range(len(batch))] - 1.0
    return low
