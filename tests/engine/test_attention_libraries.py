"""Attention by the libraries of GPUs, inside the engine."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from roofline.arch.block import Block, Port
from roofline.calibration.measured import blocks
from roofline.dtypes import DTYPES, precision
from roofline.engine.build import _kept_elements
from roofline.engine.costs import KernelCosts
from roofline.engine.evaluate import kernel_costs
from roofline.engine.lowering import lower_blocks
from roofline.engine.machine import Libraries, Machine, machine_for
from roofline.engine.table import KernelTable
from roofline.graph import movement
from roofline.graph.builder import GraphBuilder
from roofline.hardware.load import device, devices
from roofline.passes.policy import policy
from roofline.report.waterfall import TERMS, kernel_terms_s
from roofline.software.libraries.attention import AttentionLibrary
from roofline.software.libraries.load import library
from roofline.software.load import runtime

EAGER = runtime("pytorch_eager", "gpu")
POLICY = policy(EAGER, precision("bf16"))
VLLM = ("flash3", "flash2", "flashinfer", "triton_attention")
CHIPS = [name for name in devices() if device(name).vendor == "nvidia" and (device(name).capability or 0.0) >= 8.0]


def machine(name: str, *names: str) -> Machine:
    found = [library(one) for one in names or VLLM]
    chosen = tuple(
        one
        for one in found
        if isinstance(one, AttentionLibrary) and one.runs_on(device(name).kind, device(name).capability)
    )
    made = machine_for(device(name), EAGER, precision("bf16"), "nhwc", 1)
    return replace(made, libraries=Libraries(attention=chosen))


@cache
def table(batch: int, queries: int, keys: int, *, kept: str = "bf16", **sizes: Any) -> KernelTable:
    op = blocks.attention(batch, queries, keys, **{"heads": 32, "kv_heads": 8, "head": 128} | sizes)
    ports = tuple(replace(port, dtype=DTYPES[kept]) if i else port for i, port in enumerate(op.ports))
    return lower_blocks([(op.block, ports)], POLICY)[0]


def costs(name: str, *sizes: int, libraries: tuple[str, ...] = (), **more: Any) -> KernelCosts:
    return kernel_costs(table(*sizes, **more), machine(name, *libraries))


def time_s(name: str, *sizes: int, **more: Any) -> float:
    return float(costs(name, *sizes, **more).time_s[0])


@pytest.mark.parametrize("libraries", [VLLM, ("trtllm_attention",)])
@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_has_a_time_for_every_case_that_is_above_what_it_can_reach(
    name: str, libraries: tuple[str, ...]
) -> None:
    chip = machine(name, *libraries)
    peak = float(np.nanmax(chip.unit_macs_per_s[[list(DTYPES).index(n) for n in ("bf16", "fp8")]])) * chip.units
    bandwidth = device(name).main_memory.bandwidth_bytes_per_s
    for head in (64, 72, 128, 192, 256, 576):
        for kept in ("bf16", "fp8"):
            for window in (0, 128):
                cases = {"head": head, "kept": kept, "window": window}
                prompt, step = time_s(name, 2, 4096, 4096, **cases), time_s(name, 256, 1, 8192, **cases)
                seen = min(window or 8192, 8192)
                assert 256 * 8 * seen * 2 * head * DTYPES[kept].bytes / bandwidth < step < 1.0
                scores = sum(min(window or 4096, q + 1) for q in range(4096))
                assert 2 * 32 * scores * 2 * head / peak < prompt < 1.0


def test_half_of_a_causal_prompt_is_skipped() -> None:
    whole, half = time_s("h100", 1, 8192, 8192, causal=False), time_s("h100", 1, 8192, 8192)
    assert 0.5 < half / whole < 0.65


def test_a_cached_prefix_costs_what_its_scores_do() -> None:
    """1,024 queries after 7,168 keys see 7/8 of the keys that as many after none of a whole prompt of 8 parts do."""
    late = time_s("h100", 4, 1024, 8192)
    parts = [time_s("h100", 4, 1024, 1024 * (i + 1)) for i in range(8)]
    assert late == max(parts)
    assert sum(parts) == pytest.approx(time_s("h100", 4, 8192, 8192), rel=0.15)


def test_windows_end_the_growth_with_context() -> None:
    near, far = (time_s("h100", 64, 1, keys, window=1024) for keys in (2048, 32768))
    assert far == pytest.approx(near, rel=0.01)
    assert time_s("h100", 64, 1, 32768) > 5 * far


def test_a_cache_of_eight_bits_halves_long_steps() -> None:
    wide, narrow = (time_s("h100", 128, 1, 32768, kept=kept) for kept in ("bf16", "fp8"))
    assert 0.5 < narrow / wide < 0.65


def test_groups_share_what_they_load() -> None:
    """32 query heads on 8 key heads take little longer than 8 on 8, and much less than 32 on 32."""
    alone, grouped, many = (
        time_s("h100", 64, 1, 8192, heads=heads, kv_heads=kept) for heads, kept in ((8, 8), (32, 8), (32, 32))
    )
    assert alone < grouped < 1.2 * alone
    assert many > 3 * grouped


class _Latent(Block):
    """Absorbed latent attention: 128 heads of 576 on one key of 576, whose first 512 elements are the value."""

    def build(self, b: GraphBuilder, *inputs: Any) -> Any:
        queries, cache = inputs
        values = b.add_op("values", movement.Part, cache, axis=-1, size=512)
        return (b.attention(queries, cache, values, heads=128, kv_heads=1, causal=True),)


def test_what_keys_and_values_share_is_counted_once() -> None:
    b = GraphBuilder("views")
    whole, own = b.input("whole", (2, 10, 576)), b.input("own", (2, 10, 512))
    graph = b.graph([whole, own])
    assert _kept_elements(graph, whole, whole) == 2 * 10 * 576
    assert _kept_elements(graph, whole, own) == 2 * 10 * (576 + 512)


def test_latent_attention_is_bound_by_its_scores_not_by_its_cache() -> None:
    """DeepSeek-V3, absorbed: 128 heads on one key of 576 elements; 242 pairs a byte are beyond an H100's balance."""
    ports = (Port(shape=(64, 1, 128 * 576)), Port(shape=(64, 8192, 576)))
    found, _ = lower_blocks([(_Latent(), ports)], POLICY)
    latent = kernel_costs(found, machine("h100"))
    cache_s = 64 * 8192 * 576 * 2 / 3350e9
    products_s = 64 * 128 * 8192 * (576 + 576) / (989e12 / 2)
    assert latent.engine_s[2, 0] == pytest.approx(cache_s, rel=0.35)
    assert max(cache_s, products_s) < latent.time_s[0] < 4 * max(cache_s, products_s)


def test_parts_of_the_waterfall_add_up_to_the_time() -> None:
    for sizes in ((2, 2048, 2048), (64, 1, 4096)):
        rows = table(*sizes)
        terms = dict(zip(TERMS, kernel_terms_s(rows, machine("h100"))[:, 0], strict=False))
        assert sum(terms.values()) == pytest.approx(kernel_costs(rows, machine("h100")).time_s[0])
        assert min(terms.values()) > -1e-12


def test_kernels_that_no_library_decides_keep_their_costs() -> None:
    """A chip before Ampere has no library, and a product is no attention: to the last bit as without."""
    assert not machine("t4").libraries.attention
    plain = replace(machine("h100"), libraries=Libraries())
    product = blocks.product(512, 512, 512)
    rows, _ = lower_blocks([(product.block, product.ports)], POLICY)
    assert kernel_costs(rows, machine("h100")).time_s[0] == kernel_costs(rows, plain).time_s[0]
    attention = table(2, 512, 512)
    assert kernel_costs(attention, machine("h100")).time_s[0] != kernel_costs(attention, plain).time_s[0]


def test_two_generations_on_hopper_reach_what_the_second_one_s_authors_say() -> None:
    """Shah et al., FlashAttention-3 (arXiv 2407.08608): 35 % of an H100 by FlashAttention 2, up to 75 % by it."""
    flops = 4 * 16384 * 16384 * 16 * 128
    reached = {
        name: flops
        / 989.4e12
        / time_s("h100-sxm", 1, 16384, 16384, heads=16, kv_heads=16, causal=False, libraries=(name,))
        for name in ("flash2", "flash3")
    }
    assert reached["flash2"] == pytest.approx(0.35, abs=0.02)
    assert 0.6 < reached["flash3"] < 0.78
