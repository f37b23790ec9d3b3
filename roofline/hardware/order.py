"""Memories of a device beside each other: how many there are, and that nearer ones are faster and smaller."""

from __future__ import annotations

from collections.abc import Iterator

from roofline.hardware.silicon import MemoryLevel, Silicon


def instances(device: Silicon, level: MemoryLevel) -> int:
    """Return how many memories of this scope the chip has; ``"unit"`` counts vector units (SMs, CUs)."""
    return {"chip": 1, "core": device.cores, "unit": device.cores * device.vector.units}[level.scope]


def memory_mistakes(device: Silicon) -> Iterator[tuple[str, str]]:
    """Yield (number, what is wrong with it) for every memory that is slower or larger than the one before it.

    Far to near: the whole chip's bandwidth grows, the capacity that one core or unit can address shrinks. The
    capacities of a chip's local memories together may exceed the level above: 80 x 128 KiB against 6 MiB on V100.
    """
    for far, near in zip(device.memory, device.memory[1:], strict=False):
        if near.bandwidth_bytes_per_s <= far.bandwidth_bytes_per_s:
            slower = ", ".join(f"{x.name} {x.bandwidth_bytes_per_s / 1e9:.4g} GB/s" for x in (near, far))
            yield f"memory.{near.name}.bandwidth", f"nearer memory must be faster, per chip: {slower}"
        sizes = [x.capacity_bytes / instances(device, x) for x in (near, far)]
        if sizes[0] >= sizes[1]:
            larger = ", ".join(f"{x.name} {size:.4g} B" for x, size in zip((near, far), sizes, strict=True))
            yield f"memory.{near.name}.capacity", f"nearer memory must be smaller, per {near.scope}: {larger}"
