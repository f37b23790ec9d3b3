"""The table of products of experts that ai-dynamo/aiconfigurator publishes, and what its collector times.

A row is both products of a layer of experts with what sorts, activates and sums rows, replayed from a captured graph
with weights in a warm cache: two grouped products of one rank, whose rows a named distribution makes up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.expert_routing import load_of_rank, stacked
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.types import LibraryCall, Measurement, Options
from roofline.cost.experts import memory_time_s, tiles_time_s
from roofline.cost.products import RESULT_BYTES, joined, launch_s
from roofline.engine.libraries.experts import grouped_kernels
from roofline.engine.machine import Machine
from roofline.engine.table import DTYPE_CODES
from roofline.errors import InputError
from roofline.hardware.load import device as load_device
from roofline.numeric import Array
from roofline.software.libraries.experts import KernelFacts

#: formats of the table: what is multiplied, how weights are stored, bits of one with its share of scales of blocks
NUMBERS: dict[str, tuple[str, str, float]] = {
    "bfloat16": ("bf16", "bf16", 16.0),
    "fp8": ("fp8", "fp8", 8.0),
    "fp8_block": ("fp8", "fp8", 8.0 + 32.0 / 128**2),
    "int4_wo": ("bf16", "int4", 4.0 + 16.0 / 128),
    "w4a16_mxfp4": ("bf16", "mxfp4", 4.0 + 8.0 / 32),
    "nvfp4": ("nvfp4", "nvfp4", 4.0 + 8.0 / 16),
}
RUNTIMES = {"VLLM": "vllm", "SGLANG": "vllm", "TRTLLM": "tensorrt_llm"}  # SGLang took its kernels from vLLM
#: times that each product's operands and results pass memory in what surrounds them, by `KernelFacts.passes`
MOVED_BYTES = 2.0
#: shortest time beside that of the peaks that is believed: clocks and data sheets are off by a few percent
BELIEVED = 0.95


@dataclass(frozen=True, kw_only=True)
class ExpertsCall(LibraryCall):
    """Both products of one rank's experts; `inner` columns of each expert's hidden layer are the rank's own."""

    kernel: str
    numbers: str
    tokens: int
    hidden: int
    inner: int
    top_k: int
    experts: int
    ranks: int
    exponent: float

    @classmethod
    def times_s(cls, calls: Sequence[ExpertsCall], machine: Machine) -> Array:
        """Return the time of each call [s]."""
        facts = [c.facts(machine) for c in calls]
        compute = np.array([DTYPE_CODES[NUMBERS[c.numbers][0]] for c in calls])
        chip, kernels = machine.chip(compute), grouped_kernels(machine, facts, warm=True)
        load = stacked([load_of_rank(c.tokens, c.top_k, c.experts, c.ranks, c.exponent) for c in calls])
        tokens, hidden, inner = (np.array([1.0 * getattr(c, name) for c in calls]) for name in _SIZES)
        weight_bytes = np.array([NUMBERS[c.numbers][2] / 8.0 for c in calls])
        row_bytes = machine.element_bytes[compute]
        first = inner * (1.0 + np.array([f.gated for f in facts]))
        total_s = np.array([2.0 * f.launches for f in facts]) * launch_s(chip, kernels.products)
        for n, k in ((first, hidden), (hidden, inner)):
            tiles_s = tiles_time_s(
                load, n=n, k=k, row_bytes=row_bytes, weight_bytes=weight_bytes, chip=chip, kernels=kernels
            )
            memory_s = memory_time_s(
                weight_bytes=load.active * n * k * weight_bytes,
                other_bytes=load.total_rows * (k * row_bytes + n * RESULT_BYTES),
                chip=chip,
                kernels=kernels,
            )
            total_s = total_s + joined(tiles_s, memory_s, kernels.sharpness)
        everybody = tokens * np.array([1.0 * c.top_k for c in calls])
        moved = np.where([f.all_rows for f in facts], everybody, load.total_rows) * (2.0 * hidden + first + inner)
        by_token = machine.libraries.experts[0].token_passes * 2.0 * tokens * hidden
        elements = np.array([f.passes for f in facts]) * moved + by_token
        return np.asarray(total_s + elements * MOVED_BYTES / (chip.far_bytes_per_s * machine.bandwidth_fraction))

    def facts(self, machine: Machine) -> KernelFacts:
        """Return the kernel that ran: the one that the table names, else what the library would take.

        Raises
        ------
        InputError
            The runtime has no library of experts, or of the products that they are made of, for the device.
        """
        compute, stored, bits = NUMBERS[self.numbers]
        libraries = machine.libraries.experts
        if not (libraries and machine.libraries.products):
            name = machine.runtime.name
            raise InputError(f"runtime {name!r} calls no libraries of experts and products on {machine.device.name!r}")
        blocks = bits % 4.0 > 0.0
        named = [k for k in libraries[0].facts.kernels if self.kernel in k.names]
        exact = [k for k in named if (k.compute, k.stored, k.blocks) == (compute, stored, blocks)]
        capability = machine.device.capability
        return exact[0] if exact else libraries[0].kernel(compute, stored, blocks, capability=capability)


_SIZES = ("tokens", "hidden", "inner")
_COLUMNS = (
    "system framework kernel_source moe_dtype num_tokens hidden_size inter_size topk num_experts moe_tp_size "
    "moe_ep_size distribution latency"
)


@measured_format("aiconfigurator-moe", "aiconfigurator's table of experts", _COLUMNS)
def experts(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read both products of a layer of experts; latency in ms, tokens and inner columns of all ranks together."""
    tokens, hidden, inner, top_k, count, parts, ranks = cells.integers(
        "num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size"
    )
    numbers, framework = cells.text("moe_dtype"), cells.text("framework")
    if numbers not in NUMBERS:
        raise InputError(f"moe_dtype {numbers!r} is none of {', '.join(map(repr, NUMBERS))}")
    if framework not in RUNTIMES:
        raise InputError(f"framework {framework!r} is none of {', '.join(map(repr, RUNTIMES))}")
    if top_k > count:
        raise InputError(f"top-{top_k} of {count} experts: a token takes at most all of them")
    if count % ranks or inner % parts:
        raise InputError(f"{count} experts and {inner} inner columns do not divide over {ranks} x {parts} ranks")
    call = ExpertsCall(
        kernel=cells.text("kernel_source"),
        numbers=numbers,
        tokens=tokens,
        hidden=hidden,
        inner=inner // parts,
        top_k=top_k,
        experts=count,
        ranks=ranks,
        exponent=_exponent(cells.text("distribution")),
    )
    device, latency_s = cells.device("system"), cells.number("latency") * 1e-3
    compute = NUMBERS[numbers][0]
    _check_reachable(call, load_device(device).peak_flops_per_s(compute), latency_s)
    yield Measurement(
        row=cells.row,
        label=f"{tokens} tokens, top {top_k} of {count} x ({hidden}, {call.inner}) over {ranks} {numbers}",
        workload=call,
        device=device,
        runtime=RUNTIMES[framework],
        dtype="bf16",  # what enters and leaves, whatever is multiplied
        latency_s=latency_s,
        family=f"{call.kernel} {numbers}",
    )


def _exponent(name: str) -> float:
    if name == "balanced":
        return 0.0
    if found := re.fullmatch(r"power_law_([\d.]+)", name):
        return float(found.group(1))
    raise InputError(f"distribution {name!r} is neither 'balanced' nor 'power_law_' and a number")


def _check_reachable(call: ExpertsCall, peak_flops_per_s: float, latency_s: float) -> None:
    """Raise where a row is faster than the peak allows, were rows spread evenly over ranks; the fullest has more."""
    products = 2 if "nongated" in call.kernel else 3
    flops = 2.0 * products * call.tokens * call.top_k / call.ranks * call.hidden * call.inner
    if latency_s < BELIEVED * flops / peak_flops_per_s:
        raise InputError(f"{1e3 * latency_s:.4g} ms are {flops / peak_flops_per_s / latency_s:.2f} x the peak")
