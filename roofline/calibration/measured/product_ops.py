"""The table of dense products that ai-dynamo/aiconfigurator publishes, and what its collector times.

A row is a linear layer of a framework, replayed from a captured graph: the same activations, and a few copies of the
weights in turn, so that small weights stay in the last cache and large ones do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.types import LibraryCall, Measurement, Options
from roofline.cost.matrix import Product
from roofline.cost.products import RESULT_BYTES, product_times
from roofline.engine.libraries.products import product_kernels
from roofline.engine.machine import Machine
from roofline.engine.table import DTYPE_CODES
from roofline.errors import InputError
from roofline.hardware.load import device as load_device
from roofline.hardware.spec import Device
from roofline.numeric import Array

#: formats of the table: what is multiplied, how weights are stored, bits of one with its share of scales
NUMBERS: dict[str, tuple[str, str, float]] = {
    "bfloat16": ("bf16", "bf16", 16.0),
}
RUNTIMES = {"VLLM": "vllm", "TRTLLM": "tensorrt_llm"}
#: shortest time beside that of the peak that is believed: clocks and data sheets are off by a few percent
BELIEVED = 0.95


@dataclass(frozen=True, kw_only=True)
class Replay:
    """How a framework's rows were timed.

    Attributes
    ----------
    copies
        Layers with weights of their own that take turns.
    filling
        Whether there are no more of them than fill the last cache.
    """

    copies: float
    filling: bool

    def turns(self, weight_bytes: Array, cache_bytes: float) -> Array:
        """Return how many copies of weights take turns."""
        enough = np.ceil(cache_bytes / weight_bytes)
        return np.minimum(self.copies, enough) if self.filling else np.full(len(weight_bytes), self.copies)


#: seen in rows of an L40S, whose cache of 96 MiB is three to four times as fast as its memory: under TensorRT-LLM
#: weights of 12, 16, 24, 32, 48 and 96 MiB come from the cache, those of 21, 28, 36, 42 and 60 do not; under vLLM those
#: of 13 MiB and less do
REPLAYS = {"tensorrt_llm": Replay(copies=5.0, filling=True), "vllm": Replay(copies=7.0, filling=False)}
#: share of the last cache that keeps what takes turns: all of it; of two halves that each keep copies of what the other
#: is asked for, less. Seen on L40S and H100
KEPT, KEPT_OF_HALVES = 1.0, 0.65
#: what takes turns misses the cache altogether where it is larger than what is kept by this share
OVERFLOW = 0.1
#: compute capabilities of chips whose last cache has two halves (NVIDIA A100 and H100 white papers)
HALVES = (8.0, 9.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class ProductCall(LibraryCall):
    """A product of (m, k) activations with (k, n) weights."""

    numbers: str
    m: int
    n: int
    k: int
    replay: Replay

    @classmethod
    def times_s(cls, calls: Sequence[ProductCall], machine: Machine) -> Array:
        """Return the time of each call [s]."""
        if not machine.libraries.products:
            where = f"{machine.runtime.name!r} calls no library of products on {machine.device.name!r}"
            raise InputError(f"runtime {where}")
        m, n, k = (np.array([1.0 * getattr(c, name) for c in calls]) for name in "mnk")
        compute = np.array([DTYPE_CODES[NUMBERS[c.numbers][0]] for c in calls])
        weight_bytes = np.array([NUMBERS[c.numbers][2] / 8.0 for c in calls])
        row_bytes = machine.element_bytes[compute]
        chip = machine.chip(compute)
        moved = n * k * weight_bytes + m * k * row_bytes + m * n * RESULT_BYTES
        held = moved + (_turns(calls, n * k * weight_bytes, chip.near_bytes) - 1.0) * n * k * weight_bytes
        kept = chip.near_bytes * (KEPT_OF_HALVES if machine.device.capability in HALVES else KEPT)
        found = product_times(
            Product(m=m, n=n, k=k),
            row_bytes=row_bytes,
            weight_bytes=weight_bytes,
            far_bytes=moved * np.clip((held / kept - 1.0) / OVERFLOW, 0.0, 1.0),
            chip=chip,
            kernels=product_kernels(machine),
        )
        return found.time_s


def _turns(calls: Sequence[ProductCall], weight_bytes: Array, cache_bytes: float) -> Array:
    found = np.empty(len(calls))
    for replay in dict.fromkeys(c.replay for c in calls):
        ours = np.array([c.replay == replay for c in calls])
        found[ours] = replay.turns(weight_bytes[ours], cache_bytes)
    return found


def _check_reachable(device: Device, compute: str, flops: float, weight_bytes: float, latency_s: float) -> None:
    """Raise where a row is faster than all matrix units multiply, or than all processors load its weights."""
    peak_s = flops / device.peak_flops_per_s(compute)
    if latency_s < BELIEVED * peak_s:
        raise InputError(f"{1e3 * latency_s:.4g} ms are {peak_s / latency_s:.2f} x the peak")
    load_s = weight_bytes / (device.cores * device.matrix.units * device.local_bytes_per_s)
    if latency_s < load_s:
        raise InputError(
            f"{1e3 * latency_s:.4g} ms are {load_s / latency_s:.2f} x too short: no processor loads that fast"
        )


@measured_format(
    "aiconfigurator-gemm",
    "aiconfigurator's table of products",
    "system framework kernel_source gemm_dtype m n k latency",
)
def products(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a linear layer; latency in milliseconds."""
    m, n, k = cells.integers("m", "n", "k")
    numbers, framework = cells.text("gemm_dtype"), cells.text("framework")
    if numbers not in NUMBERS:
        raise InputError(f"gemm_dtype {numbers!r} is none of {', '.join(map(repr, NUMBERS))}")
    if framework not in RUNTIMES:
        raise InputError(f"framework {framework!r} is none of {', '.join(map(repr, RUNTIMES))}")
    device, latency_s, runtime = cells.device("system"), cells.number("latency") * 1e-3, RUNTIMES[framework]
    compute, _, bits = NUMBERS[numbers]
    _check_reachable(load_device(device), compute, 2.0 * m * n * k, n * k * bits / 8.0, latency_s)
    yield Measurement(
        row=cells.row,
        label=f"{m} x {n} x {k} {numbers}",
        workload=ProductCall(numbers=numbers, m=m, n=n, k=k, replay=REPLAYS[runtime]),
        device=device,
        runtime=runtime,
        dtype=compute,
        latency_s=latency_s,
        family=numbers,
    )
