"""Attention by the library of a serving runtime on TPUs, inside the engine."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

import roofline as rf
from roofline.calibration.measured import blocks
from roofline.dtypes import precision
from roofline.engine.costs import KernelCosts
from roofline.engine.evaluate import kernel_costs
from roofline.engine.lowering import lower_blocks
from roofline.engine.machine import Machine, machine_for
from roofline.engine.table import KernelTable
from roofline.hardware.load import device
from roofline.passes.policy import policy
from roofline.report.waterfall import LADDER, TERMS, kernel_terms_s
from roofline.software.load import runtime

TPUS = ("tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-v7x")
SERVING = runtime("jax_serving", "tpu")
POLICY = policy(SERVING, precision("bf16"))


def machine(name: str) -> Machine:
    return machine_for(device(name), SERVING, precision("bf16"), "nhwc", 1)


def table(batch: int, queries: int, keys: int) -> KernelTable:
    op = blocks.attention(batch, queries, keys, heads=32, kv_heads=8, head=128)
    return lower_blocks([(op.block, op.ports)], POLICY)[0]


def costs(name: str, batch: int, queries: int, keys: int) -> KernelCosts:
    return kernel_costs(table(batch, queries, keys), machine(name))


@pytest.mark.parametrize("name", TPUS)
def test_decoding_takes_longer_than_its_cache_at_full_bandwidth(name: str) -> None:
    """Whatever the chip, no step reads its cache faster than the memory gives it, nor ten times slower."""
    cache_bytes = 64 * 4096 * 2 * 8 * 128 * 2  # sequences x tokens x (k, v) x heads x width x bf16
    least_s = cache_bytes / (device(name).main_memory.bandwidth_bytes_per_s / device(name).cores)
    found = float(costs(name, 64, 1, 4096).time_s[0])
    assert least_s < found < 10 * least_s


@pytest.mark.parametrize("name", TPUS)
def test_a_prompt_takes_longer_than_its_products_at_the_peak(name: str) -> None:
    chip = machine(name)
    macs = 8192 * 8193 / 2 * 32 * 2 * 128  # scores below the diagonal x heads x (k + v width)
    found = float(costs(name, 1, 8192, 8192).time_s[0])
    assert found > macs / (chip.units * chip.unit_macs_per_s[~np.isnan(chip.unit_macs_per_s)].max())


def test_parts_are_what_the_time_is_made_of() -> None:
    """A long context: keys and values bound; what else there is hides to a part only."""
    found = costs("tpu-v6e", 64, 1, 4096)
    matrix_s, vector_s, memory_s = found.engine_s[:, 0]
    overlap = SERVING.paged_attention[0].overlap
    whole_s = matrix_s + vector_s + memory_s - overlap * min(matrix_s + vector_s, memory_s) + found.floor_s[0]
    assert found.time_s[0] == pytest.approx(whole_s)
    # 64 visits and one start
    assert found.floor_s[0] == pytest.approx(3.12e-6 + 64 * 2.06e-6, rel=0.02)


def test_other_kernels_cost_what_they_do_under_the_compiler_alone() -> None:
    """A product beside an attention is untouched by the library."""
    op, product = blocks.attention(4, 1, 512, heads=32, kv_heads=8, head=128), blocks.product(64, 4096, 4096)
    both, _ = lower_blocks([(op.block, op.ports), (product.block, product.ports)], POLICY)
    alone, _ = lower_blocks([(product.block, product.ports)], POLICY)
    here = replace(SERVING, paged_attention=())
    plain = machine_for(device("tpu-v6e"), here, precision("bf16"), "nhwc", 1)
    products = np.isin(np.arange(both.kernel_count), both.attentions.kernel, invert=True)
    assert products.sum() == 1
    found = kernel_costs(both, machine("tpu-v6e")).time_s[products]
    assert found.tolist() == kernel_costs(alone, plain).time_s.tolist()


def test_no_step_of_the_waterfall_costs_time() -> None:
    """Each idealised machine is at most as slow as the one before it, and what is saved adds up to the kernel."""
    one = table(8, 1, 1000)
    terms_s = kernel_terms_s(one, machine("tpu-v6e"))
    assert len(terms_s) == len(LADDER) + 2
    assert (terms_s > -1e-15).all()
    terms = dict(zip(TERMS, terms_s[:, 0], strict=False))
    # eight visits and a start; eight times 63 pages
    assert terms["kernel floor"] == pytest.approx(3.12e-6 + 8 * 2.06e-6)
    assert terms["exposed memory"] > 8 * 62 * 0.08e-6
    assert terms_s.sum() == pytest.approx(float(kernel_costs(one, machine("tpu-v6e")).time_s[0]))


def test_cores_of_a_chip_read_each_weight_once() -> None:
    """A step of one sequence: both cores of a v7x share the weights of one program, and its peak and bandwidth stay."""
    chip = device("tpu-v7x")
    one = chip.joined()
    assert (chip.cores, one.cores) == (2, 1)
    assert one.peak_flops_per_s("bf16") == chip.peak_flops_per_s("bf16")
    assert one.vector_simple_ops_per_s == chip.vector_simple_ops_per_s
    assert one.matrix.units == 2 * chip.matrix.units
    report = rf.simulate("llama-3.1-8b", "tpu-v7x", runtime="jax_serving", phase="decode", context=128)
    least_s = report.weight_bytes / chip.main_memory.bandwidth_bytes_per_s
    assert least_s < report.latency_s < 1.8 * least_s
    assert device("tpu-v6e").joined().matrix.units == device("tpu-v6e").matrix.units


def test_a_serving_runtime_says_only_what_differs_from_its_compiler() -> None:
    """It is the compiler with a kernel of its own for attention, and a busier memory."""
    compiler = runtime("xla_tpu")
    other = {f.name for f in fields(compiler) if getattr(compiler, f.name) != getattr(SERVING, f.name)}
    told = {"name", "title", "attention", "epilogue", "paged_attention"}
    assert other - told == {"bandwidth_fraction", "overlap", "program_s", "memory_share", "block_tokens", "joins_cores"}
    assert SERVING.attention == "fused"
    assert set(compiler.epilogue) - set(SERVING.epilogue) == {"attention"}
