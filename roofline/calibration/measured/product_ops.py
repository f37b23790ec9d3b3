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
from roofline.dtypes import DTYPES
from roofline.engine.libraries.products import kernel, operand_bytes, product_kernels, rounding_s
from roofline.engine.machine import Machine
from roofline.engine.table import DTYPE_CODES
from roofline.errors import InputError
from roofline.hardware.load import device as load_device
from roofline.hardware.spec import Device
from roofline.numeric import Array


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A format of the table.

    Attributes
    ----------
    compute, stored
        What is multiplied, and how weights are stored.
    run
        Elements along the sum that share a scale.
    scale_bytes
        What all scales add to an element of weights.
    """

    compute: str
    stored: str
    run: float = np.inf
    scale_bytes: float = 0.0


NUMBERS: dict[str, Numbers] = {
    "bfloat16": Numbers(compute="bf16", stored="bf16"),
    "fp8": Numbers(compute="fp8", stored="fp8"),
    "fp8_block": Numbers(compute="fp8", stored="fp8", run=128.0, scale_bytes=4.0 / 128**2),
    "sq": Numbers(compute="int8", stored="int8"),
    "int8_wo": Numbers(compute="bf16", stored="int8"),
    "int4_wo": Numbers(compute="bf16", stored="int4", run=128.0, scale_bytes=2.0 / 128),
    "nvfp4": Numbers(compute="nvfp4", stored="nvfp4", run=16.0, scale_bytes=1.0 / 16),
}
RUNTIMES = {"VLLM": "vllm", "TRTLLM": "tensorrt_llm"}
#: what activations are outside of products, and bytes of an element
WIDE, WIDE_BYTES = "bf16", 2.0
#: formats whose activations are rounded inside of a row
ROUNDED = ("fp8", "nvfp4")
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
#: what a row holds beside its kernels where a built engine ran it, which is enqueued as a whole [s]: kernels of three
#: formats take it more than others do, of any size
ENGINE, ENGINE_S = "trt_flow", 7.2e-6
#: share of the last cache that keeps what takes turns: all of it; of two halves that each keep copies of what the other
#: is asked for, less. Seen on L40S and H100
KEPT, KEPT_OF_HALVES = 1.0, 0.65
#: what takes turns misses the cache altogether where it is larger than what is kept by this share
OVERFLOW = 0.1
#: compute capabilities of chips whose last cache has two halves (NVIDIA A100 and H100 white papers)
HALVES = (8.0, 9.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class ProductCall(LibraryCall):
    """A product of (m, k) activations with (k, n) weights, and their rounding where the format has them narrow.

    `start_s` is what the row holds beside kernels.
    """

    numbers: str
    m: int
    n: int
    k: int
    replay: Replay
    start_s: float = 0.0

    @classmethod
    def times_s(cls, calls: Sequence[ProductCall], machine: Machine) -> Array:
        """Return the time of each call [s].

        Raises
        ------
        InputError
            The runtime calls no library of products on the device.
        """
        if not machine.libraries.products:
            where = f"{machine.runtime.name!r} calls no library of products on {machine.device.name!r}"
            raise InputError(f"runtime {where}")
        found = np.empty(len(calls))
        for name in dict.fromkeys(c.numbers for c in calls):
            ours = np.array([c.numbers == name for c in calls])
            found[ours] = _times_s([c for c in calls if c.numbers == name], NUMBERS[name], machine)
        return found


def _times_s(calls: Sequence[ProductCall], numbers: Numbers, machine: Machine) -> Array:
    """Return the time of calls in one format [s]."""
    m, n, k = (np.array([1.0 * getattr(c, name) for c in calls]) for name in "mnk")
    facts = kernel(machine, numbers.compute, numbers.stored, blocks=np.isfinite(numbers.run))
    compute, stored = (np.full(len(calls), DTYPE_CODES[name]) for name in (numbers.compute, numbers.stored))
    row_bytes, weight_bytes = operand_bytes(machine, compute, stored, np.full(len(calls), numbers.run))
    chip = machine.chip(compute)
    weights = n * k * (machine.element_bytes[stored] + numbers.scale_bytes)
    moved = weights + m * k * row_bytes + m * n * RESULT_BYTES
    held = moved + (_turns(calls, weights, chip.near_bytes) - 1.0) * weights
    kept = chip.near_bytes * (KEPT_OF_HALVES if machine.device.capability in HALVES else KEPT)
    found = product_times(
        Product(m=m, n=n, k=k),
        row_bytes=row_bytes,
        weight_bytes=weight_bytes,
        far_bytes=moved * np.clip((held / kept - 1.0) / OVERFLOW, 0.0, 1.0),
        chip=chip,
        kernels=product_kernels(machine, facts),
    )
    time_s = found.time_s + np.array([c.start_s for c in calls])
    if numbers.compute in ROUNDED:
        streamed = facts.rounding_passes * m * k * WIDE_BYTES
        far_s = streamed / (chip.far_bytes_per_s * machine.libraries.products[0].memory_fraction)
        time_s = time_s + rounding_s(machine, facts, row=k, dynamic=1.0) + far_s
    return np.asarray(time_s)


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


def layer(cells: Cells) -> tuple[int, int, int, str, str]:
    """Return rows, outputs, inputs and numbers of a row's linear layer, and the runtime that ran it.

    Raises
    ------
    InputError
        Numbers or a framework that there are not.
    """
    m, n, k = cells.integers("m", "n", "k")
    numbers, framework = cells.text("gemm_dtype"), cells.text("framework")
    if numbers not in NUMBERS:
        raise InputError(f"gemm_dtype {numbers!r} is none of {', '.join(map(repr, NUMBERS))}")
    if framework not in RUNTIMES:
        raise InputError(f"framework {framework!r} is none of {', '.join(map(repr, RUNTIMES))}")
    return m, n, k, numbers, RUNTIMES[framework]


@measured_format(
    "aiconfigurator-gemm",
    "aiconfigurator's table of products",
    "system framework kernel_source gemm_dtype m n k latency",
)
def products(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a linear layer; latency in milliseconds."""
    m, n, k, numbers, runtime = layer(cells)
    device, latency_s = cells.device("system"), cells.number("latency") * 1e-3
    form = NUMBERS[numbers]
    weight_bytes = n * k * (DTYPES[form.stored].bytes + form.scale_bytes)
    _check_reachable(load_device(device), form.compute, 2.0 * m * n * k, weight_bytes, latency_s)
    start_s = ENGINE_S if cells.text("kernel_source").startswith(ENGINE) else 0.0
    yield Measurement(
        row=cells.row,
        label=f"{m} x {n} x {k} {numbers}",
        workload=ProductCall(numbers=numbers, m=m, n=n, k=k, replay=REPLAYS[runtime], start_s=start_s),
        device=device,
        runtime=runtime,
        dtype=WIDE,
        latency_s=latency_s,
        family=numbers,
    )
