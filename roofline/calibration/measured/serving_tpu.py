"""The tables of layers on one TPU v6e that LLMServingSim publishes, and what they time.

Attention is timed on caches of the benchmark's own size: small ones are kept on chip, where copies of pages take longer
than from the main memory. Projections are timed inside a step, where weights of the next one are fetched ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from roofline.calibration.measured import blocks
from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.types import LibraryCall, Measurement, Options
from roofline.engine.libraries.paged_attention import times
from roofline.engine.machine import Machine
from roofline.engine.table import DTYPE_CODES, AttentionColumns
from roofline.errors import InputError
from roofline.hardware.load import device as load_device
from roofline.numeric import Array

RUNTIME, DTYPE = "jax_serving", "bf16"
#: bytes of an element of what was measured
ELEMENT_BYTES = 2.0


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Widths of a decoder: hidden and feed-forward layers, vocabulary, heads of queries and of keys, one head."""

    hidden: int
    inner: int
    vocabulary: int
    heads: int
    kv_heads: int
    head: int


#: what was measured, by the name that the tables use (sizes of its public configuration)
MODELS = {"meta-llama/Llama-3.1-8B": Sizes(hidden=4096, inner=14336, vocabulary=128256, heads=32, kv_heads=8, head=128)}
#: pages that the benchmark's cache has at most where it is kept on chip: per sequence and page of 16 tokens, times of
#: decoding fall by a third between 448 and 449 pages (28 MiB), whichever way these are made up
CHIP_PAGES = 448
#: how much longer a page takes from there, fitted with the constants of the library
CHIP_FACTOR = 1.594
#: rows of down projections with fewer tokens hold weights that were, or are being, fetched for something else
DOWN_TOKENS = 512
#: shortest time beside that of the peaks that is believed: data sheets are off by a few percent
BELIEVED = 0.95


@dataclass(frozen=True, kw_only=True)
class PagedAttentionCall(LibraryCall):
    """Attention of `batch` sequences that get `queries` tokens each behind `context` tokens that they have kept."""

    batch: int
    queries: int
    context: int
    heads: int
    kv_heads: int
    head: int

    @classmethod
    def times_s(cls, calls: Sequence[PagedAttentionCall], machine: Machine) -> Array:
        """Return the time of each call [s]."""
        libraries = machine.libraries.paged_attention
        if not libraries:
            where = f"on {machine.device.name!r}"
            raise InputError(f"runtime {machine.runtime.name!r} calls no library of paged attention {where}")
        sizes = {name: np.array([1.0 * getattr(c, name) for c in calls]) for name in cls.__dataclass_fields__}
        context, ones = sizes.pop("context"), np.ones(len(calls))
        formats = np.full(len(calls), DTYPE_CODES[DTYPE])
        columns = AttentionColumns(
            kernel=np.arange(len(calls)),
            keys=context + sizes["queries"],
            value=sizes["head"],
            kept_width=2.0 * sizes["head"],
            causal=ones,
            window=np.inf * ones,
            dtype=formats,
            kept=formats,
            kept_bytes=ELEMENT_BYTES * ones,
            **sizes,
        )
        pages = columns.batch * np.ceil(columns.keys / libraries[0].facts.page_tokens)
        factor = np.where(pages <= CHIP_PAGES, CHIP_FACTOR, 1.0)
        return libraries[0].floor_s + times(columns, machine, libraries[0], cache_factor=factor).time_s


@measured_format(
    "llmservingsim-attention",
    "LLMServingSim's table of attention on TPUs",
    "device model tp batch_size prefill_chunk_size kv_cache_size is_prefill mean_ns",
)
def attention(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a chunk of a prompt behind what is cached of it, or a step that decodes a token of each sequence."""
    sizes, batch = _sizes(cells), cells.integer("batch_size")
    prompt, context = cells.text("is_prefill") == "True", cells.integer("kv_cache_size", 0)
    queries = cells.integer("prefill_chunk_size") if prompt else 1
    call = PagedAttentionCall(
        batch=batch, queries=queries, context=context, heads=sizes.heads, kv_heads=sizes.kv_heads, head=sizes.head
    )
    yield Measurement(
        row=cells.row,
        label=f"attention {batch}x{queries} behind {context}, {sizes.heads}/{sizes.kv_heads} heads of {sizes.head}",
        workload=call,
        device=_device(cells),
        runtime=RUNTIME,
        dtype=DTYPE,
        latency_s=cells.number("mean_ns") * 1e-9,
        family="prefill" if prompt else "decode",
    )


@measured_format(
    "llmservingsim-layers",
    "LLMServingSim's table of projections on TPUs",
    "device model layer_name input tp_size latency(ns)",
)
def projection(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a product of `input` tokens with the weights of a layer, inside a step."""
    sizes, tokens, layer = _sizes(cells), cells.integer("input"), cells.text("layer_name")
    widths = {
        "gate_proj": (sizes.hidden, sizes.inner),
        "down_proj": (sizes.inner, sizes.hidden),
        "lm_head": (sizes.hidden, sizes.vocabulary),
    }
    if layer not in widths:
        raise InputError(f"layer_name {layer!r} is none of {', '.join(map(repr, widths))}")
    if cells.integer("tp_size") != 1:
        raise InputError("projections cut over several chips are not read")
    k, n = widths[layer]
    device, latency_s = _device(cells), cells.number("latency(ns)") * 1e-9
    least_s = ELEMENT_BYTES * k * n / load_device(device).main_memory.bandwidth_bytes_per_s
    if latency_s < BELIEVED * least_s:
        raise InputError(f"{1e6 * latency_s:.4g} us read the weights at {least_s / latency_s:.2f} x the bandwidth")
    prefetched = layer == "down_proj" and tokens < DOWN_TOKENS
    yield Measurement(
        row=cells.row,
        label=f"{layer} of {tokens} tokens, {k} to {n}",
        workload=blocks.projection(tokens, n, k),
        device=device,
        runtime=RUNTIME,
        dtype=DTYPE,
        latency_s=latency_s,
        family=layer,
        apart="weights are fetched while something else runs" if prefetched else None,
    )


def _sizes(cells: Cells) -> Sizes:
    name = cells.text("model")
    if name not in MODELS:
        raise InputError(f"model {name!r} is none of {', '.join(map(repr, MODELS))}")
    return MODELS[name]


def _device(cells: Cells) -> str:
    """Return the device of a name that ends in a number of chips, which must be one."""
    name, _, chips = cells.text("device").rpartition("-")
    if chips != "1":
        raise InputError(f"device {cells.text('device')!r} is not one chip")
    return load_device(name).name
