"""The tables of attention that ai-dynamo/aiconfigurator publishes, and what its collector times.

A row is one layer's attention, replayed from a captured graph: queries, keys and values lie in a warm cache. With new
tokens, it also writes their keys and values into pages of a cache, a kernel before that of attention; TensorRT-LLM's
moves queries too. What that takes is told here as passes over them, and no part of a simulation: there it is an op.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.types import LibraryCall, Measurement, Options
from roofline.dtypes import DTYPES
from roofline.engine.libraries.attention import attention_times, moving_s
from roofline.engine.machine import Libraries, Machine
from roofline.engine.table import DTYPE_CODES, AttentionColumns
from roofline.errors import InputError
from roofline.hardware.load import device as load_device
from roofline.numeric import Array

RUNTIMES = {"VLLM": "vllm", "TRTLLM": "tensorrt_llm"}
FORMATS = {"bfloat16": "bf16", "float16": "fp16", "fp8": "fp8"}
#: libraries by what the table calls their kernels; a kernel of no name is that of the runtime's first library
LIBRARIES = {
    "vllm_flash_attn": "flash2",
    "vllm_flash_attn_fa2": "flash2",
    "vllm_vit_flash_attn_fa2": "flash2",
    "vllm_flash_attn_fa3": "flash3",
    "vllm_vit_flash_attn_fa3": "flash3",
    "vllm_flash_attn_fa4": "flash3",
    "vllm_flashinfer_fiprefill": "flashinfer",
    "vllm_flashinfer_fidecode": "flashinfer",
    "vllm_triton_attn": "triton_attention",
}
#: share of the last cache that keeps what the replay before read
WARM = 0.66
#: shortest time beside that of the peaks that is believed: clocks and data sheets are off by a few percent
BELIEVED = 0.95


@dataclass(frozen=True)
class Around:
    """What a row of new tokens holds beside attention: passes over keys and values, and over queries and results.

    `launch_s` is that of the kernel before. `encoder` passes go over all of them where nothing is kept.
    """

    kept: float
    queries: float
    encoder: float
    launch_s: float


#: what surrounds attention, by library, and whether the chip is of capability 9.0 or later. Fitted to the same rows
AROUND: dict[tuple[str, bool], Around] = {
    ("vllm", False): Around(3.0, 0.0, 0.0, 1.1e-6),
    ("vllm", True): Around(5.85, 0.5, 0.0, 1.1e-6),
    ("tensorrt_llm", False): Around(2.7, 1.35, 0.6, 0.0),
    ("tensorrt_llm", True): Around(1.1, 1.6, 0.53, 0.0),
}
HOPPER = 9.0


@dataclass(frozen=True, kw_only=True)
class AttentionCall(LibraryCall):
    """Attention of `queries` new tokens of each of `batch` sequences to `keys`, which hold them."""

    kernel: str
    runtime: str
    batch: int
    queries: int
    keys: int
    heads: int
    kv_heads: int
    head: int
    window: int
    causal: bool
    dtype: str
    kept: str

    @property
    def kind(self) -> str:
        """What it is a part of."""
        return "encoder" if not self.causal else "prompt" if self.new_tokens else "step"

    @property
    def label(self) -> str:
        """The call in words."""
        limit = f", window {self.window}" if self.window else ""
        heads = f"{self.heads}/{self.kv_heads} heads of {self.head}"
        return f"{self.batch} x {self.queries} to {self.keys}{limit}, {heads}, {self.dtype}/{self.kept}"

    @property
    def new_tokens(self) -> bool:
        """Whether all keys are those of new tokens: a prompt, or an encoder."""
        return self.queries == self.keys

    @classmethod
    def times_s(cls, calls: Sequence[AttentionCall], machine: Machine) -> Array:
        """Return the time of each call [s].

        Raises
        ------
        InputError
            The runtime has no library of attention for the device, or none with a kernel for a call.
        """
        found = np.empty(len(calls))
        kernels = np.array([c.kernel for c in calls])
        for name in dict.fromkeys(c.kernel for c in calls):
            rows = np.flatnonzero(kernels == name)
            found[rows] = _times_s([calls[int(i)] for i in rows], _with_library(machine, name))
        return found


def _with_library(machine: Machine, kernel: str) -> Machine:
    """Return the machine with the library that a kernel is of; with all of the runtime's where that is not known."""
    own = tuple(one for one in machine.libraries.attention if one.name == LIBRARIES.get(kernel))
    return replace(machine, libraries=Libraries(attention=own or machine.libraries.attention))


def _times_s(calls: Sequence[AttentionCall], machine: Machine) -> Array:
    a = _columns(calls)
    decided, _, floor_s, time_s = attention_times(a, machine, warm=WARM)
    if not decided.all():
        call = calls[int(np.argmin(decided))]
        raise InputError(f"runtime {call.runtime!r} has no attention for {call.label} on {machine.device.name!r}")
    library, chip = machine.libraries.attention[0], machine.chip(a.dtype)
    around = AROUND[calls[0].runtime, (machine.device.capability or 0.0) >= HOPPER]
    kept, own = (a.batch * a.queries * heads * 2.0 * a.head * 2.0 for heads in (a.kv_heads, a.heads))
    prompt = np.array([c.new_tokens for c in calls])
    moved = np.where(a.causal > 0, around.kept * kept + around.queries * own, around.encoder * (kept + own))
    passes_s = moving_s(kept + own, library, chip, warm=WARM) * moved / (kept + own)
    return np.asarray(floor_s + time_s + prompt * (passes_s + (a.causal > 0) * around.launch_s))


def _columns(calls: Sequence[AttentionCall]) -> AttentionColumns:
    sizes = {
        name: np.array([1.0 * getattr(c, name) for c in calls])
        for name in ("batch", "queries", "keys", "heads", "kv_heads", "head", "causal")
    }
    return AttentionColumns(
        kernel=np.arange(len(calls)),
        value=sizes["head"],
        kept_width=2.0 * sizes["head"],
        window=np.array([c.window or np.inf for c in calls]),
        dtype=np.array([DTYPE_CODES[c.dtype] for c in calls]),
        kept=np.array([DTYPE_CODES[c.kept] for c in calls]),
        kept_bytes=np.array([DTYPES[c.kept].bytes for c in calls]),
        **sizes,
    )


def _format(cells: Cells, column: str) -> str:
    name = cells.text(column)
    if name not in FORMATS:
        raise InputError(f"{column} {name!r} is none of {', '.join(map(repr, FORMATS))}")
    return FORMATS[name]


def _measurement(cells: Cells, call: AttentionCall) -> Iterator[Measurement]:
    device, latency_s = cells.device("system"), cells.number("latency") * 1e-3
    _check_reachable(call, device, latency_s)
    yield Measurement(
        row=cells.row,
        label=call.label,
        workload=call,
        device=device,
        runtime=call.runtime,
        dtype=call.dtype,
        latency_s=latency_s,
        family=f"{call.kind} {call.kernel} {call.dtype}/{call.kept}",
    )


def _runtime(cells: Cells) -> str:
    name = cells.text("framework")
    if name not in RUNTIMES:
        raise InputError(f"framework {name!r} is none of {', '.join(map(repr, RUNTIMES))}")
    return RUNTIMES[name]


_COLUMNS = "system framework kernel_source batch_size isl num_heads head_dim attn_dtype latency"


@measured_format(
    "aiconfigurator-attention",
    "aiconfigurator's table of causal attention",
    f"{_COLUMNS} num_key_value_heads kv_cache_dtype step",
)
def causal_attention(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a prompt of `isl` new tokens, or a decoding step of one, after `step` cached ones; latency in ms."""
    batch, new, heads, kv_heads, head = cells.integers(
        "batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim"
    )
    if heads % kv_heads:
        raise InputError(f"{heads} heads do not share {kv_heads} heads of keys evenly")
    window = cells.values.get("window_size") or "0"
    return _measurement(
        cells,
        AttentionCall(
            kernel=cells.text("kernel_source"),
            runtime=_runtime(cells),
            batch=batch,
            queries=new,
            keys=new + cells.integer("step", 0),
            heads=heads,
            kv_heads=kv_heads,
            head=head,
            window=cells.integer("window_size", 0) if float(window) else 0,
            causal=True,
            dtype=_format(cells, "attn_dtype"),
            kept=_format(cells, "kv_cache_dtype"),
        ),
    )


@measured_format(
    "aiconfigurator-encoder-attention", "aiconfigurator's table of attention of encoders", f"{_COLUMNS} op_name"
)
def encoder_attention(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read attention of `isl` tokens to each other; latency in ms."""
    batch, tokens, heads, head = cells.integers("batch_size", "isl", "num_heads", "head_dim")
    dtype = _format(cells, "attn_dtype")
    return _measurement(
        cells,
        AttentionCall(
            kernel=cells.text("kernel_source"),
            runtime=_runtime(cells),
            batch=batch,
            queries=tokens,
            keys=tokens,
            heads=heads,
            kv_heads=heads,
            head=head,
            window=0,
            causal=False,
            dtype=dtype,
            kept=dtype,
        ),
    )


def _check_reachable(call: AttentionCall, device: str, latency_s: float) -> None:
    """Raise where a row is faster than its scores at the peak, or a cache that fits nowhere at the bandwidth, allow."""
    chip = load_device(device)
    seen = min(call.keys, call.window or call.keys)
    whole = call.queries * seen - (min(call.queries, seen) * (min(call.queries, seen) - 1) / 2 if call.causal else 0)
    flops = 4.0 * call.batch * call.heads * call.head * whole
    fastest = max(chip.peak_flops_per_s(name) for name in {call.dtype, call.kept} if name in chip.matrix.rates)
    if latency_s < BELIEVED * flops / fastest:
        raise InputError(f"{1e3 * latency_s:.4g} ms are {flops / fastest / latency_s:.2f} x the peak")
    kept_bytes = 2.0 * call.batch * call.kv_heads * call.head * seen * DTYPES[call.kept].bytes
    nearest = max((level.capacity_bytes for level in chip.shared_memory), default=0.0)
    fastest_s = kept_bytes / chip.main_memory.bandwidth_bytes_per_s
    if kept_bytes > 2.0 * nearest and latency_s < BELIEVED * fastest_s:
        raise InputError(f"{1e3 * latency_s:.4g} ms are {fastest_s / latency_s:.2f} x the bandwidth")
