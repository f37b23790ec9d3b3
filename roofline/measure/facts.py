"""What a device says of itself: through its driver, or through the files of the operating system."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: widest vectors that a processor's flags promise -> fp32 lanes
LANES = (("avx512f", 16), ("avx2", 8), ("avx", 8), ("asimd", 4), ("neon", 4), ("sse2", 4))
#: multiply-add pipes of a core: two on the server processors of the last ten years
PIPES = 2
#: how drivers call the devices that have a file; a near relation (a Ti, an NVL) is another device
DRIVER_NAMES: tuple[tuple[str, str], ...] = (
    (r"\bV100\b", "v100"),
    (r"\bT4$", "t4"),
    (r"\bA100\b.*\b40GB", "a100-40gb"),
    (r"\bA100\b.*\b80GB", "a100-80gb"),
    (r"\bA10G$", "a10g"),
    (r"\bL4$", "l4"),
    (r"\bL40S$", "l40s"),
    (r"\bRTX 3090$", "rtx-3090"),
    (r"\bRTX 4090$", "rtx-4090"),
    (r"\bRTX 5090$", "rtx-5090"),
    (r"\bRTX PRO 6000\b.*\bMax-Q\b", "rtx-pro-6000-max-q"),
    (r"\bH100 80GB HBM3$", "h100-sxm"),
    (r"\bH100 PCIe$", "h100-pcie"),
    (r"\bH200$", "h200"),
    (r"\bB200$", "b200"),
    (r"\bMI210$", "mi210"),
    (r"\bMI300X\b", "mi300x"),
    (r"^TPU v2$", "tpu-v2"),
    (r"^TPU v3$", "tpu-v3"),
    (r"^TPU v4$", "tpu-v4"),
    (r"^TPU (v4 lite|v4i)$", "tpu-v4i"),
    (r"^TPU (v5 lite|v5e)$", "tpu-v5e"),
    (r"^TPU (v5|v5p)$", "tpu-v5p"),
    (r"^TPU (v6 lite|v6e)$", "tpu-v6e"),
    (r"^TPU ?(7x|v7x)$", "tpu-v7x"),
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A device as its driver tells it; None and 0 where it does not.

    Attributes
    ----------
    name
        What the driver calls it.
    known_as
        The shipped device file that describes it, or None.
    units
        Multiprocessors of a GPU, cores in use of a CPU.
    lanes
        fp32 lanes of a CPU's vector register.
    caches
        (name, bytes, cores that share one), near to far.
    """

    name: str
    kind: str
    backend: str
    vendor: str
    software: str
    known_as: str | None = None
    threads: int = 1
    units: int = 1
    lanes: int = 0
    clock_hz: float | None = None
    memory_bytes: float = 0.0
    bandwidth_bytes_per_s: float | None = None
    l2_bytes: float = 0.0
    shared_bytes_per_unit: float = 0.0
    compute_capability: str | None = None
    caches: list[list[Any]] = field(default_factory=list)

    @property
    def slug(self) -> str:
        """The name as that of a file."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-") or "device"


def shipped_device(name: str) -> str | None:
    """Return the shipped device that a driver's name means, or None.

    Examples
    --------
    >>> shipped_device("NVIDIA H200"), shipped_device("Tesla V100-SXM2-16GB"), shipped_device("TPU v5 lite")
    ('h200', 'v100', 'tpu-v5e')
    >>> shipped_device("NVIDIA GeForce RTX 3090 Ti") is None
    True
    """
    return next((device for pattern, device in DRIVER_NAMES if re.search(pattern, name)), None)


def cpu_facts(threads: int, software: str, backend: str, root: Path = Path("/")) -> Facts:
    """Return what the operating system says of the processor; `root` is where its files lie."""
    text = _read(root / "proc/cpuinfo")
    flags = set(re.findall(r"[\w.]+", _entry(text, "flags") or _entry(text, "Features") or ""))
    name = _entry(text, "model name") or platform.processor() or platform.machine() or "CPU"
    mhz = _entry(text, "cpu MHz")
    memory_kb = re.search(r"MemTotal:\s*(\d+) kB", _read(root / "proc/meminfo"))
    return Facts(
        name=f"{name} ({threads} {'core' if threads == 1 else 'cores'})",
        kind="cpu",
        backend=backend,
        vendor=_entry(text, "vendor_id") or "unknown",
        software=software,
        threads=threads,
        units=threads,
        lanes=next((lanes for flag, lanes in LANES if flag in flags), 4),
        clock_hz=float(mhz) * 1e6 if mhz else None,
        memory_bytes=float(memory_kb[1]) * 1024 if memory_kb else 8e9,
        caches=_caches(root / "sys/devices/system/cpu/cpu0/cache"),
    )


def usable_cores() -> int:
    """Return on how many cores this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _entry(text: str, name: str) -> str | None:
    found = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _caches(folder: Path) -> list[list[Any]]:
    """Return the data caches from near to far as [name, bytes, cores that share one]."""
    found = []
    for index in sorted(folder.glob("index*")):
        size = re.match(r"(\d+)K", _read(index / "size"))
        if size and _read(index / "type").strip() != "Instruction":
            sharing = _count(_read(index / "shared_cpu_list").strip())
            found.append([f"L{_read(index / 'level').strip()}", float(size[1]) * 1024, sharing])
    return found


def _count(cores: str) -> int:
    """Return how many cores a list like ``0-3,8`` names.

    Examples
    --------
    >>> _count("0-3,8"), _count("0")
    (5, 1)
    """
    ends = [part.split("-") for part in cores.split(",") if part]
    return sum(int(e[-1]) - int(e[0]) + 1 for e in ends) or 1
