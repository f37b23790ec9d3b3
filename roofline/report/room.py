"""What a workload of a language model holds in memory, and how much more of it there is room for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline.engine.step_oracle import StepOracle
from roofline.engine.workload import Workload
from roofline.numeric import ceil_div

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


def room_of(oracle: StepOracle, work: Workload) -> Room:
    """Return what a workload holds, and what would fit in its place."""
    runtime, device = oracle.setting.runtime, oracle.setting.device
    positions, block = oracle.arch.positions, int(runtime.block_tokens)
    usable_bytes = runtime.memory_share * device.main_memory.capacity_bytes

    def reserved(tokens: float) -> float:
        """Return the tokens for which a cache is reserved that holds so many."""
        return float(min(ceil_div(tokens, block) * block, positions))

    sequences, new = work.entering
    entering = oracle.memory(sequences, new, work.prefix, phase="prefill")
    last = oracle.memory([work.batch, 1], 1, max(reserved(work.kept) - 1, 0))
    weight_bytes = float(last.weight_bytes[0])
    cache_bytes, one_cache = last.cache_bytes.tolist()
    prompt_bytes, step_bytes = float(entering.live_bytes[0]), last.live_bytes.tolist()
    activation_bytes = max(prompt_bytes, step_bytes[0]) if work.decode_steps else prompt_bytes
    free_bytes = usable_bytes - weight_bytes
    each_bytes = one_cache + step_bytes[1]
    if work.chunk is None:  # prompts of all sequences enter at once
        batch = free_bytes // max(each_bytes, one_cache + prompt_bytes / work.batch)
    else:
        batch = min(free_bytes // each_bytes, (free_bytes - prompt_bytes) // one_cache)
    return Room(
        model=oracle.arch.name,
        device=device.name,
        batch=work.batch,
        weight_bytes=weight_bytes,
        cache_bytes=cache_bytes,
        activation_bytes=activation_bytes,
        memory_bytes=device.main_memory.capacity_bytes,
        usable_bytes=usable_bytes,
        largest_batch=max(int(batch), 0),
        longest_context=_longest(oracle, work.batch, free_bytes - activation_bytes, block),
    )


def _longest(oracle: StepOracle, batch: int, room_bytes: float, block: int) -> int:
    """Return the most tokens that so many sequences can keep in so much memory, in whole blocks or all positions."""
    low, high = 0, oracle.arch.positions  # `low` tokens fit
    while high > low:
        tried = np.unique(np.round(np.linspace(low + 1, high, TRIED)))
        fits = oracle.memory(batch, 1, tried - 1).cache_bytes <= room_bytes
        count = int(fits.sum())  # more tokens never take less
        if count == len(tried):
            return high
        low, high = (int(tried[count - 1]) if count else low), int(tried[count]) - 1
    return low // block * block
